"""Weights in a file of one's own: all of it fits, or none."""

import pytest
import timm
import torch
from helpers import flip_a_byte
from safetensors.torch import save_file

from lficam.errors import InputError
from lficam.model.trunks import trunk
from lficam.model.weights import sha256_of_weights, statistics_of
from lficam.training.config import RunConfig
from lficam.training.runs import Run

NAME = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def weights():
    """What a file with weights holds: names of timm, the classifier included."""
    torch.manual_seed(3)
    return {
        name: value + 0.5 if value.is_floating_point() else value for name, value in timm.create_model(NAME).state_dict().items()
    }


@pytest.fixture
def file(weights, tmp_path):
    save_file(weights, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_every_weight_is_that_of_the_file(weights, file):
    base = trunk(NAME, weights=file)
    whole = timm.create_model(NAME)
    whole.load_state_dict(weights)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        (expected,) = whole.eval().forward_intermediates(x, indices=[3], intermediates_only=True)
        assert torch.equal(base.eval()(x), expected)
    assert "weights" not in base.spec  # a saved model has weights of its own


@pytest.mark.parametrize("fault", ["missing", "damaged", "cut off", "another network's", "one is missing"])
def test_weights_that_cannot_be_used_are_one_line(fault, weights, file, tmp_path):
    name, expected = NAME, rf"{file} holds other weights than those of '{NAME}': .*"
    if fault == "missing":
        file.unlink()
        expected = f"no weights at {file}: check the path"
    elif fault == "damaged":
        file.write_bytes(b"not a safetensors file" * 9)
        expected = f"{file} is damaged or no safetensors file"
    elif fault == "cut off":
        file.write_bytes(file.read_bytes()[:-9])
        expected = f"{file} is damaged or no safetensors file"
    elif fault == "another network's":
        name, expected = "resnet18", f"{file} holds other weights than those of 'resnet18': .*conv1.weight"
    else:
        save_file({key: value for key, value in weights.items() if key != "conv_stem.weight"}, file)
        expected += "conv_stem.weight"
    with pytest.raises(InputError, match=expected) as error:
        trunk(name, weights=file)
    assert "\n" not in str(error.value)


def config(**fields):
    return RunConfig(**({"dataset": "digits-stl10", "trunk": NAME} | fields))


def test_weights_enter_the_id_of_a_run_by_what_they_are_not_by_where_they_lie(file, tmp_path):
    ids = {config(weights=str(file)).run_id(), config(weights=str(file.rename(tmp_path / "moved.safetensors"))).run_id()}
    assert len(ids) == 1
    assert config().run_id() not in ids
    flip_a_byte(tmp_path / "moved.safetensors")
    assert config(weights=str(tmp_path / "moved.safetensors")).run_id() not in ids
    assert len(sha256_of_weights(tmp_path / "moved.safetensors")) == 64
    with pytest.raises(InputError, match=f"no weights at {file}: check the path"):
        config(weights=str(file)).run_id()


def test_a_run_can_be_read_when_its_weights_are_gone():
    assert config(weights="/gone.safetensors").weights == "/gone.safetensors"


def test_normalisation_as_the_weights_expect_it(file):
    made_with = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    assert statistics_of("tf_efficientnet_lite0") == (made_with.mean, made_with.std) == ((0.5,) * 3, (0.5,) * 3)
    fields = {"config": config(trunk="tf_efficientnet_lite0", weights=str(file), normalization="weights"), "model": None}
    empty = {"history": [], "metrics": {}, "environment": {}, "data": {}, "classes": (), "mean": (), "std": ()}
    data = Run(id="", **fields, **empty).dataset
    assert (data.mean, data.std) == ((0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError, match="normalization='weights', but there are none"):
        config(normalization="weights")
