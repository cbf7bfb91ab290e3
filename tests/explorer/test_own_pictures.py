"""Pictures of one's own, of every kind, good and bad: what a network sees of them, and what is refused."""

import hashlib
import random
import warnings
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
import tiny_runs
import torch
from helpers import BLUE, GREEN, GREY, RED, check_four_quarters, four_quarters, photographs, two_halves
from PIL import Image
from tiny_runs import encoded, noise

from lficam.cli.own_images import read_images
from lficam.data.augmentation import evaluation_crop
from lficam.errors import InputError
from lficam.explorer import own_pictures
from lficam.explorer.gallery import network_of
from lficam.explorer.own_pictures import add_upload
from lficam.training.config import RunConfig


@pytest.fixture
def lfi_cam(runs):
    return network_of(runs["lfi-cam"][0])


@pytest.fixture(autouse=True)
def no_uploads():
    own_pictures._uploads.clear()


def quarters():
    return Image.fromarray(four_quarters(56))


def shown(lfi_cam, content):
    return (lfi_cam.picture(add_upload("mine", content)) * 255).round()


@pytest.mark.parametrize(
    ("format", "mode", "tolerance"),
    [
        *(("png", "RGB", 0), ("png", "RGBA", 0), ("png", "P", 30), ("jpeg", "RGB", 25), ("jpeg", "CMYK", 25), ("webp", "RGB", 40)),
        *(
            ("webp", "RGBA", 40),
            ("bmp", "RGB", 0),
            ("gif", "RGB", 30),
            ("tiff", "RGB", 0),
            ("tiff", "RGBA", 0),
            ("tiff", "CMYK", 0),
        ),
    ],
)
def test_colour_pictures_of_every_kind_are_shown_as_they_are(lfi_cam, format, mode, tolerance):
    check_four_quarters(shown(lfi_cam, encoded(quarters().convert(mode), format)), tolerance)


@pytest.mark.parametrize(
    ("format", "mode"),
    [("png", "L"), ("png", "LA"), ("png", "I;16"), ("jpeg", "L"), ("tiff", "I;16"), ("tiff", "F"), ("tiff", "I")],
)
def test_greyscale_of_every_depth_has_the_same_brightness(lfi_cam, format, mode):
    levels = np.array([[0, 80], [160, 255]], np.uint8).repeat(28, 0).repeat(28, 1)
    image = Image.fromarray(levels)
    if mode == "I;16":
        image = Image.fromarray(levels.astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(levels.astype(np.float32) / 255)
    elif mode != "L":
        image = image.convert(mode)
    pixels = shown(lfi_cam, encoded(image, format))
    for channel in pixels:
        assert channel[[1, 1, -2, -2], [1, -2, 1, -2]].tolist() == pytest.approx([0, 80, 160, 255], abs=2)


def test_one_bit_is_black_and_white(lfi_cam):
    assert shown(lfi_cam, encoded(Image.new("1", (9, 9), 1))).unique().tolist() == [255]


def quartered(values, dtype):
    """A grey image (56, 56), its quarters of these values."""
    return Image.fromarray(np.array(values, dtype).reshape(2, 2).repeat(28, 0).repeat(28, 1))


def levels(pixels):
    """The grey levels of the quarters."""
    assert (pixels == pixels[:1]).all()
    return pixels[0, [1, 1, -2, -2], [1, -2, 1, -2]].tolist()


@pytest.mark.parametrize("format", ["png", "tiff"])
def test_of_16_bits_the_upper_8_are_shown(lfi_cam, format):
    image = quartered([0x0000, 0x50FF, 0xA000, 0xFFFF], np.uint16)
    assert levels(shown(lfi_cam, encoded(image, format))) == [0x00, 0x50, 0xA0, 0xFF]


@pytest.mark.parametrize(
    ("highest", "white"),
    [
        *((1.0, 1), (1.02, 1), (0.9, 1), (0.3, 1)),  # shares of white; 1.02 is a little more of it
        *((0.1, 1), (0.0, 1)),  # a dark picture stays dark
        *((255, 255), (255.4, 255), (200, 255), (70, 255)),  # the levels of 8 bits
        *((1.2, 1.2), (40, 40), (300, 300), (4095, 4095)),  # nobody knows what white is: the highest value
    ],
)
def test_32_bits_are_as_bright_as_they_are_beside_white(lfi_cam, highest, white):
    values = [0.0, 0.2 * highest, 0.6 * highest, highest]
    expected = [min(round(255 * value / white), 255) for value in values]
    assert levels(shown(lfi_cam, encoded(quartered(values, np.float32), "tiff"))) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 14_000, 42_000, 70_000], [0, 51, 153, 255]),  # more than 16 bits hold
        ([0, 819, 2457, 4095], [0, 51, 153, 255]),  # a camera's 12 bits
        ([0, 80, 160, 255], [0, 80, 160, 255]),
        ([-9, 0, 1, 1], [0, 0, 255, 255]),  # a mask; less than black is black
        ([-9, -5, -1, 0], [0, 0, 0, 0]),
    ],
)
def test_32_bit_integers_are_as_bright_as_they_are_beside_white(lfi_cam, values, expected):
    assert levels(shown(lfi_cam, encoded(quartered(values, np.int32), "tiff"))) == expected


def test_less_than_black_is_black(lfi_cam):
    image = quartered([-5.0, 102, 204, 255], np.float32)
    assert levels(shown(lfi_cam, encoded(image, "tiff"))) == [0, 102, 204, 255]


def transparent(mode):
    """Quarters: black that cannot be seen, one that can, half of one, red (in grey modes 80) that can."""
    alpha = np.array([[0, 255], [128, 255]], np.uint8).repeat(28, 0).repeat(28, 1)
    grey = np.zeros((56, 56), np.uint8)
    grey[28:, 28:] = 80
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    colors = np.zeros((56, 56, 3), np.uint8)
    colors[28:, 28:] = RED
    return Image.merge("RGBA", [*Image.fromarray(colors).split(), Image.fromarray(alpha)])


@pytest.mark.parametrize(("mode", "format"), [("RGBA", "png"), ("LA", "png"), ("RGBA", "tiff"), ("RGBA", "webp"), ("LA", "tiff")])
def test_what_is_transparent_is_laid_over_white(lfi_cam, mode, format):
    options = {"lossless": True} if format == "webp" else {}
    pixels = shown(lfi_cam, encoded(transparent(mode), format, **options))
    corners = pixels[:, [1, 1, -2, -2], [1, -2, 1, -2]].T.tolist()
    solid = list(RED) if mode == "RGBA" else [80] * 3
    assert corners == [[255] * 3, [0] * 3, [127] * 3, solid]


def palette():
    """Quarters: red, green; blue, grey, as numbers of a palette."""
    image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8).repeat(28, 0).repeat(28, 1)).convert("P")
    image.putpalette([level for color in (RED, GREEN, BLUE, GREY) for level in color])
    return image


@pytest.mark.parametrize(
    ("format", "transparency", "expected"),
    [
        ("png", bytes([255, 0, 128, 255]), [RED, (255, 255, 255), (137, 142, 242), GREY]),
        ("png", 1, [RED, (255, 255, 255), BLUE, GREY]),
        ("gif", 2, [RED, GREEN, (255, 255, 255), GREY]),
    ],
)
def test_colours_of_a_palette_can_be_transparent_and_nothing_is_said_of_it(lfi_cam, format, transparency, expected):
    pixels = shown(lfi_cam, encoded(palette(), format, transparency=transparency))  # warnings are errors here
    for (row, column), color in zip(((1, 1), (1, -2), (-2, 1), (-2, -2)), expected, strict=True):
        assert pixels[:, row, column].tolist() == pytest.approx(color, abs=1 if color == expected[2] else 0)


def test_a_single_colour_can_be_transparent(lfi_cam):
    pixels = shown(lfi_cam, encoded(quarters(), transparency=GREEN))
    assert pixels[:, 1, -2].tolist() == [255, 255, 255]
    assert pixels[:, 1, 1].tolist() == list(RED)


def test_a_transparent_picture_is_turned_upright_too(lfi_cam):
    exif = Image.Exif()
    exif[0x0112] = 6  # held on its left side: the bottom left becomes the top left
    pixels = shown(lfi_cam, encoded(transparent("RGBA"), exif=exif))
    assert pixels[:, [1, 1, -2, -2], [1, -2, 1, -2]].T.tolist() == [[127] * 3, [255] * 3, list(RED), [0] * 3]


@pytest.mark.parametrize(("format", "tolerance"), [("gif", 0), ("webp", 0), ("png", 0), ("tiff", 0), ("mpo", 25)])
def test_of_several_pictures_in_a_file_the_first_is_shown(lfi_cam, format, tolerance):
    options = {"lossless": True} if format == "webp" else {}
    first = palette() if format == "gif" else quarters()
    content = encoded(first, format, save_all=True, append_images=[Image.new("RGB", (56, 56), GREEN)], **options)
    with Image.open(BytesIO(content)) as image:
        assert image.n_frames == 2
    check_four_quarters(shown(lfi_cam, content), tolerance)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(lfi_cam, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "turned.jpg"
    file.write_bytes(encoded(quarters(), "jpeg", exif=exif))
    config = lfi_cam.run.config
    samples = read_images({"turned": file}, config)
    expected = evaluation_crop(samples.images, samples.shapes, config.image_size, config.augmentation)[0]
    assert torch.equal(lfi_cam.picture(add_upload("turned.jpg", file.read_bytes())), expected)
    corner = {1: RED, 2: GREEN, 3: GREY, 4: BLUE, 5: RED, 6: BLUE, 7: GREY, 8: GREEN}[orientation]
    assert (expected[:, 2, 2] * 255 - torch.tensor(corner)).abs().max() < 25


@pytest.mark.parametrize(("width", "height"), [(90, 50), (50, 90), (31, 200)])
@pytest.mark.parametrize("augmentation", ["resized-crop-flip", "none"])
def test_an_upload_is_cut_as_the_image_files_of_its_training_are(runs, tmp_path, augmentation, width, height):
    root = photographs(tmp_path / "photographs")
    shape = {"trunk": "cifar_resnet8", "image_size": 16, "augmentation": augmentation}
    network = network_of(tiny_runs.store(RunConfig(dataset="folder", data=str(root), epochs=1, **shape), ["cat", "dog"]))
    file = tmp_path / "own.png"
    noise(width, height).save(file)
    samples = read_images({"own": file}, network.run.metadata)
    expected = evaluation_crop(samples.images, samples.shapes, 16, augmentation)[0]
    assert torch.equal(network.picture(add_upload("own.png", file.read_bytes())), expected)


def test_a_single_pixel_and_the_largest_picture(lfi_cam):
    assert shown(lfi_cam, encoded(Image.new("RGB", (1, 1), RED)))[:, 3, 4].tolist() == list(RED)
    assert shown(lfi_cam, encoded(Image.new("L", (8000, 8000), 99)))[:, 3, 4].tolist() == [99, 99, 99]
    large = encoded(Image.new("RGB", (8000, 8000), RED), "jpeg")
    assert shown(lfi_cam, large)[:, 3, 4].tolist() == pytest.approx(list(RED), abs=3)


def test_a_picture_too_long_for_a_square_is_squashed_as_in_training(lfi_cam):
    pixels = shown(lfi_cam, encoded(two_halves(400, 20)))
    assert pixels[:, 5, 2].tolist() == list(RED)
    assert pixels[:, 5, -2].tolist() == list(BLUE)


def header_of_a_png(width, height):
    """A PNG that says how large it is, with the pixels of a small one."""
    import struct
    import zlib

    content = encoded(Image.new("L", (2, 2)))
    chunk = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]


NAN = np.zeros((4, 4), np.float32)
NAN[1, 2] = np.nan
REFUSED = {
    "text": (b"this is no picture\n" * 50, "cannot be read: expected a picture as PNG, JPEG, WEBP, BMP, GIF or TIFF$"),
    "pdf": (encoded(Image.new("RGB", (9, 9)), "pdf"), "cannot be read: expected a picture as PNG"),
    "icon": (encoded(Image.new("RGB", (16, 16)), "ico"), "cannot be read: expected a picture as PNG"),
    "empty": (b"", "is empty"),
    "truncated jpeg": (encoded(quarters(), "jpeg")[:-300], "is damaged"),
    "truncated png": (encoded(noise(64, 64))[:-900], "is damaged"),
    "only a header": (encoded(quarters())[:50], "is damaged"),
    "too many pixels": (header_of_a_png(8001, 8000), "has 8001 x 8000 pixels: expected at most 64 million"),
    "a large bomb": (encoded(Image.new("1", (12000, 12000))), "has 12000 x 12000 pixels"),
    "a huge bomb": (header_of_a_png(30000, 30000), "unpacks to far more than 64 million pixels"),
    "too many bytes": (bytes(20 * 10**6 + 1), "is larger than 20 MB: make it smaller$"),
    "nan": (encoded(Image.fromarray(NAN), "tiff"), "NaN or infinite"),
    "infinite": (encoded(Image.fromarray(np.full((3, 3), np.inf, np.float32)), "tiff"), "NaN or infinite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_shown_is_refused_in_one_clear_line(case):
    content, message = REFUSED[case]
    with warnings.catch_warnings(), pytest.raises(InputError, match=message) as refused:
        warnings.simplefilter("ignore")  # no warning of Pillow's is needed
        add_upload("holiday.png", content)
    line = str(refused.value)
    assert line.startswith("holiday.png ")
    assert "\n" not in line
    assert "0x" not in line
    assert not own_pictures._uploads


def test_refusing_a_picture_says_nothing_else():
    with pytest.raises(InputError):  # warnings are errors here
        add_upload("bomb.png", REFUSED["a large bomb"][0])


def test_a_name_is_shown_on_one_line_and_not_at_any_length():
    with pytest.raises(InputError, match=r"^two lines\.png is empty"):
        add_upload("two\nlines.png", b"")
    with pytest.raises(InputError) as refused:
        add_upload("x" * 5000, b"")
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "bmp", "gif", "tiff"])
def test_no_damage_raises_anything_but_an_input_error(format):
    generator, content = random.Random(0), encoded(quarters(), format)
    for _ in range(60):
        damaged = bytearray(content[: generator.randrange(1, len(content) + 1)] if generator.random() < 0.3 else content)
        for _ in range(generator.randrange(1, 6)):
            damaged[generator.randrange(min(len(damaged), 200))] = generator.randrange(256)
        with suppress(InputError):
            add_upload("damaged", damaged)


def test_the_key_follows_from_the_content_and_nobody_knows_the_class(lfi_cam):
    content = encoded(quarters())
    key = add_upload("a.png", content)
    assert key == "upload:" + hashlib.sha256(content).hexdigest()
    assert add_upload("another name", memoryview(content)) == key
    assert lfi_cam.true_class(key) is None


def test_the_last_twenty_pictures_are_kept(lfi_cam):
    contents = [encoded(Image.new("RGB", (3, 3), (i, 7, 77))) for i in range(21)]
    keys = [add_upload("a", content) for content in contents[:20]]
    add_upload("again", contents[0])  # the newest now
    add_upload("one more", contents[20])
    with pytest.raises(InputError, match=r"^your picture is no longer kept \(the last 20 are\): upload it again$"):
        lfi_cam.picture(keys[1])
    assert lfi_cam.picture(keys[0])[0, 0, 0] == 0
    assert lfi_cam.picture(keys[2])[0, 0, 0] * 255 == pytest.approx(2)


def test_a_picture_is_read_once_for_all_runs_of_a_size(runs, monkeypatch):
    key = add_upload("a", encoded(Image.new("RGB", (5, 5), GREEN)))
    first = network_of(runs["lfi-cam"][0]).picture(key)
    monkeypatch.setattr(own_pictures, "seen_in", None)
    assert torch.equal(network_of(runs["abn"][0]).picture(key), first)
