"""A picture in its own shape, and which part of it is tested."""

from io import BytesIO

import numpy as np
import pytest
import torch
from helpers import write_image
from PIL import Image

from lficam.data.decoding import check_picture
from lficam.data.files import ImageFiles
from lficam.data.free_photographs import FOLDER, SHOWS, UNKNOWN, free_photographs
from lficam.data.photograph import LONGEST, WHOLE, photograph, photograph_in, seen_in
from lficam.data.samples import Samples

CENTRED = "resized-crop-flip"


def quarters(width=160, height=80):
    """Red left above, green right above, blue left below, white right below."""
    pixels = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    pixels[:h, :w, 0] = pixels[:h, w:, 1] = pixels[h:, :w, 2] = 255
    pixels[h:, w:] = 255
    return Image.fromarray(pixels)


def as_png(image):
    content = BytesIO()
    image.save(content, "png")
    return check_picture("quarters.png", content.getvalue())


def test_all_of_a_picture_is_shown_in_its_shape():
    shown = photograph_in(as_png(quarters()), CENTRED)
    assert shown.pixels.shape == (3, 80, 160)
    assert shown.aspect == 0.5
    corners = [shown.pixels[:, row, column].tolist() for row in (0, -1) for column in (0, -1)]
    assert corners == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]


def test_the_part_that_is_tested_is_the_middle_seven_eighths_of_the_shorter_side():
    """Resize(256), CenterCrop(224): of 80 x 160 pixels 70 x 70 about the middle."""
    top, left, height, width = photograph_in(as_png(quarters()), CENTRED).crop
    assert (top * 80, left * 160, height * 80, width * 160) == pytest.approx((5, 45, 70, 70), abs=1e-4)


def test_where_all_of_it_is_tested_the_part_is_the_whole():
    assert photograph_in(as_png(quarters()), "none").crop == pytest.approx(WHOLE)


def test_what_a_network_sees_is_that_part():
    image = quarters()
    seen = seen_in(as_png(image), 64, CENTRED)
    top, left, height, width = photograph_in(as_png(image), CENTRED).crop
    box = (left * 160, top * 80, (left + width) * 160, (top + height) * 80)
    expected = torch.from_numpy(np.array(image.resize((64, 64), Image.Resampling.BILINEAR, box))).permute(2, 0, 1) / 255
    assert seen.shape == (3, 64, 64)
    assert (seen - expected).abs().mean() < 0.02  # resampled in two steps, so the edges between the quarters differ


def test_a_large_picture_is_made_smaller_in_its_shape():
    shown = photograph_in(as_png(quarters(1600, 400)), "none")
    assert shown.pixels.shape == (3, LONGEST // 4, LONGEST)


def test_a_picture_that_was_squashed_gets_its_shape_back():
    squashed = torch.from_numpy(np.array(quarters().resize((64, 64)))).permute(2, 0, 1)
    shown = photograph(squashed, (80, 160), CENTRED)
    assert shown.pixels.shape == (3, 32, 64)
    assert shown.pixels[:, 2, 2].tolist() == pytest.approx([1, 0, 0])
    assert shown.pixels[:, -3, 2].tolist() == pytest.approx([0, 0, 1])


def test_a_small_square_picture_is_shown_pixel_for_pixel():
    pixels = torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8)
    assert torch.equal(photograph(pixels, (28, 28), "crop").pixels, pixels / 255)


def test_samples_in_memory_and_files_show_the_same(tmp_path):
    file = write_image(tmp_path / "a.png", quarters())
    label = torch.tensor([0])
    files = ImageFiles(("a",), (file,), label)
    pixels = torch.from_numpy(np.array(quarters().resize((160, 160)))).permute(2, 0, 1)
    samples = Samples(("a",), pixels[None], label, torch.tensor([[80.0, 160.0]]))
    shown, kept = files.photograph(0, CENTRED), samples.photograph(0, CENTRED)
    assert shown.crop == pytest.approx(kept.crop)
    assert (shown.pixels - kept.pixels).abs().mean() < 0.02


def test_the_free_photographs_are_there_each_with_its_licence():
    found = free_photographs(("cat", "ship"), (0.5,) * 3, (0.5,) * 3)
    assert found.test.labels.tolist() == [0, UNKNOWN, 1, UNKNOWN, UNKNOWN, UNKNOWN]
    assert len(found.train) == 0
    licences = (FOLDER / "README.md").read_text()
    for name in SHOWS:
        assert f"| `{name}` |" in licences
    assert sorted(SHOWS) == sorted(file.name for file in FOLDER.iterdir() if file.suffix != ".md")
    for i in range(len(found.test)):
        assert max(found.test.photograph(i, CENTRED).pixels.shape) <= LONGEST
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 1e6
