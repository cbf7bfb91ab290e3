import os
from pathlib import Path

import pytest
import torch
from helpers import BLUE, RED, photographs, write_image
from PIL import Image

from lficam.data import datasets
from lficam.data.augmentation import AUGMENTATIONS
from lficam.data.datasets import DATASETS, data_fingerprint, data_folder, load_dataset
from lficam.data.digits import RECIPES
from lficam.data.files import ImageFiles
from lficam.data.folders import MEAN, STD
from lficam.data.samples import Samples
from lficam.errors import InputError, MissingDataError

CPU = torch.device("cpu")


def test_every_embedded_set_has_masks_and_its_own_size_and_clutter():
    tens = [recipe for recipe in RECIPES.values() if len(recipe.digits) == 10]
    assert len(tens) == 3
    assert len({recipe.size for recipe in tens}) == 3
    assert len(RECIPES["digits-catdog"].digits) == 2
    assert all(load_dataset(name).test.objects is not None for name in RECIPES)


def test_every_default_is_allowed():
    assert all(info.augmentation in AUGMENTATIONS for info in DATASETS.values())


def test_every_data_set_of_the_supplement_is_known():
    assert {"cifar10", "cifar100", "stl10", "imagenet", "catdog"} < set(DATASETS)
    assert [DATASETS[name].image_size for name in ("cifar10", "cifar100", "stl10", "imagenet", "catdog")] == [32, 32, 224, 224, 224]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"'mnist'.*digits-cifar100"):
        load_dataset("mnist")


def test_embedded_digits_have_one_size():
    with pytest.raises(InputError, match=r"28 pixels.*image_size=64"):
        load_dataset("digits-stl10", image_size=64)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10", "imagenet", "catdog", "folder"])
def test_missing_data_says_where_it_is_looked_for_and_how_to_get_it(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_DATA", str(tmp_path))
    for ask in (lambda: data_fingerprint(name, None), lambda: load_dataset(name)):
        with pytest.raises(MissingDataError, match=str(tmp_path / name)) as caught:
            ask()
        assert DATASETS[name].source in str(caught.value)
        assert "\n" not in str(caught.value)


def test_data_lies_in_the_data_folder_or_where_one_says(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert data_folder("stl10") == tmp_path / "stl10"
    assert data_folder("stl10", "elsewhere") == tmp_path / "elsewhere"
    assert data_folder("stl10", "/elsewhere") == Path("/elsewhere")


# --- how images are kept --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_size", "augmentation", "side"),
    [(28, None, 32), (28, "resized-crop-flip", 32), (224, None, 256), (28, "none", 28), (28, "crop", 28), (28, "crop-flip", 28)],
)
def test_images_are_kept_as_large_as_their_augmentation_needs(image_size, augmentation, side, tmp_path):
    dataset = load_dataset("folder", str(photographs(tmp_path)), image_size=image_size, augmentation=augmentation)
    for samples in (dataset.train, dataset.test):
        assert samples.images.shape == (2, 3, side, side)


def test_the_options_can_only_be_named(tmp_path):
    with pytest.raises(TypeError):
        load_dataset("folder", str(photographs(tmp_path)), 28)


def test_images_stay_on_disk_if_memory_is_too_small(tmp_path, monkeypatch):
    """4 images of 3 x 32 x 32 bytes."""
    folder = str(photographs(tmp_path))
    for limit, kind in ((4 * 3072 - 1, ImageFiles), (4 * 3072, Samples)):
        monkeypatch.setattr(datasets, "MEMORY_LIMIT", limit)
        datasets._load.cache_clear()
        dataset = load_dataset("folder", folder, image_size=28)
        assert type(dataset.train) is type(dataset.test) is kind


def test_both_ways_to_keep_images_give_the_same_data_set(tmp_path, monkeypatch):
    for split, count in (("train", 5), ("test", 3)):
        for kind, colour in (("cat", RED), ("dog", BLUE)):
            for i in range(count):
                write_image(tmp_path / split / kind / f"{i}.png", Image.new("RGB", (40 + i, 50), colour))
    in_memory = load_dataset("folder", str(tmp_path), image_size=28, max_per_class=4)
    monkeypatch.setattr(datasets, "MEMORY_LIMIT", 0)
    datasets._load.cache_clear()
    streamed = load_dataset("folder", str(tmp_path), image_size=28, max_per_class=4)
    assert (streamed.name, streamed.classes, streamed.mean) == (in_memory.name, in_memory.classes, in_memory.mean)
    for split in ("train", "test"):
        a, b = getattr(streamed, split), getattr(in_memory, split)
        assert (type(a), type(b)) == (ImageFiles, Samples)
        assert a.ids == b.ids
        assert torch.equal(a.labels, b.labels)
        crops = [torch.cat(list(samples.crops(28, "resized-crop-flip", 3, CPU))) for samples in (a, b)]
        assert torch.allclose(*crops, atol=1e-6)  # the images are plain


def test_the_releases_normalisation_can_be_asked_for(tmp_path):
    folder = str(photographs(tmp_path))
    own, release = (load_dataset("folder", folder, image_size=28, normalization=name) for name in ("own", "release"))
    assert (own.mean, own.std) == (MEAN, STD)
    assert (release.mean, release.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert load_dataset("folder", folder, image_size=28).mean == own.mean
    assert torch.equal(own.train.images, release.train.images)


def test_a_part_of_the_digits_keeps_its_masks():
    whole, part = load_dataset("digits-catdog"), load_dataset("digits-catdog", max_per_class=7)
    assert torch.bincount(part.train.labels).tolist() == [7, 7]
    assert part.test.ids == whole.test.ids
    for id, mask in zip(part.train.ids, part.train.objects, strict=True):
        assert torch.equal(mask, whole.train.objects[whole.train.ids.index(id)])


# --- real images, where there are some ------------------------------------------------------------------------------

REAL = os.environ.get("LFICAM_TEST_DATA")  # what LFICAM_DATA was before the tests began

# Images to train and to test, and mean and deviation of the training images, as they are quoted everywhere.
PUBLISHED = {
    "cifar10": (50_000, 10_000, 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": (50_000, 10_000, 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "stl10": (5_000, 8_000, 10, (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)),
}


def real(name, **options):
    if not REAL:
        pytest.skip("LFICAM_DATA is not set: no real images")
    folder = str(Path(REAL) / name)
    try:
        data_fingerprint(name, folder)
    except MissingDataError as error:
        pytest.skip(str(error))
    return load_dataset(name, folder, **options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_real_images_are_as_many_and_as_bright_as_published(name):
    train, test, classes, mean, std = PUBLISHED[name]
    dataset = real(name)
    assert (len(dataset.train), len(dataset.test), len(dataset.classes)) == (train, test, classes)
    assert torch.bincount(dataset.train.labels).tolist() == [train // classes] * classes
    assert torch.bincount(dataset.test.labels).tolist() == [test // classes] * classes
    assert dataset.mean == pytest.approx(mean, abs=2e-4)
    assert dataset.std == pytest.approx(std, abs=2e-4)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # what it says about the EXIF of some photographs
@pytest.mark.parametrize("name", [*PUBLISHED, "imagenet", "catdog"])
def test_a_few_real_images_can_be_trained_and_tested_on(name):
    classes = 2 if name == "catdog" else 3
    dataset = real(name, image_size=64, augmentation="resized-crop-flip", max_classes=classes, max_per_class=20)
    assert torch.bincount(dataset.train.labels).tolist() == [20] * classes
    assert len(dataset.classes) == len(set(dataset.classes)) == classes
    assert set(dataset.test.labels.tolist()) == set(range(classes))
    generator = torch.Generator().manual_seed(0)
    batches = list(dataset.train.augmented(64, "resized-crop-flip", 16, generator, CPU))
    assert sorted(label for _, labels in batches for label in labels.tolist()) == sorted(dataset.train.labels.tolist())
    crops = torch.cat(list(dataset.train.crops(64, "resized-crop-flip", 16, CPU)))
    pixels = crops.permute(1, 0, 2, 3).flatten(1)  # (3, n)
    # Photographs: of middling brightness and contrast, no two alike, and one pixel like the next.
    assert 0.25 < pixels.mean(1).min() <= pixels.mean(1).max() < 0.75
    assert 0.1 < pixels.std(1).min() <= pixels.std(1).max() < 0.4
    assert len(crops.flatten(1).unique(dim=0)) == len(crops)
    neighbours = torch.stack([crops[..., 1:].flatten(), crops[..., :-1].flatten()])
    assert torch.corrcoef(neighbours)[0, 1] > 0.85


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", ["imagenet", "catdog"])
def test_real_photographs_are_the_same_in_memory_and_from_disk(name, monkeypatch):
    options = {"image_size": 112, "max_classes": 2, "max_per_class": 20}
    in_memory = real(name, **options)
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "MEMORY_LIMIT", 0)
        datasets._load.cache_clear()
        streamed = real(name, **options)
    datasets._load.cache_clear()
    assert (type(streamed.train), type(in_memory.train)) == (ImageFiles, Samples)
    assert streamed.train.ids == in_memory.train.ids
    a, b = (torch.cat(list(dataset.train.crops(112, "resized-crop-flip", 16, CPU))) for dataset in (streamed, in_memory))
    # Resampled once or twice, which blurs; two different photographs differ by 0.3 on average.
    assert (a - b).abs().mean() < 0.03
    correlations = torch.corrcoef(torch.cat([a, b]).flatten(1))[: len(a), len(a) :]
    assert correlations.argmax(1).tolist() == list(range(len(a)))
    assert correlations.diagonal().min() > 0.9
