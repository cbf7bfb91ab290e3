"""Image files: found out where they are damaged; cropped by worker processes."""

import errno
import json
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from damaged_images import DAMAGED
from helpers import BLUE, RED, images_of, write_image
from PIL import Image
from torchvision.transforms import functional as T
from torchvision.transforms import v2

from lficam.data import datasets, files
from lficam.data.augmentation import AUGMENTATIONS, TEST_CROP, augment, kept_side
from lficam.data.datasets import load_dataset
from lficam.data.files import ImageFiles, find_unreadable
from lficam.data.folders import list_folder, load_listing
from lficam.errors import InputError
from lficam.paths import runs_dir

CPU = torch.device("cpu")

pytestmark = [
    # torch finds three worker processes too many for a small machine.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    # Pillow's comments on damaged files: as an error they would hide what else happens.
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- decoding -------------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path):
    """Three whole cats and dogs to train and two to test, and all that is damaged among the cats, half of it in each split."""
    root = tmp_path / "damaged"
    for kind, colour in (("cat", RED), ("dog", BLUE)):
        for i in range(3):
            write_image(root / "train" / kind / f"{i}.png", colour)
        for i in range(2):
            write_image(root / "test" / kind / f"{i}.png", colour)
    for i, (name, content) in enumerate(DAMAGED.items()):
        file = root / ("train", "test")[i % 2] / "cat" / name
        file.write_bytes(content(file))
    return root


@pytest.fixture(params=["memory", "streamed"])
def limit(request, monkeypatch):
    """Both pipelines."""
    if request.param == "streamed":
        monkeypatch.setattr(datasets, "MEMORY_LIMIT", 0)
    return request.param


def load(folder, **options):
    return load_dataset("folder", str(folder), image_size=28, **options)


def test_damaged_images_are_left_out_and_listed_with_the_reason(damaged, limit, capsys):
    dataset = load(damaged)
    assert isinstance(dataset.train, ImageFiles) is (limit == "streamed")
    assert dataset.train.ids == tuple(f"train/{kind}/{i}.png" for kind in ("cat", "dog") for i in range(3))
    assert dataset.test.ids == tuple(f"test/{kind}/{i}.png" for kind in ("cat", "dog") for i in range(2))
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    reasons = dict(dataset.unreadable)
    assert sorted(id.split("/")[2] for id in reasons) == sorted(DAMAGED)
    assert all(id.startswith(("train/cat/", "test/cat/")) for id in reasons)
    assert "cannot identify image file" in reasons["train/cat/text.jpg"]
    assert "truncated" in reasons["train/cat/truncated.jpg"]
    assert all(reasons.values())
    by_name = {id.split("/")[2]: reason for id, reason in reasons.items()}
    assert by_name["exif.jpg"] == "required argument is not an integer"  # a struct.error
    assert "too large" in by_name["endless.png"]  # a ValueError
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("10 of 20 images of folder cannot be read and are left out: train/cat/")
    assert printed[0].endswith(", ...")


def test_an_epoch_over_what_is_left_of_damaged_images_is_whole(damaged, limit):
    dataset = load(damaged)
    for split, count in ((dataset.train, 6), (dataset.test, 4)):
        batches = list(split.augmented(28, "resized-crop-flip", 4, generator(), CPU))
        assert sum(len(labels) for _, labels in batches) == count
        for images, labels in batches:
            assert ((images[:, 0] > 0.5).all((1, 2)) == (labels == 0)).all()  # cats are red
        assert sum(len(images) for images in split.crops(28, "resized-crop-flip", 4, CPU)) == count


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_of_which_nothing_is_readable_is_named(split, damaged, limit):
    for file in (damaged / split / "dog").iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(InputError, match=rf"no readable {split} image of class 'dog' in folder"):
        load(damaged)


def counted(monkeypatch):
    """The files that are opened from now on, in this process."""
    opened, real = [], files.open_image
    monkeypatch.setattr(files, "open_image", lambda file, *args, **kwargs: (opened.append(file), real(file, *args, **kwargs))[1])
    return opened


def test_every_image_is_checked_once(damaged, monkeypatch):
    monkeypatch.setattr(datasets, "MEMORY_LIMIT", 0)
    opened = counted(monkeypatch)
    first = load(damaged)
    assert sorted(opened) == sorted(file for file in damaged.rglob("*.*g"))
    opened.clear()
    datasets._load.cache_clear()  # as in another process
    assert load(damaged).unreadable == first.unreadable
    assert opened == []


def test_the_record_of_the_check_is_kept_with_the_runs(damaged):
    whole = ImageFiles(("cat", "text"), (damaged / "train/cat/0.png", damaged / "train/cat/text.jpg"), torch.tensor([0, 0]))
    before = set((runs_dir() / ".checked").glob("*"))
    assert list(find_unreadable(whole)) == ["text"]
    (record,) = set((runs_dir() / ".checked").glob("*")) - before
    assert json.loads(record.read_text()) == find_unreadable(whole)


def test_an_error_without_words_is_a_reason_too(damaged, monkeypatch):
    def wordless(file):
        raise EOFError

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", wordless)
        found = find_unreadable(ImageFiles(("wordless",), (damaged / "train/dog/0.png",), torch.tensor([0])))
    assert found == {"wordless": "EOFError"}


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    """An empty store of runs; its list of checked images."""
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs" / ".checked"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES, errno.ENOMEM])
def test_a_fault_of_the_machine_is_raised_and_not_taken_for_a_damaged_image(number, own_store, tmp_path, monkeypatch):
    whole = images_of([write_image(tmp_path / f"{i}.png") for i in range(3)])
    real, faults = Image.open, [OSError(number, os.strerror(number))]

    def open_once_in_vain(*arguments, **options):
        if faults:
            raise faults.pop()
        return real(*arguments, **options)

    monkeypatch.setattr(Image, "open", open_once_in_vain)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        find_unreadable(whole)
    assert caught.value.errno == number
    assert not isinstance(caught.value, InputError)
    assert list(own_store.glob("*")) == []
    assert find_unreadable(whole) == {}
    assert len(list(own_store.glob("*.json"))) == 1


def test_a_damaged_place_in_a_file_is_no_fault_of_the_machine(own_store, tmp_path):
    """A BigTIFF whose directory lies beyond what any disk holds; looking there is an OSError with a number."""
    file = write_image(tmp_path / "big.tif", big_tiff=True)
    content = bytearray(file.read_bytes())
    assert content[:4] == b"II\x2b\0"
    content[8:16] = struct.pack("<Q", 2**63 - 1)
    file.write_bytes(content)
    assert list(find_unreadable(images_of([file]))) == [str(file)]


def test_the_reasons_have_no_path(damaged, own_store, tmp_path):
    for name in ("it's.jpg", 'so "called".jpg', "back\\slash.png", "Größe.png"):
        (damaged / "train" / "cat" / name).write_bytes(b"no image")
    dataset = load_listing("folder", list_folder, damaged)
    reasons = find_unreadable(dataset.train) | find_unreadable(dataset.test)
    assert len(reasons) == len(DAMAGED) + 4
    assert all(reasons.values())
    records = list(own_store.glob("*.json"))
    assert len(records) == 2
    for record in records:
        assert str(tmp_path) not in record.read_text()
        assert "damaged" not in record.read_text()
    for text in reasons.values():
        assert str(tmp_path) not in text


def test_an_image_that_is_replaced_is_checked_again(damaged, limit):
    assert len(load(damaged).unreadable) == len(DAMAGED)
    write_image(damaged / "train/cat/text.jpg", RED)
    dataset = load(damaged)
    assert len(dataset.unreadable) == len(DAMAGED) - 1
    assert "train/cat/text.jpg" in dataset.train.ids
    # One that is damaged later, and keeps its size.
    file = damaged / "train/dog/0.png"
    state = file.stat()
    file.write_bytes(bytes(state.st_size))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))
    datasets._load.cache_clear()
    assert "train/dog/0.png" in dict(load(damaged).unreadable)


def test_only_images_that_are_used_are_checked(damaged, monkeypatch):
    monkeypatch.setattr(datasets, "MEMORY_LIMIT", 0)
    opened = counted(monkeypatch)
    dataset = load(damaged, max_per_class=7)
    assert len([file for file in opened if file.parent == damaged / "train" / "cat"]) == 7  # of 8
    assert len([file for file in opened if file.parent == damaged / "train" / "dog"]) == 3  # of 3
    assert len([file for file in opened if file.is_relative_to(damaged / "test")]) == 9  # all
    assert len(dataset.train) + len(dataset.test) + len(dataset.unreadable) == 7 + 3 + 9


# --- worker processes -----------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path):
    """13 noisy images of many shapes, each labelled by its number."""
    numbers = np.random.default_rng(0)
    paths = []
    for i in range(13):
        height, width = numbers.integers(30, 90, 2)
        noise = numbers.integers(0, 256, (height, width, 3), dtype=np.uint8)
        paths.append(write_image(tmp_path / f"{i:02}.{('png', 'jpg')[i % 2]}", Image.fromarray(noise)))
    return images_of(paths)


def opened_rgb(file):
    with Image.open(file) as image:
        return image.convert("RGB")


def same(batches, others):
    batches, others = list(batches), list(others)
    assert len(batches) == len(others) > 0
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(batches, others, strict=True))


@pytest.mark.parametrize("augmentation", ["none", "crop", "crop-flip", "resized-crop-flip"])
def test_the_number_of_workers_changes_nothing(augmentation, photographs):
    def two_epochs(workers):
        numbers = generator(3)
        split = replace(photographs, workers=workers)
        return [list(split.augmented(16, augmentation, 4, numbers, CPU)) for _ in range(2)]

    expected = two_epochs(0)
    for workers in (1, 3):
        for epoch, other in zip(two_epochs(workers), expected, strict=True):
            assert same(epoch, other)
    assert not same(*expected)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_test_crops_are_torchvisions_bit_by_bit(workers, photographs):
    batches = list(replace(photographs, workers=workers).crops(28, "resized-crop-flip", 5, CPU))
    assert [len(batch) for batch in batches] == [5, 5, 3]
    for crop, file in zip(torch.cat(batches), photographs.files, strict=True):
        image = opened_rgb(file)
        expected = T.pil_to_tensor(T.center_crop(T.resize(image, 32), 28))
        assert torch.equal(crop, expected.float() / 255)


def test_a_random_crop_of_a_streamed_image_depends_on_its_seed_alone(photographs):
    """Not on its neighbours: the same seed gives one image the same crop, alone and among others."""
    numbers = generator(5)
    order, seeds = torch.randperm(13, generator=numbers).tolist(), torch.randint(2**62, (13,), generator=numbers).tolist()
    images = torch.cat([batch for batch, _ in photographs.augmented(16, "resized-crop-flip", 13, generator(5), CPU)])
    assert len(set(seeds)) == 13
    recipe = v2.Compose([v2.RandomResizedCrop(16), v2.RandomHorizontalFlip(), v2.PILToTensor()])
    for image, i, seed in zip(images, order, seeds, strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            expected = recipe(opened_rgb(photographs.files[i]))
        assert torch.equal(image, expected.float() / 255)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ask", ["augmented", "crops"])
def test_an_image_that_is_damaged_after_the_check_is_named_in_one_line(workers, ask, photographs):
    split = replace(photographs, workers=workers)
    split.files[7].write_bytes(b"no image")
    with pytest.raises(InputError, match=rf"^cannot read the image {split.files[7]} \(.*\): replace or remove it$"):
        list(
            split.crops(16, "resized-crop-flip", 4, CPU)
            if ask == "crops"
            else split.augmented(16, "crop-flip", 4, generator(), CPU)
        )
    split.files[7].unlink()
    with pytest.raises(InputError, match=rf"^no image at {split.files[7]}: check the path$"):
        list(
            split.crops(16, "resized-crop-flip", 4, CPU)
            if ask == "crops"
            else split.augmented(16, "crop-flip", 4, generator(), CPU)
        )


def test_an_image_that_cannot_be_read_into_memory_is_named(photographs):
    photographs.files[7].write_bytes(b"no image")
    with pytest.raises(InputError, match=rf"cannot read the image {photographs.files[7]}"):
        photographs.decode(16)


def test_decoding_keeps_ids_labels_and_order(photographs):
    samples = photographs.decode(24)
    assert samples.ids == photographs.ids
    assert torch.equal(samples.labels, photographs.labels)
    for image, shape, file in zip(samples.images, samples.shapes, photographs.files, strict=True):
        original = opened_rgb(file)
        squashed = np.asarray(original.resize((24, 24), Image.Resampling.BILINEAR))
        assert shape.tolist() == [original.height, original.width]
        assert np.array_equal(image.permute(1, 2, 0).numpy(), squashed)


# --- the same pictures in memory and from disk ----------------------------------------------------------------------


def ramps(height, width):
    """Red says how far right a pixel lies, green how far down, both from 0 to 255; blue is smooth."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    smooth = 127 + 100 * np.sin(across / 60) * np.cos(down / 80)
    return Image.fromarray(np.stack([across, down, smooth], 2).round().astype(np.uint8))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_test_crops_are_nearly_the_same_in_memory_and_from_disk(suffix, tmp_path):
    shapes = [(64, 64), (128, 64), (64, 128), (100, 150), (250, 500), (1000, 800)]  # nothing to round at 64 pixels
    paths = [write_image(tmp_path / f"{h}x{w}.{suffix}", ramps(h, w)) for h, w in shapes]
    split = images_of(paths)
    streamed = torch.cat(list(split.crops(56, "resized-crop-flip", 4, CPU)))
    in_memory = torch.cat(list(split.decode(round(56 / TEST_CROP)).crops(56, "resized-crop-flip", 4, CPU)))
    assert streamed.shape == in_memory.shape == (6, 3, 56, 56)
    # Two resamplings instead of one, each rounded, and a JPEG's own noise.
    difference = (streamed - in_memory).abs() * 255
    assert difference.max() < (4 if suffix == "png" else 8)
    # Crops one pixel apart would differ by 2 levels or more everywhere in red or in green (255 levels on at most 128 pixels).
    assert difference.mean((2, 3)).max() < 1


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_what_is_tested_is_the_same_picture_in_memory_and_from_disk(augmentation, suffix, tmp_path):
    shapes = [(64, 64), (128, 64), (64, 128), (100, 150), (1000, 800)]
    split = images_of([write_image(tmp_path / f"{h}x{w}.{suffix}", ramps(h, w)) for h, w in shapes])
    streamed = torch.cat(list(split.crops(56, augmentation, 4, CPU))) * 255
    in_memory = torch.cat(list(split.decode(kept_side(56, augmentation)).crops(56, augmentation, 4, CPU))) * 255
    assert (streamed - in_memory).abs().max() < (4 if suffix == "png" else 8)
    assert (streamed - in_memory).abs().mean((2, 3)).max() < 1
    # The ramps say how much of the image it is: all of it, squashed, or the middle 7/8 of the shorter side.
    for images in (streamed, in_memory):
        for (height, width), image in zip(shapes, images, strict=True):
            for side, span in ((width, image[0, 28, -1] - image[0, 28, 0]), (height, image[1, -1, 28] - image[1, 0, 28])):
                share = TEST_CROP * min(height, width) / side if augmentation == "resized-crop-flip" else 1
                assert span.item() == pytest.approx(255 * share * 55 / 56, abs=10)


@pytest.mark.parametrize("augmentation", ["none", "crop", "crop-flip"])
def test_what_is_trained_on_is_the_tested_picture_shifted_in_memory_and_from_disk(augmentation, tmp_path):
    count, size = 60, 24
    split = images_of([write_image(tmp_path / "ramps.png", ramps(72, 108))]).take([0] * count)
    in_memory = split.decode(kept_side(size, augmentation))
    for samples in (split, in_memory):
        tested = next(samples.crops(size, augmentation, 1, CPU))[0]
        padded = torch.nn.functional.pad(tested, [4] * 4)  # black, as RandomCrop(padding=4)
        shifts = [(i, j, flip) for i in range(9) for j in range(9) for flip in (False, True)]
        candidates = torch.stack([padded[:, i : i + size, j : j + size].flip([-1] * flip) for i, j, flip in shifts])
        seen = set()
        for images, _ in samples.augmented(size, augmentation, 20, generator(), CPU):
            for image in images:
                distances = (candidates - image).abs().flatten(1).amax(1)
                assert distances.min() < 1.5 / 255
                seen.add(shifts[distances.argmin()])
        assert {flip for *_, flip in seen} == ({False, True} if augmentation == "crop-flip" else {False})
        assert (seen == {(4, 4, False)}) is (augmentation == "none")
        assert augmentation == "none" or len(seen) > count / 2


def boxes_of(crops):
    """Where crops of `ramps` come from: (N,) left, right (the smaller first), top, bottom as shares, and whether flipped."""
    middle = crops.shape[-1] // 2
    red, green = crops[:, 0, middle], crops[:, 1, :, middle]
    sides = red[:, [0, -1]]
    return sides.amin(1), sides.amax(1), green[:, 0], green[:, -1], sides[:, 0] > sides[:, 1]


@pytest.mark.parametrize(("height", "width"), [(96, 96), (72, 108)])
def test_random_resized_crops_are_distributed_alike_in_memory_and_from_disk(height, width, tmp_path):
    count = 1500
    split = images_of([write_image(tmp_path / "ramps.bmp", ramps(height, width))])
    streamed = torch.cat(
        [images for images, _ in split.take([0] * count).augmented(16, "resized-crop-flip", 500, generator(), CPU)]
    )
    kept = split.decode(128)
    in_memory = augment(kept.images.expand(count, -1, -1, -1), kept.shapes.expand(count, 2), 16, "resized-crop-flip", generator(1))
    (left, right, top, bottom, flipped), (left2, right2, top2, bottom2, flipped2) = boxes_of(streamed), boxes_of(in_memory)
    measures = [
        (left, left2),
        (right, right2),
        (top, top2),
        (bottom, bottom2),
        (left - top, left2 - top2),
        ((right - left) * (bottom - top), (right2 - left2) * (bottom2 - top2)),
        ((right - left) * width / ((bottom - top) * height), (right2 - left2) * width / ((bottom2 - top2) * height)),
    ]
    for a, b in measures:
        levels = torch.linspace(min(a.min(), b.min()), max(a.max(), b.max()), 100)
        below = [(sample[:, None] < levels).double().mean(0) for sample in (a, b)]
        # Kolmogorov and Smirnov: more than this in one of 8,000 cases; and one level of 256 lost by rounding.
        assert (below[0] - below[1]).abs().max() < 2.2 * (2 / count) ** 0.5 + 0.01
    for share in (flipped, flipped2):
        assert share.double().mean().item() == pytest.approx(0.5, abs=5 * (0.25 / count) ** 0.5)
