"""An exported graph is the model: the same logits and maps, whatever runs it."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lficam.errors import InputError
from lficam.model import export as module
from lficam.model.abn import ABN
from lficam.model.export import export
from lficam.model.lfi_cam import LFICAM
from lficam.model.metadata import Metadata
from lficam.model.trunks import trunk

METADATA = Metadata(classes=("cat", "dog"), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.25), image_size=32, augmentation="crop-flip")
MODELS = {
    "lfi-cam": lambda: LFICAM(trunk("cifar_resnet8"), num_classes=2),
    "without fin": lambda: LFICAM(trunk("cifar_resnet8"), num_classes=2, fin=False),
    "abn": lambda: ABN(trunk("cifar_resnet8"), num_classes=2),
}
SUFFIXES = (".onnx", ".pt2")


def model(name="lfi-cam", metadata=METADATA):
    torch.manual_seed(0)
    made = MODELS[name]()
    with torch.no_grad():
        made.train()(torch.randn(4, 3, 32, 32))  # batch norms that have seen something
    made.metadata = metadata
    return made.eval()


def answers(file, images):
    """Logits and maps of a file, by the tool that it was made for."""
    if file.suffix == ".onnx":
        return onnxruntime.InferenceSession(file).run(["logits", "cam"], {"images": images})
    return [values.detach().numpy() for values in torch.export.load(file).module()(torch.from_numpy(images))]


def pixels(*shape):
    return np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)


def explained(made, images):
    """By hand: (pixels / 255 - mean) / std, channel by channel."""
    normalised = [(images[:, c] / 255 - METADATA.mean[c]) / METADATA.std[c] for c in range(3)]
    with torch.no_grad():
        e = made.explain(torch.from_numpy(np.stack(normalised, 1).astype(np.float32)))
    return e.logits.numpy(), e.cam.numpy()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_map_are_the_models_at_any_batch_and_size(name, suffix, tmp_path):
    made = model(name)
    done = export(made, tmp_path / f"model{suffix}")
    assert (done.file, done.normalized, done.any_size) == (tmp_path / f"model{suffix}", True, True)
    assert [(found.batch, found.size) for found in done.differences] == [(2, 32), (3, 32), (2, 64), (3, 64)]
    assert all(max(found.logits, found.cam) <= 1e-4 for found in done.differences)
    for shape in ((1, 3, 32, 32), (5, 3, 48, 40)):
        images = pixels(*shape)
        for got, expected in zip(answers(done.file, images), explained(made, images), strict=True):
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, atol=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == [done.file.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_normalisation_inside_and_outside_are_equal(suffix, tmp_path):
    inside, outside = (export(model(), tmp_path / f"{normalize}{suffix}", normalize) for normalize in (True, False))
    assert (inside.normalized, outside.normalized) == (True, False)
    images = pixels(2, 3, 32, 32)
    mean, std = (np.array(values, dtype=np.float32).reshape(3, 1, 1) for values in (METADATA.mean, METADATA.std))
    for a, b in zip(answers(inside.file, images), answers(outside.file, (images / 255 - mean) / std), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def stored_metadata(file):
    if file.suffix == ".onnx":
        onnx.checker.check_model(file, full_check=True)
        return onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
    extra = {"metadata.json": ""}
    torch.export.load(file, extra_files=extra)
    return json.loads(extra["metadata.json"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_one_must_know_travels_in_the_file(suffix, tmp_path):
    known = stored_metadata(export(model(), tmp_path / f"model{suffix}").file)
    assert known["input"] == "pixels 0 to 255"
    assert json.loads(known["classes"]) == ["cat", "dog"]
    assert (json.loads(known["mean"]), json.loads(known["std"])) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.25])
    assert json.loads(known["image_size"]) == 32
    unknown = export(model(metadata=None), tmp_path / f"unknown{suffix}")
    assert not unknown.normalized
    assert stored_metadata(unknown.file) == {"input": "normalised"}


class Tiles(nn.Module):
    """Takes images of one size alone, as many transformers do."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 8, 8)
        self.position = nn.Parameter(torch.randn(1, 8, 4, 4))

    def forward(self, x):
        return self.embed(x) + self.position


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_trunk_of_one_size_keeps_it_and_its_batch_is_free(suffix, tmp_path):
    made = LFICAM(Tiles(), num_features=8, num_classes=2).eval()
    made.metadata = METADATA
    done = export(made, tmp_path / f"model{suffix}")
    assert not done.any_size
    assert [(found.batch, found.size) for found in done.differences] == [(2, 32), (3, 32)]
    images = pixels(7, 3, 32, 32)
    for got, expected in zip(answers(done.file, images), explained(made, images), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_a_border_that_depends_on_the_size_keeps_it(tmp_path):
    """Else the exporter takes minutes: tf_ networks of timm."""
    from timm.layers import Conv2dSame

    made = LFICAM(nn.Sequential(Conv2dSame(3, 8, 3, 2), nn.ReLU()), num_classes=2).eval()
    made.metadata = METADATA
    assert not export(made, tmp_path / "model.pt2").any_size


class Untraceable(nn.Module):
    def forward(self, x):
        return F.avg_pool2d(x, 8) if x.sum().item() > 0 else F.max_pool2d(x, 8)


@pytest.mark.parametrize(
    ("made", "file", "said"),
    [
        (lambda: model(), "model.h5", r"model\.h5 ends in '\.h5': expected \.onnx or \.pt2"),
        (lambda: model(), "model", "ends in ''"),
        (lambda: model(), "nowhere/model.onnx", "no folder .*nowhere: make it first"),
        (lambda: LFICAM(Untraceable(), 3, 2), "model.pt2", "the model cannot be traced"),
        (lambda: LFICAM(Untraceable(), 3, 2), "model.onnx", "the model cannot be traced"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(made, file, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        export(made(), tmp_path / file)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"cannot be written to \(Permission denied\): choose another folder"):
        export(model(), tmp_path / "model.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_an_extra_that_is_not_installed_is_named_and_pt2_needs_none(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"{package} is not installed: pip install 'lficam\[export\]', or export as \.pt2"):
        export(model(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
    assert export(model(), tmp_path / "model.pt2").file.is_file()


@pytest.mark.parametrize("wrong", [0, 1])
@pytest.mark.parametrize("value", [2e-4, float("nan")])
def test_a_graph_that_differs_is_not_written(wrong, value, tmp_path, monkeypatch):
    save = module._save_pt2

    def off(*given):
        run = save(*given)
        return lambda images: tuple(out + value * (i == wrong) for i, out in enumerate(run(images)))

    monkeypatch.setattr(module, "_save_pt2", off)
    (tmp_path / "model.pt2").write_text("an older one")
    with pytest.raises(FloatingPointError, match=r"differs from PyTorch: .*expected at most 0\.0001"):
        export(model(), tmp_path / "model.pt2")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["an older one"]


class MultiplesOfEight(nn.Module):
    """Takes 32 and 64 pixels, and 40, but not 36."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x):
        n, _, h, w = x.shape
        return self.embed(x).view(n, 8, h // 8, 8, w // 8, 8).mean((3, 5))


def test_a_trunk_that_takes_some_sizes_keeps_that_of_its_training(tmp_path):
    made = LFICAM(MultiplesOfEight(), num_features=8, num_classes=2).eval()
    made.metadata = METADATA
    done = export(made, tmp_path / "model.pt2")
    images = pixels(5, 3, 32, 32)
    for got, expected in zip(answers(done.file, images), explained(made, images), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_model_itself_stays_as_it_is(tmp_path):
    made = model().double().train()
    export(made, tmp_path / "model.pt2")
    assert made.training
    assert made.fc.weight.dtype == torch.float64


def test_a_model_too_large_for_one_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_ONNX", 1000)
    with pytest.raises(InputError, match=r"GB of weights, more than ONNX keeps in one file .*: export it as \.pt2"):
        export(model(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
