"""What training and testing rely on, whichever way a split keeps its images; and the choice of a part of a data set."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from helpers import write_image
from PIL import Image
from torch.nn import functional as F

from lficam.data.augmentation import AUGMENTATIONS
from lficam.data.files import ImageFiles
from lficam.data.samples import Dataset, Samples

CPU = torch.device("cpu")

# torch finds three worker processes too many for a small machine.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- both kinds of splits -------------------------------------------------------------------------------------------


def colour(number):
    """Of image `number`: told from every other by its red alone, none of them black."""
    return 40 + 15 * number, 128, 200 - 9 * number


@pytest.fixture(params=["memory", "streamed", "streamed by three workers"])
def split(request, tmp_path):
    """14 plain images, labelled by number modulo 4, each of its own colour and shape."""
    files = tuple(write_image(tmp_path / f"{i}.png", Image.new("RGB", (30 + 3 * i, 50 - i), colour(i))) for i in range(14))
    streamed = ImageFiles(tuple(f"train/{i}" for i in range(14)), files, torch.arange(14) % 4, 3 if "three" in request.param else 0)
    return streamed.decode(32) if request.param == "memory" else streamed


def numbers_of(images):
    """Which image each of a batch (n, 3, s, s) is, by the colour in its middle."""
    middle = images.shape[-1] // 2
    return [round((red - 40) / 15) for red in (images[:, 0, middle, middle] * 255).tolist()]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_epoch_is_every_sample_once_with_its_label(augmentation, split):
    batches = list(split.augmented(28, augmentation, 4, generator(), CPU))
    assert [len(labels) for _, labels in batches] == [4, 4, 4, 2]
    seen = []
    for images, labels in batches:
        assert images.shape[1:] == (3, 28, 28)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert 0 <= images.min() <= images.max() <= 1
        seen += numbers_of(images)
        assert labels.tolist() == [number % 4 for number in numbers_of(images)]
    assert sorted(seen) == list(range(14))


def test_the_order_is_another_in_every_epoch_and_the_same_from_the_same_seed(split):
    def two_epochs(seed):
        numbers = generator(seed)
        return [[n for images, _ in split.augmented(28, "none", 4, numbers, CPU) for n in numbers_of(images)] for _ in range(2)]

    first, second = two_epochs(1)
    assert first != second
    assert first != list(range(14))
    assert two_epochs(1) == [first, second]
    assert two_epochs(2)[0] != first


@pytest.mark.parametrize("split", ["memory"], indirect=True)
def test_every_order_is_as_likely_as_any_other(split):
    """Where the first sample ends up in 300 epochs: chi-squared has mean 13 and variance 26; five standard deviations."""
    numbers = generator()
    places = Counter()
    for _ in range(300):
        images, _ = next(split.augmented(28, "none", 14, numbers, CPU))
        places[numbers_of(images).index(0)] += 1
    expected = 300 / 14
    assert sum((places[i] - expected) ** 2 / expected for i in range(14)) < 13 + 5 * 26**0.5


def test_an_epoch_leaves_the_global_generator_alone(split):
    before = torch.get_rng_state()
    list(split.augmented(28, "resized-crop-flip", 4, generator(), CPU))
    list(split.crops(28, "resized-crop-flip", 4, CPU))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_does_not_depend_on_the_global_generator(split):
    epochs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        epochs.append(list(split.augmented(28, "resized-crop-flip", 4, generator(), CPU)))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(*epochs, strict=True))


@pytest.mark.parametrize("batch_size", [1, 5, 14, 100])
def test_test_crops_come_in_order_whatever_the_batch(batch_size, split):
    batches = list(split.crops(28, "resized-crop-flip", batch_size, CPU))
    assert max(len(batch) for batch in batches) == min(batch_size, 14)
    crops = torch.cat(batches)
    assert numbers_of(crops) == list(range(14))
    for number, crop in enumerate(crops):
        expected = torch.tensor(colour(number)).view(3, 1, 1).expand(3, 28, 28)
        assert (crop * 255 - expected).abs().max() < 0.01  # plain images stay what they are, to their corners


def test_taking_some_keeps_what_belongs_together(split):
    part = split.take([9, 2, 5])
    assert part.ids == ("train/9", "train/2", "train/5")
    assert part.labels.tolist() == [1, 2, 1]
    assert len(part) == 3
    assert numbers_of(torch.cat(list(part.crops(28, "resized-crop-flip", 2, CPU)))) == [9, 2, 5]
    assert len(split) == 14


def test_on_the_cpu_nothing_needs_to_be_brought(split):
    assert torch.equal(
        torch.cat(list(split.to(CPU).crops(28, "resized-crop-flip", 5, CPU))),
        torch.cat(list(split.crops(28, "resized-crop-flip", 5, CPU))),
    )


@pytest.fixture(params=["memory", "streamed"])
def framed(request, tmp_path):
    """40 times a grey image of 32 pixels with a white border of 2, to be looked at at 64 pixels, and how it looks there."""
    image = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    image[:, 2:-2, 2:-2] = 100
    expected = F.interpolate(image[None].float() / 255, (64, 64), mode="bilinear")[0]
    if request.param == "memory":
        images = image.expand(40, -1, -1, -1)
        return Samples(tuple(map(str, range(40))), images, torch.zeros(40).long(), torch.full((40, 2), 32.0)), expected
    file = write_image(tmp_path / "framed.png", Image.fromarray(image.permute(1, 2, 0).numpy()))
    return ImageFiles(tuple(map(str, range(40))), (file,) * 40, torch.zeros(40).long(), 0), expected


@pytest.mark.parametrize("augmentation", ["none", "crop", "crop-flip"])
def test_a_border_is_seen_in_training_and_in_testing(augmentation, framed):
    split, expected = framed
    assert expected[:, :3].min() == expected[:, :, -3:].min() == 1
    for crop in torch.cat(list(split.crops(64, augmentation, 16, CPU))):
        assert (crop - expected).abs().max() < 1.5 / 255
    shifts = F.pad(expected, [4] * 4).unfold(1, 64, 1).unfold(2, 64, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)  # (81, 3, 64, 64)
    trained = torch.cat([images for images, _ in split.augmented(64, augmentation, 16, generator(), CPU)])
    which = []
    for crop in trained:  # mirrored it is the same
        distances = (shifts - crop).abs().flatten(1).amax(1)
        assert distances.min() < 1.5 / 255
        which.append(distances.argmin().item())
    assert (set(which) == {40}) is (augmentation == "none")  # 40 of 0 to 80 is the middle one
    assert augmentation == "none" or len(set(which)) > 20


def test_where_training_sees_parts_of_larger_images_testing_leaves_the_border_out(framed):
    split, _ = framed
    for crop in torch.cat(list(split.crops(64, "resized-crop-flip", 16, CPU))):
        assert (crop[:, 2:-2, 2:-2] - 100 / 255).abs().max() < 1e-3


# --- a part of a data set -------------------------------------------------------------------------------------------


def dataset_of(train, test, classes="abcd"):
    """train, test: labels. Every sample can be told by its pixels, its shape and its mask."""

    def samples(name, labels):
        count = len(labels)
        images = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1).expand(count, 3, 4, 4).clone()
        shapes = torch.arange(count).float()[:, None] + torch.tensor([100.0, 200.0])
        masks = torch.zeros(count, 1, 4, 4, dtype=torch.bool)
        masks[torch.arange(count), 0, torch.arange(count) % 4, torch.arange(count) // 4 % 4] = True
        return Samples(tuple(f"{name}/{i}" for i in range(count)), images, torch.tensor(labels), shapes, masks)

    return Dataset("letters", tuple(classes), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), samples("train", train), samples("test", test))


@pytest.fixture
def letters():
    """Four classes, of which there are 5, 4, 1 and 6 to train and 2, 3, 2 and 1 to test, mixed."""
    return dataset_of([0, 1, 3, 3, 0, 2, 1, 3, 0, 0, 1, 3, 1, 0, 3, 3], [1, 0, 3, 2, 1, 2, 0, 1])


def names(dataset, split):
    """(id, name of the class) of every sample."""
    samples = getattr(dataset, split)
    return [(id, dataset.classes[label]) for id, label in zip(samples.ids, samples.labels.tolist(), strict=True)]


def test_zero_keeps_all(letters):
    same = letters.subset(0, 0)
    assert same.classes == letters.classes
    for split in ("train", "test"):
        for field in ("images", "labels", "shapes", "objects"):
            assert torch.equal(getattr(getattr(same, split), field), getattr(getattr(letters, split), field))
        assert getattr(same, split).ids == getattr(letters, split).ids


def test_more_than_there_is_keeps_all(letters):
    assert letters.subset(9, 99).train.ids == letters.train.ids
    assert letters.subset(9, 99).classes == letters.classes


def test_at_most_so_many_of_each_class_train_and_all_test(letters):
    part = letters.subset(max_per_class=2)
    assert part.classes == ("a", "b", "c", "d")
    assert torch.bincount(part.train.labels).tolist() == [2, 2, 1, 2]
    assert set(names(part, "train")) < set(names(letters, "train"))
    assert names(part, "test") == names(letters, "test")
    assert part.train.ids == tuple(sorted(part.train.ids, key=lambda id: int(id.split("/")[1])))  # in their old order


@pytest.mark.parametrize("count", [1, 2, 3])
def test_kept_classes_are_labelled_anew_in_their_old_order(count, letters):
    part = letters.subset(max_classes=count)
    assert len(part.classes) == count
    assert list(part.classes) == sorted(part.classes)
    for split in ("train", "test"):
        assert names(part, split) == [(id, name) for id, name in names(letters, split) if name in part.classes]
        assert getattr(part, split).labels.dtype == torch.int64


def test_the_choice_is_the_one_that_a_second_implementation_makes(letters):
    """By the order that a fresh generator of seed 0 gives: of the classes, then of each kept class's images."""
    numbers = generator()
    kept = sorted(torch.randperm(4, generator=numbers).tolist()[:2])
    chosen = []
    for label in kept:
        own = [i for i, other in enumerate(letters.train.labels.tolist()) if other == label]
        chosen += [own[i] for i in torch.randperm(len(own), generator=numbers).tolist()[:2]]
    part = letters.subset(2, 2)
    assert part.classes == tuple("abcd"[label] for label in kept)
    assert part.train.ids == tuple(f"train/{i}" for i in sorted(chosen))


def test_some_choices_stay_for_ever():
    """Else all models of one version would see other images than those of the next."""
    part = dataset_of(list(range(20)) * 10, list(range(20)), "abcdefghijklmnopqrst").subset(4, 2)
    assert part.classes == ("e", "f", "n", "t")
    assert part.train.ids == tuple(f"train/{i}" for i in [13, 25, 64, 79, 179, 184, 185, 193])


def test_pixels_shapes_and_masks_follow(letters):
    part = letters.subset(3, 2)
    for split in ("train", "test"):
        samples, whole = getattr(part, split), getattr(letters, split)
        for i, id in enumerate(samples.ids):
            old = whole.ids.index(id)
            for field in ("images", "shapes", "objects"):
                assert torch.equal(getattr(samples, field)[i], getattr(whole, field)[old])
    assert (part.mean, part.std, part.name) == (letters.mean, letters.std, letters.name)


def test_the_choice_does_not_depend_on_a_runs_seed(letters):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = letters.subset(2, 2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    letters.subset(3, 1)  # an earlier choice
    assert letters.subset(2, 2).train.ids == first.train.ids


def test_fewer_images_are_among_the_more():
    letters = dataset_of([0, 1, 2] * 30, [0, 1, 2], "abc")
    parts = [set(letters.subset(0, count).train.ids) for count in (1, 5, 20)]
    assert [len(part) for part in parts] == [3, 15, 60]
    assert parts[0] < parts[1] < parts[2]


def test_images_on_disk_are_chosen_like_those_in_memory(letters, tmp_path):
    def on_disk(samples):
        return ImageFiles(samples.ids, tuple(tmp_path / id for id in samples.ids), samples.labels, 0)

    streamed = replace(letters, train=on_disk(letters.train), test=on_disk(letters.test)).subset(2, 2)
    expected = letters.subset(2, 2)
    assert streamed.classes == expected.classes
    for split in ("train", "test"):
        assert names(streamed, split) == names(expected, split)
        part = getattr(streamed, split)
        assert part.files == tuple(tmp_path / id for id in part.ids)
        assert torch.equal(part.labels, getattr(expected, split).labels)
