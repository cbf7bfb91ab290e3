import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from lficam.augmentation import center_crop
from lficam.datasets import data_fingerprint, load_dataset
from lficam.errors import InputError
from lficam.folders import fingerprint, load_folder, read_image

RED, GREEN, BLUE = (250, 10, 20), (10, 240, 30), (20, 30, 230)


def write(file, image=(120, 60, 30), **options):
    """An image file; a colour stands for a plain 40 x 40 image of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (40, 40), image) if isinstance(image, tuple) else image
    image.save(file, **options)
    return file


@pytest.fixture
def photographs(tmp_path):
    """Two classes, red cats and blue dogs, 3 + 2 for training, 1 + 2 for testing."""
    root = tmp_path / "photographs"
    for name in ("train/cat/a.png", "train/cat/b.PNG", "train/cat/deep/c.png", "test/cat/a.png"):
        write(root / name, RED)
    for name in ("train/dog/1.png", "train/dog/2.png", "test/dog/1.png", "test/dog/3.png"):
        write(root / name, BLUE)
    return root


def test_ids_classes_and_labels(photographs):
    dataset = load_folder("folder", photographs, 28)
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.ids == ("train/cat/a.png", "train/cat/b.PNG", "train/cat/deep/c.png", "train/dog/1.png", "train/dog/2.png")
    assert dataset.test.ids == ("test/cat/a.png", "test/dog/1.png", "test/dog/3.png")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert dataset.test.labels.tolist() == [0, 1, 1]
    assert dataset.train.labels.dtype == torch.int64
    assert dataset.train.masks is None
    for samples in (dataset.train, dataset.test):
        assert samples.images.dtype == torch.uint8
        assert samples.images.shape[1:] == (3, 32, 32)  # 28 of 32 as 224 of 256
        for image, label in zip(samples.images, samples.labels, strict=True):
            assert torch.equal(image, torch.tensor([RED, BLUE][label], dtype=torch.uint8).view(3, 1, 1).expand(3, 32, 32))


def test_every_image_is_kept_large_enough_for_its_test_crop(photographs):
    samples = load_folder("folder", photographs, 224).test
    assert samples.images.shape[2:] == (256, 256)
    assert center_crop(samples.images, samples.shapes, 224).shape == (3, 3, 224, 224)


def test_val_serves_as_test(photographs):
    before = load_folder("folder", photographs, 28), fingerprint(photographs)
    (photographs / "test").rename(photographs / "val")
    after = load_folder("folder", photographs, 28), fingerprint(photographs)
    assert after[0].test.ids == before[0].test.ids
    assert torch.equal(after[0].test.images, before[0].test.images)
    assert after[1] == before[1]


def test_hidden_files_and_other_files_are_no_images(photographs):
    expected = load_folder("folder", photographs, 28).train.ids
    before = fingerprint(photographs)
    write(photographs / "train/cat/.hidden.png")
    write(photographs / "train/cat/._a.png")  # macOS leaves such files on other file systems
    write(photographs / "train/.cache/cat/a.png")
    write(photographs / "train/cat/.ipynb_checkpoints/a-checkpoint.png")
    write(photographs / "train/stray.png")  # in no class
    (photographs / "train/cat/notes.txt").write_text("no image")
    (photographs / "train/dog/Thumbs.db").write_bytes(b"no image")
    (photographs / "README").write_text("no image")
    dataset = load_folder("folder", photographs, 28)
    assert dataset.train.ids == expected
    assert dataset.classes == ("cat", "dog")
    assert fingerprint(photographs) == before


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "bmp", "gif", "webp", "tif"])
def test_file_formats(suffix, tmp_path):
    pixels, shape = read_image(write(tmp_path / f"image.{suffix}"), 16)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - (120, 60, 30)).max() <= 6  # JPEG and the GIF palette lose a little
    assert shape == (40, 40)


def palette():
    image = Image.new("P", (40, 40), 1)
    image.putpalette([*RED, *GREEN, *BLUE])
    return image


@pytest.mark.parametrize(
    ("image", "suffix", "expected", "tolerance"),
    [
        (Image.new("L", (40, 40), 77), "png", (77, 77, 77), 0),
        (Image.new("L", (40, 40), 77), "jpg", (77, 77, 77), 1),
        (Image.new("1", (40, 40), 1), "png", (255, 255, 255), 0),
        (Image.new("LA", (40, 40), (77, 200)), "png", (77, 77, 77), 0),
        (Image.new("RGBA", (40, 40), (*RED, 255)), "png", RED, 0),
        (palette(), "png", GREEN, 0),
        (palette(), "gif", GREEN, 0),
        (Image.new("RGB", (40, 40), BLUE).convert("CMYK"), "jpg", BLUE, 6),
    ],
)
def test_every_colour_mode_becomes_rgb(image, suffix, expected, tolerance, tmp_path):
    pixels, _ = read_image(write(tmp_path / f"image.{suffix}", image), 16)
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance


def test_sixteen_bits_a_pixel_become_eight(tmp_path):
    grey = Image.fromarray(np.full((40, 40), 77 * 257, np.uint16))
    pixels, _ = read_image(write(tmp_path / "image.png", grey), 16)
    assert np.abs(pixels.astype(int) - 77).max() <= 1


def two_halves(width, height):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


# Where the left half of the stored image belongs, by the EXIF standard's table of orientations.
@pytest.mark.parametrize(
    ("orientation", "red"),
    [(1, "left"), (2, "right"), (3, "right"), (4, "left"), (5, "top"), (6, "top"), (7, "bottom"), (8, "bottom")],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_photographs_are_turned_upright(orientation, red, suffix, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels, (height, width) = read_image(write(tmp_path / f"turned.{suffix}", two_halves(80, 40), exif=exif), 16)
    assert height / width == (0.5 if orientation <= 4 else 2)
    where = {"left": np.s_[:, :6], "right": np.s_[:, 10:], "top": np.s_[:6], "bottom": np.s_[10:]}
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    assert np.abs(pixels[where[red]].astype(int) - RED).max() <= 12
    assert np.abs(pixels[where[opposite[red]]].astype(int) - BLUE).max() <= 12


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(("width", "height"), [(80, 40), (40, 120), (1500, 500), (300, 2000)])
def test_a_photograph_is_squashed_and_its_shape_remembered(width, height, suffix, tmp_path):
    pixels, shape = read_image(write(tmp_path / f"wide.{suffix}", two_halves(width, height)), 16)
    assert pixels.shape == (16, 16, 3)
    assert shape[1] / shape[0] == pytest.approx(width / height, rel=0.02)
    assert np.abs(pixels[:, :7].astype(int) - RED).max() <= 12  # the whole width is there
    assert np.abs(pixels[:, 9:].astype(int) - BLUE).max() <= 12


def test_shapes_are_height_and_width(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png"):
        write(tmp_path / name, two_halves(60, 30))
    samples = load_folder("folder", tmp_path, 28).train
    assert samples.shapes.tolist() == [[30, 60], [30, 60]]
    assert samples.shapes.dtype == torch.float32


def test_shrinking_averages_all_pixels(tmp_path):
    stripes = Image.fromarray(np.tile(np.array([0, 0, 255, 255], np.uint8), (64, 64)))  # 256 wide
    pixels, _ = read_image(write(tmp_path / "stripes.png", stripes), 32)
    assert np.abs(pixels[:, 1:-1].astype(int) - 127.5).max() < 20  # no moire: picking pixels would give 0 and 255


def test_a_missing_folder_is_named(tmp_path):
    for ask in (lambda folder: load_folder("folder", folder, 28), fingerprint):
        with pytest.raises(InputError, match=r"no data folder .*nowhere.*train/<class>"):
            ask(tmp_path / "nowhere")


@pytest.mark.parametrize(("removed", "named"), [("train", "no folder train"), ("test", "no folder test or val")])
def test_a_missing_split_is_named(removed, named, photographs):
    shutil.rmtree(photographs / removed)
    with pytest.raises(InputError, match=named):
        load_folder("folder", photographs, 28)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_images_is_named(split, photographs):
    for file in list((photographs / split).rglob("*.*")):
        file.unlink()
    with pytest.raises(InputError, match=rf"no images in .*{split}"):
        load_folder("folder", photographs, 28)


def test_one_class_is_not_enough(photographs):
    for split in ("train", "test"):
        shutil.rmtree(photographs / split / "dog")
    with pytest.raises(InputError, match=r"one class, 'cat'.*at least two"):
        load_folder("folder", photographs, 28)


@pytest.mark.parametrize("split", ["train", "test"])
def test_both_splits_need_the_same_classes(split, photographs):
    write(photographs / split / "bird" / "1.png")
    with pytest.raises(InputError, match=r"train has .*cat.*test has .*cat.*same folders") as caught:
        load_folder("folder", photographs, 28)
    assert str(caught.value).count("bird") == 1


def whole_jpeg(file):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return write(file, Image.fromarray(noise)).read_bytes()


def corrupt_png(file):
    """Its header is whole, its pixels are not."""
    data = bytearray(write(file, two_halves(64, 64)).read_bytes())
    data[60:80] = bytes(20)
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("truncated.jpg", lambda file: whole_jpeg(file)[:1500]),
        ("header.jpg", lambda file: whole_jpeg(file)[:30]),
        ("text.png", lambda file: b"This is no image.\n"),
        ("empty.png", lambda file: b""),
        ("corrupt.png", corrupt_png),
        ("page.jpg", lambda file: b"<!doctype html><title>404</title>"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_an_unreadable_image_is_named(name, content, split, photographs):
    file = photographs / split / "dog" / name
    file.write_bytes(content(file))
    with pytest.raises(InputError, match=rf"cannot read the image .*{split}/dog/{name}.*replace or remove") as caught:
        load_folder("folder", photographs, 28)
    assert "\n" not in str(caught.value)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no image at .*gone\.jpg"):
        read_image(tmp_path / "gone.jpg", 16)


def add(root):
    write(root / "train/cat/new.png")


def rename(root):
    (root / "train/cat/a.png").rename(root / "train/cat/z.png")


def grow(root):
    file = root / "test/dog/1.png"
    file.write_bytes(file.read_bytes() + b"\0")


def move_to_other_class(root):
    (root / "train/cat/a.png").rename(root / "train/dog/a.png")


def remove(root):
    (root / "test/dog/3.png").unlink()


@pytest.mark.parametrize("change", [add, rename, grow, move_to_other_class, remove])
def test_the_fingerprint_changes_with_the_files(change, photographs):
    before = fingerprint(photographs)
    change(photographs)
    assert fingerprint(photographs) != before


def test_the_fingerprint_stays_when_the_folder_moves(photographs, tmp_path):
    before = fingerprint(photographs)
    shutil.copytree(photographs, tmp_path / "else" / "where")
    assert fingerprint(tmp_path / "else" / "where") == before
    photographs.rename(tmp_path / "renamed")
    assert fingerprint(tmp_path / "renamed") == before


def test_the_fingerprint_decodes_nothing(photographs):
    (photographs / "train/cat/a.png").write_bytes(b"no image")
    assert len(fingerprint(photographs)) == 64


def test_a_folder_is_found_by_the_name_of_its_data_set(photographs, monkeypatch):
    monkeypatch.setenv("LFICAM_DATA", str(photographs.parent))
    photographs.rename(photographs.parent / "catdog")
    named = load_dataset("catdog", image_size=28)
    given = load_dataset("folder", str(photographs.parent / "catdog"), 28)
    assert named.name == "catdog"
    assert torch.equal(named.train.images, given.train.images)
    assert data_fingerprint("catdog", None) == data_fingerprint("folder", str(photographs.parent / "catdog"))


def test_a_data_set_is_read_again_when_its_files_change(photographs):
    before = load_dataset("folder", str(photographs), 28)
    assert load_dataset("folder", str(photographs), 28) is before  # ten runs read it once
    write(photographs / "train/cat/new.png", RED)
    assert len(load_dataset("folder", str(photographs), 28).train) == len(before.train) + 1
