import json
import pickle
import socket

import httpx
import pytest
import torch
import yaml
from huggingface_hub import hub_mixin
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from torch import nn

from lficam.errors import InputError
from lficam.model import saving
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM
from lficam.model.metadata import Metadata
from lficam.model.methods import load_pretrained
from lficam.model.trunks import register_trunk, trunk


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*address):
        raise AssertionError(f"asked the network for {address}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def trained(model):
    """A model whose batch norms have seen images, so that their statistics must be stored as well."""
    torch.manual_seed(1)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(4, 3, 16, 16) * 3 + 1)
    return model.eval()


def staged(channels=6):
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Sequential(nn.Conv2d(4, channels, 3, 2, 1), nn.BatchNorm2d(channels)))


X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: LFICAM(trunk("cifar_resnet8"), num_features=64, num_classes=7),
        lambda: LFICAM(trunk("cifar_resnet8", stem_stride=2), None, 7, False),
        lambda: LFICAM(trunk("cifar_resnet14"), num_classes=3, fin=False),
        lambda: ABN(trunk("cifar_resnet8"), num_features=64, num_classes=7),
        lambda: ABN(trunk("cifar_resnet8"), num_classes=2),
    ],
)
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_round_trip_gives_the_same_bits(make, kind, tmp_path, capfd):
    torch.manual_seed(0)
    model = trained(make())
    model.save_pretrained(kind(tmp_path / "model"))
    loaded = type(model).from_pretrained(kind(tmp_path / "model"))
    for got, expected in zip(loaded.explain(X), model.explain(X), strict=True):
        assert (got is None and expected is None) or torch.equal(got, expected)
    assert not loaded.training
    assert loaded.trunk.spec == model.trunk.spec
    assert {"config.json", "model.safetensors"} <= {file.name for file in (tmp_path / "model").iterdir()}
    assert capfd.readouterr() == ("", "")


def test_a_model_can_be_saved_and_loaded_again_and_again(tmp_path):
    model = trained(LFICAM(trunk("cifar_resnet8"), num_classes=5))
    for generation in range(3):
        model.save_pretrained(tmp_path / str(generation))
        model = LFICAM.from_pretrained(tmp_path / str(generation))
    first, last = (load_file(tmp_path / name / "model.safetensors") for name in ("0", "2"))
    assert all(torch.equal(value, last[name]) for name, value in first.items())
    assert (tmp_path / "0" / "config.json").read_bytes() == (tmp_path / "2" / "config.json").read_bytes()


def test_the_configuration_is_readable(tmp_path):
    LFICAM(trunk("cifar_resnet8"), num_features=64, num_classes=5, fin=False).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["trunk"] == {"name": "cifar_resnet8", "stem_stride": 1}
    assert (config["num_features"], config["num_classes"], config["fin"]) == (64, 5, False)


@pytest.mark.parametrize("model_class", [LFICAM, ABN])
def test_a_trunk_of_ones_own_must_be_passed_back(model_class, tmp_path):
    torch.manual_seed(0)
    model = trained(model_class(staged(), num_classes=3))
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"trunk=") as caught:
        model_class.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
    loaded = model_class.from_pretrained(tmp_path, trunk=staged())
    assert torch.equal(loaded(X), model(X))


def test_a_trunk_may_be_passed_for_a_named_one_too(tmp_path):
    model = trained(LFICAM(trunk("cifar_resnet8"), num_classes=3))
    model.save_pretrained(tmp_path)
    passed = trunk("cifar_resnet8")
    loaded = LFICAM.from_pretrained(tmp_path, trunk=passed)
    assert loaded.trunk is passed
    assert torch.equal(loaded(X), model(X))


def test_a_registered_trunk_needs_not_be_passed(tmp_path):
    register_trunk("tests_pretrained", staged)
    model = trained(ABN(trunk("tests_pretrained"), num_classes=3))
    model.save_pretrained(tmp_path)
    assert torch.equal(ABN.from_pretrained(tmp_path)(X), model(X))


def test_a_trunk_that_is_not_registered_here_is_named(tmp_path):
    model = LFICAM(staged(), num_classes=3)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"trunk": {"name": "somebody_elses", "stem_stride": 1}}))
    with pytest.raises(InputError, match="somebody_elses"):
        LFICAM.from_pretrained(tmp_path)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(missing, tmp_path):
    LFICAM(trunk("cifar_resnet8"), num_classes=3).save_pretrained(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=rf"{tmp_path.name}.*no {missing}"):
        LFICAM.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["checkpoints/modle", "modle", "./modle", "checkpoints/deeper/modle", "not a name/at all"])
def test_a_mistyped_path_asks_no_network(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match=rf"no model at '{name}'"):
        LFICAM.from_pretrained(name)


def test_a_mistyped_path_object_asks_no_network(tmp_path):
    with pytest.raises(InputError, match="no model at"):
        LFICAM.from_pretrained(tmp_path / "nowhere" / "model")


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    def offline(**asked):
        raise LocalEntryNotFoundError("An error happened\nwhile trying to locate the file.")

    monkeypatch.setattr(hub_mixin, "hf_hub_download", offline)
    with pytest.raises(
        InputError, match=r"nobody/nothing could not be fetched from the hub \(An error happened while .*\): check"
    ) as caught:
        LFICAM.from_pretrained("nobody/nothing")
    assert "\n" not in str(caught.value)


def test_a_name_that_the_hub_does_not_know_is_one_line(monkeypatch):
    def unknown(**asked):
        raise HfHubHTTPError("404", response=httpx.Response(404, request=httpx.Request("HEAD", "https://hub/nobody")))

    monkeypatch.setattr(hub_mixin, "hf_hub_download", unknown)
    for load in (LFICAM.from_pretrained, load_pretrained):
        with pytest.raises(InputError, match=r"nobody/nothing is not on the hub, or has no config\.json there"):
            load("nobody/nothing")


def test_a_hub_that_is_lost_between_two_files_is_one_line(monkeypatch, tmp_path):
    LFICAM(trunk("cifar_resnet8"), num_classes=3).save_pretrained(tmp_path)

    def offline(*asked, **options):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(hub_mixin, "hf_hub_download", lambda **asked: str(tmp_path / "config.json"))
    monkeypatch.setattr(saving, "hf_hub_download", offline)
    with pytest.raises(InputError, match=r"could not be fetched from the hub \(no connection\)"):
        LFICAM.from_pretrained("nobody/nothing")


def change(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda tensors: tensors.pop("fc.bias"), "fc.bias"),
        (lambda tensors: tensors.pop("trunk.stem.1.running_mean"), "running_mean"),
        (lambda tensors: tensors.update({"fc.scale": torch.ones(3)}), "fc.scale"),
        (lambda tensors: tensors.update({"fc.bias": torch.ones(4)}), "fc.bias"),
    ],
)
def test_weights_must_fit_exactly(edit, named, tmp_path):
    LFICAM(trunk("cifar_resnet8"), num_classes=3).save_pretrained(tmp_path)
    change(tmp_path, edit)
    with pytest.raises(RuntimeError, match=named):
        LFICAM.from_pretrained(tmp_path)


def rewrite(folder, edit):
    config = json.loads((folder / "config.json").read_text())
    edit(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("saved", "other"), [(ABN, LFICAM), (LFICAM, ABN)])
def test_the_wrong_class_gets_one_sentence(saved, other, old, tmp_path):
    model = trained(saved(trunk("cifar_resnet8"), num_classes=3))
    model.save_pretrained(tmp_path)
    if old:  # the name of the class was not written
        rewrite(tmp_path, lambda config: config.pop("architecture"))
    with pytest.raises(InputError) as caught:
        other.from_pretrained(tmp_path)
    assert str(caught.value) == f"{tmp_path} is a model of class {saved.__name__}: load it with {saved.__name__}.from_pretrained"
    again = load_pretrained(tmp_path)
    assert type(again) is saved
    assert torch.equal(again(X), model(X))


def test_of_a_class_that_is_not_known_here_it_is_said(tmp_path):
    LFICAM(trunk("cifar_resnet8"), num_classes=3).save_pretrained(tmp_path)
    rewrite(tmp_path, lambda config: config.update(architecture="SomebodyElses"))
    with pytest.raises(InputError, match="is a model of class 'SomebodyElses': expected one of "):
        load_pretrained(tmp_path)


class Mine(LFICAM):
    """A user's own variant."""


def test_a_class_derived_from_it_loads_both(tmp_path):
    for model in (LFICAM(trunk("cifar_resnet8"), num_classes=3), Mine(trunk("cifar_resnet8"), num_classes=3)):
        model.save_pretrained(tmp_path / type(model).__name__)
        assert type(Mine.from_pretrained(tmp_path / type(model).__name__)) is Mine


METADATA = Metadata(classes=["cat", "dog"], mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.25), image_size=16, augmentation="crop-flip")


@pytest.mark.parametrize("model_class", [LFICAM, ABN])
def test_what_it_takes_and_what_its_logits_mean_are_saved_with_it(model_class, tmp_path):
    model = model_class(trunk("cifar_resnet8"), num_classes=2)
    model.save_pretrained(tmp_path / "without")
    assert model_class.from_pretrained(tmp_path / "without").metadata is None
    model.metadata = METADATA
    model.save_pretrained(tmp_path / "with")
    config = json.loads((tmp_path / "with" / "config.json").read_text())
    assert {key: config[key] for key in ("classes", "mean", "std", "image_size", "augmentation")} == {
        "classes": ["cat", "dog"],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.25],
        "image_size": 16,
        "augmentation": "crop-flip",
    }
    again = model_class.from_pretrained(tmp_path / "with")
    assert again.metadata == METADATA
    again.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_bytes() == (tmp_path / "with" / "config.json").read_bytes()


def test_names_of_other_classes_than_the_models_are_refused(tmp_path):
    model = LFICAM(trunk("cifar_resnet8"), num_classes=3)
    model.metadata = METADATA
    with pytest.raises(InputError, match="metadata names 2 classes, the model has 3: expected a name for each"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"std": (1.0, 0.0, 1.0)}, r"std \(1.0, 0.0, 1.0\): expected one mean and one positive std a channel"),
        ({"mean": (1.0,)}, r"mean \(1.0,\)"),
        ({"mean": (), "std": ()}, "expected one mean"),
        ({"image_size": 0}, "image_size=0: expected pixels a side"),
    ],
)
def test_metadata_that_nothing_can_be_normalised_with_is_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        Metadata(**({"classes": ("a",), "mean": (0.0,) * 3, "std": (1.0,) * 3, "image_size": 8} | wrong))


def test_the_card_says_how_to_use_it_and_what_is_known(tmp_path):
    model = LFICAM(trunk("cifar_resnet8"), num_classes=2)
    model.metadata = METADATA
    model.save_pretrained(tmp_path, model_card_kwargs={"licence": "Weights: CC BY.", "training": "Trained on two cats."})
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\n")
    header, _, text = card[4:].partition("---\n")
    assert yaml.safe_load(header)["license"] == "other"  # that of the weights is not known here
    assert yaml.safe_load(header)["library_name"] == "lficam"
    for words in (
        "2 classes: cat, dog.",
        "images of 16 pixels",
        "0.1, 0.2, 0.3 and standard deviation 0.4, 0.5, 0.25.",
        "Trained on two cats.",
        "Weights: CC BY.",
        "https://arxiv.org/abs/2105.00937",
        "lficam.load_pretrained",
        "one map for all classes",
    ):
        assert words in card
    assert "What may be done with these weights" not in text
    ABN(trunk("cifar_resnet8"), num_classes=2).save_pretrained(tmp_path / "abn")
    plain = (tmp_path / "abn" / "README.md").read_text()
    assert "Attention Branch Network" in plain
    assert "None" not in plain
    assert "What may be done with these weights depends on the images" in plain


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.mark.parametrize("with_safetensors", [True, False])
def test_no_pickle_is_loaded(with_safetensors, tmp_path):
    model = trained(LFICAM(trunk("cifar_resnet8"), num_classes=3))
    model.save_pretrained(tmp_path)
    for name in ("pytorch_model.bin", "model.pt", "model.pth"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    if with_safetensors:
        assert torch.equal(LFICAM.from_pretrained(tmp_path)(X), model(X))
    else:
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(InputError, match=r"model\.safetensors"):
            LFICAM.from_pretrained(tmp_path)
    assert not (tmp_path / "sprung").exists()
    pickle.loads((tmp_path / "model.pt").read_bytes()).close()  # the trap works
    assert (tmp_path / "sprung").exists()
