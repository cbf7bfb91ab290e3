"""Image files: decoded right, whatever they are; found out where they are damaged."""

import errno
import random

import numpy as np
import pytest
import torch
from damaged_images import DAMAGED
from helpers import BLUE, GREEN, RED, images_of, two_halves, write_image
from PIL import Image

from lficam.data.datasets import load_dataset
from lficam.data.decoding import check_picture, read_image
from lficam.data.photograph import photograph_in, seen_in
from lficam.errors import InputError

CPU = torch.device("cpu")

pytestmark = [
    # Pillow's comments on damaged files: as an error they would hide what else happens.
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
]


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "bmp", "gif", "webp", "tif"])
def test_file_formats(suffix, tmp_path):
    pixels, shape = read_image(write_image(tmp_path / f"image.{suffix}"), 16)
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
        (Image.new("LA", (40, 40), (77, 200)), "png", (115, 115, 115), 1),  # over white: (77 * 200 + 255 * 55) / 255
        (Image.new("RGBA", (40, 40), (*RED, 255)), "png", RED, 0),
        (palette(), "png", GREEN, 0),
        (palette(), "gif", GREEN, 0),
        (Image.new("RGB", (40, 40), BLUE).convert("CMYK"), "jpg", BLUE, 6),
    ],
)
def test_every_colour_mode_becomes_rgb(image, suffix, expected, tolerance, tmp_path):
    file = write_image(tmp_path / f"image.{suffix}", image)
    pixels, _ = read_image(file, 16)
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance
    streamed = next(images_of([file]).crops(28, "resized-crop-flip", 1, CPU)) * 255
    assert (streamed - torch.tensor(expected).view(3, 1, 1)).abs().max() <= tolerance + 1e-3


def test_sixteen_bits_a_pixel_become_eight(tmp_path):
    grey = Image.fromarray(np.full((40, 40), 77 * 257, np.uint16))
    pixels, _ = read_image(write_image(tmp_path / "image.png", grey), 16)
    assert np.abs(pixels.astype(int) - 77).max() <= 1


GREY = np.array([[0, 80], [160, 255]], np.uint8).repeat(28, 0).repeat(28, 1)


@pytest.mark.parametrize(
    ("image", "suffix"),
    [
        (Image.fromarray(GREY.astype(np.float32) / 255), "tif"),
        (Image.fromarray(GREY.astype(np.int32) * 16), "tif"),  # a camera's 12 bits
        (Image.merge("RGBA", [Image.fromarray(GREY)] * 4), "png"),
        (Image.new("RGBA", (56, 56), (*RED, 0)), "png"),
        (Image.fromarray(GREY.astype(np.uint16) * 257), "png"),
    ],
    ids=["32-bit shares", "32-bit integers", "half transparent", "transparent", "16 bits"],
)
def test_one_file_is_the_same_picture_in_a_data_set_and_as_a_picture_of_ones_own(image, suffix, tmp_path):
    file = write_image(tmp_path / f"image.{suffix}", image)
    of_data = images_of([file]).decode(28)
    pixels = of_data.images[0] / 255
    own = seen_in(check_picture(file.name, file.read_bytes()), 28, "none")
    assert torch.equal(pixels, own)
    shown = photograph_in(file.read_bytes(), "none").pixels
    for row in (1, -2):
        for column in (1, -2):  # away from the edges between the quarters
            assert torch.equal(shown[:, row, column], own[:, row, column])


def test_pixels_that_are_not_finite_are_refused_wherever_they_come_from(tmp_path):
    image = Image.fromarray(np.full((8, 8), np.nan, np.float32))
    file = write_image(tmp_path / "nan.tif", image)
    with pytest.raises(InputError, match="NaN or infinite"):
        images_of([file]).decode(28)
    with pytest.raises(InputError, match=r"nan\.tif is damaged \(it holds pixels that are NaN or infinite\)"):
        check_picture(file.name, file.read_bytes())


# Where the left half of the stored image belongs, by the EXIF standard's table of orientations.
ORIENTATIONS = [(1, "left"), (2, "right"), (3, "right"), (4, "left"), (5, "top"), (6, "top"), (7, "bottom"), (8, "bottom")]


@pytest.mark.parametrize(("orientation", "red"), ORIENTATIONS)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_photographs_are_turned_upright(orientation, red, suffix, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = write_image(tmp_path / f"turned.{suffix}", two_halves(80, 40), exif=exif)
    pixels, (height, width) = read_image(file, 16)
    assert height / width == (0.5 if orientation <= 4 else 2)
    streamed = (next(images_of([file]).crops(16, "resized-crop-flip", 1, CPU))[0] * 255).permute(1, 2, 0).numpy()
    where = {"left": np.s_[:, :6], "right": np.s_[:, 10:], "top": np.s_[:6], "bottom": np.s_[10:]}
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    for image in (pixels, streamed):
        assert np.abs(image[where[red]].astype(int) - RED).max() <= 12
        assert np.abs(image[where[opposite[red]]].astype(int) - BLUE).max() <= 12


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(("width", "height"), [(80, 40), (40, 120), (1500, 500), (300, 2000)])
def test_a_photograph_is_squashed_and_its_shape_remembered(width, height, suffix, tmp_path):
    pixels, shape = read_image(write_image(tmp_path / f"wide.{suffix}", two_halves(width, height)), 16)
    assert pixels.shape == (16, 16, 3)
    assert shape[1] / shape[0] == pytest.approx(width / height, rel=0.02)
    assert np.abs(pixels[:, :7].astype(int) - RED).max() <= 12  # the whole width is there
    assert np.abs(pixels[:, 9:].astype(int) - BLUE).max() <= 12


def test_shapes_are_height_and_width(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png"):
        write_image(tmp_path / name, two_halves(60, 30))
    samples = load_dataset("folder", str(tmp_path), image_size=28).train
    assert samples.shapes.tolist() == [[30, 60], [30, 60]]
    assert samples.shapes.dtype == torch.float32


def test_shrinking_averages_all_pixels(tmp_path):
    stripes = Image.fromarray(np.tile(np.array([0, 0, 255, 255], np.uint8), (64, 64)))  # 256 wide
    pixels, _ = read_image(write_image(tmp_path / "stripes.png", stripes), 32)
    assert np.abs(pixels[:, 1:-1].astype(int) - 127.5).max() < 20  # no moire: picking pixels would give 0 and 255


# --- damaged files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DAMAGED)
def test_an_unreadable_image_is_named(name, tmp_path):
    file = tmp_path / name
    file.write_bytes(DAMAGED[name](file))
    with pytest.raises(InputError, match=rf"cannot read the image {file} \(.+\): replace or remove it") as caught:
        read_image(file, 16)
    assert "\n" not in str(caught.value)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no image at .*gone\.jpg"):
        read_image(tmp_path / "gone.jpg", 16)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "webp", "tif"])
def test_whatever_happens_to_a_file_it_is_read_or_named(suffix, tmp_path):
    """Bytes are changed at random and files cut off; Pillow has an error of its own for everything."""
    numbers = random.Random(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x0131], exif[0x011A] = 6, "software", 72.0
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    file = write_image(tmp_path / f"image.{suffix}", noise, exif=exif)
    whole = file.read_bytes()
    outcomes = []
    for _ in range(150):
        data = bytearray(whole[: numbers.randrange(len(whole))] if numbers.random() < 0.3 else whole)
        for _ in range(numbers.randrange(6) if data else 0):
            data[numbers.randrange(min(len(data), numbers.choice([100, 400, 10**6])))] = numbers.randrange(256)
        file.write_bytes(data)
        try:
            outcomes.append(read_image(file, 16)[0].shape)
        except InputError as error:
            outcomes.append(str(file) in str(error))
    assert set(outcomes) == {(16, 16, 3), True}


def test_a_fault_of_the_machine_is_no_input_error_for_one_image_either(tmp_path, monkeypatch):
    file = write_image(tmp_path / "whole.png")

    def too_many(*arguments):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", too_many)
        with pytest.raises(OSError, match="Too many open files"):
            read_image(file, 16)
    assert read_image(file, 16)[1] == (40, 40)
