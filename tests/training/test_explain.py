from dataclasses import replace

import pytest
import torch
from helpers import write_image
from PIL import Image

from lficam.data.augmentation import normalize
from lficam.data.files import ImageFiles
from lficam.data.samples import Dataset, Samples
from lficam.model.abn import ABN
from lficam.model.cam import mean_feature_map
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import trunk
from lficam.training.explain import Explained, explain_samples

METHODS = {
    "lfi-cam": lambda: LFICAM(trunk("cifar_resnet8"), num_classes=4),
    "lfi-cam-without-fin": lambda: LFICAM(trunk("cifar_resnet8"), num_classes=4, fin=False),
    "abn": lambda: ABN(trunk("cifar_resnet8"), num_classes=4),
}


@pytest.fixture
def dataset():
    """13 images kept at 18 pixels for a network input of 16, of several shapes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (13, 3, 18, 18), generator=generator, dtype=torch.uint8)
    shapes = torch.randint(20, 60, (13, 2), generator=generator).float()
    samples = Samples(tuple(f"test/{i}" for i in range(13)), images, torch.arange(13) % 4, shapes)
    return Dataset("noise", ("a", "b", "c", "d"), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), samples, samples)


def model_of(method):
    torch.manual_seed(0)
    model = METHODS[method]()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 16, 16))  # batch norms that have seen something
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch_size", [1, 4, 12, 13])
def test_the_batch_size_does_not_matter(method, batch_size, dataset):
    model = model_of(method)
    expected = explain_samples(model, dataset.test, dataset.mean, dataset.std, 16, "resized-crop-flip")
    got = explain_samples(model, dataset.test, dataset.mean, dataset.std, 16, "resized-crop-flip", batch_size)
    assert got.ids == expected.ids == dataset.test.ids
    for name in ("probabilities", "cam", "mean_features", "importance"):
        a, b = getattr(got, name), getattr(expected, name)
        assert (a is None and b is None) or torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_everything_is_what_the_model_says(method, dataset):
    model = model_of(method)
    whole = Samples(dataset.test.ids, dataset.test.images, dataset.test.labels, dataset.test.shapes)
    got = explain_samples(model, whole, dataset.mean, dataset.std, 18, "none")  # the whole image
    pixels = dataset.test.images.double() / 255
    mean, std = (torch.tensor(values).double().view(3, 1, 1) for values in (dataset.mean, dataset.std))
    with torch.no_grad():
        e = model.eval().explain(((pixels - mean) / std).float())
    powers = e.logits.exp()
    assert torch.allclose(got.probabilities, powers / powers.sum(1, keepdim=True), atol=1e-5)
    assert torch.allclose(got.cam, e.cam, atol=1e-5)
    assert torch.allclose(got.mean_features, mean_feature_map(e.features), atol=1e-5)
    assert (got.importance is None) is (method == "abn")
    assert method == "abn" or torch.allclose(got.importance, e.importance, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("method", METHODS)
def test_images_on_disk_are_explained_like_those_in_memory(method, workers, dataset, tmp_path):
    """32 pixels for an input of 28, as 256 for 224: the test crop is made of whole pixels, the same in both."""
    images = torch.randint(0, 256, (13, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    files = tuple(tmp_path / f"{i}.png" for i in range(13))
    for file, image in zip(files, images, strict=True):
        write_image(file, Image.fromarray(image.permute(1, 2, 0).numpy()))
    in_memory = replace(dataset.test, images=images, shapes=torch.full((13, 2), 32.0))
    on_disk = ImageFiles(in_memory.ids, files, in_memory.labels, workers)
    model = model_of(method)
    got, expected = (
        explain_samples(model, split, dataset.mean, dataset.std, 28, "resized-crop-flip", 4) for split in (on_disk, in_memory)
    )
    assert got.ids == expected.ids
    for name in ("probabilities", "cam", "mean_features", "importance"):
        a, b = getattr(got, name), getattr(expected, name)
        assert (a is None and b is None) or torch.allclose(a, b, atol=1e-4)


def test_batch_norms_are_used_and_not_changed(dataset):
    model = model_of("lfi-cam").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    explain_samples(model, dataset.test, dataset.mean, dataset.std, 16, "none", batch_size=5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_normalize_uses_the_mean_and_std_of_each_channel(dataset):
    pixels = torch.tensor([0.8, 0.5, 0.0]).view(1, 3, 1, 1)
    assert normalize(pixels, dataset.mean, dataset.std).flatten().tolist() == pytest.approx([2, 0, -2], abs=1e-6)


def test_accuracy_worked_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    explained = Explained(("a", "b", "c"), probabilities, torch.zeros(3, 1, 1, 1), torch.zeros(3, 1, 1, 1), None)
    assert explained.accuracy(torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)
    assert explained.accuracy(torch.tensor([0, 1, 0])) == 1
