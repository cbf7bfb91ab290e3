"""What is put on a page, against the artists that matplotlib holds: places and colours worked out by hand."""

from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.colors import same_color
from PIL import Image

from lficam.data.photograph import Photograph
from lficam.explorer.canvas import BLUE, GREY, Canvas
from lficam.figures.page import OUTLINE, Look, overlay


@pytest.fixture
def page():
    return Canvas(5, 4)


@pytest.fixture
def pixels():
    """A picture (3, 28, 28) of which no two pixels are alike."""
    return torch.from_numpy(np.random.default_rng(0).random((3, 28, 28), np.float32))


LOOK = Look(threshold=0.5, opacity=0.6, color_map="viridis", contour=True)


def rectangle():
    """A map (1, 28, 28) that is 1 in rows 5 to 9 and columns 12 to 19, far from the middle."""
    cam = torch.zeros(1, 28, 28)
    cam[0, 5:10, 12:20] = 1
    return cam


def lines(page):
    return [found for found in page.axes.collections if isinstance(found, LineCollection)]


def bounds(collection):
    """Left, top, right, bottom of all its segments, in inches."""
    points = np.concatenate(collection.get_segments())
    return [*points.min(0), *points.max(0)]


def place(page, text):
    """x and y of a text, in inches from the top left."""
    x, y = text.get_position()
    return x * page.width, (1 - y) * page.height


def words(page):
    return [text.get_text() for text in page.figure.texts]


# Pictures and maps ------------------------------------------------------------------------------------------------------------


def test_a_picture_is_drawn_pixel_for_pixel_where_it_should_be(page, pixels):
    page.picture(0.5, 1.25, 2, Photograph(pixels))
    (image,) = page.axes.images
    assert image.get_array().shape == (28, 28, 3)
    for row, column in ((0, 0), (3, 20), (27, 5)):
        assert image.get_array()[row, column].tolist() == pixels[:, row, column].tolist()
    assert image.get_extent() == [0.5, 2.5, 3.25, 1.25]  # left, right, bottom, top: y grows downwards
    assert image.get_interpolation() == "nearest"
    assert page.crops == [(0.5, 1.25, 2, 2)]


def test_inches_on_the_page_are_inches_from_its_top_left(page):
    assert page.axes.get_xlim() == (0, 5)
    assert page.axes.get_ylim() == (4, 0)
    assert page.axes.get_position().bounds == (0, 0, 1, 1)
    page.text(1.5, 0.5, "here")
    assert page.figure.texts[0].get_position() == pytest.approx((0.3, 0.875))


def test_a_picture_beyond_the_range_of_colours_is_clipped(page):
    page.picture(0, 0, 1, Photograph(torch.tensor([-0.5, 0.25, 1.5]).view(3, 1, 1)))
    assert page.axes.images[0].get_array()[0, 0].tolist() == [0, 0.25, 1]


def test_a_map_is_laid_over_the_enlarged_picture(page, pixels):
    page.map(0.5, 1.25, 2, Photograph(pixels), rectangle(), LOOK)
    (image,) = page.axes.images
    large = pixels.repeat_interleave(7, 1).repeat_interleave(7, 2)  # 7 x 28 is the most that is not above 200 pixels
    expected = overlay(large, rectangle(), 0.6, "viridis").permute(1, 2, 0).numpy()
    assert np.allclose(image.get_array(), expected, atol=1e-6)
    assert image.get_extent() == [0.5, 2.5, 3.25, 1.25]
    assert page.crops == [(0.5, 1.25, 2, 2)]


@pytest.mark.parametrize(("opacity", "color_map"), [(0.0, "inferno"), (0.3, "gray"), (1.0, "cividis")])
def test_opacity_and_colours_of_a_map_are_those_of_its_look(page, pixels, opacity, color_map):
    page.map(0, 0, 2, Photograph(pixels), rectangle(), LOOK._replace(opacity=opacity, color_map=color_map))
    drawn = np.asarray(page.axes.images[0].get_array())
    for row, column, value in ((7, 15, 1.0), (20, 3, 0.0)):  # inside the rectangle, and far from it
        grey = float(pixels[:, row, column] @ torch.tensor([0.299, 0.587, 0.114]))
        contrast = 1 - 0.5 * min(1, opacity / 0.6)
        expected = (1 - opacity) * (0.5 + contrast * (grey - 0.5)) + opacity * np.array(colormaps[color_map](value)[:3])
        assert drawn[7 * row + 3, 7 * column + 3] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("threshold", "beyond"), [(0.5, 0), (0.25, 0.25), (0.75, -0.25)])
def test_the_contour_runs_where_the_map_is_at_the_threshold(page, pixels, threshold, beyond):
    """Between the middles of two pixels, one on and one off, the map rises from 0 to 1."""
    page.map(1.0, 0.5, 2.8, Photograph(pixels), rectangle(), LOOK._replace(threshold=threshold))  # a pixel is 0.1 inches
    dark, light = lines(page)
    edges = [1.0 + 0.1 * (12 - beyond), 0.5 + 0.1 * (5 - beyond), 1.0 + 0.1 * (20 + beyond), 0.5 + 0.1 * (10 + beyond)]
    for line in (dark, light):
        assert bounds(line) == pytest.approx(edges, abs=1e-5)
        (segment,) = line.get_segments()
        assert segment[0].tolist() == segment[-1].tolist()  # closed
    assert dark.get_linewidth()[0] > light.get_linewidth()[0]
    assert dark.get_edgecolor()[0, :3].max() < 0.5 < light.get_edgecolor()[0, :3].min()


@pytest.mark.parametrize("draw", ["picture", "map"])
def test_the_outline_of_the_true_object_runs_around_it(page, pixels, draw):
    """Half a pixel of 0.1 inches around what is on; an object that reaches the edge has an outline there as well."""
    mask = torch.zeros(1, 28, 28, dtype=torch.bool)
    mask[0, 5:10, 12:28] = True
    more = (rectangle(), LOOK._replace(contour=False)) if draw == "map" else ()
    getattr(page, draw)(1.0, 0.5, 2.8, Photograph(pixels, mask=mask), *more)
    (outline,) = lines(page)
    assert bounds(outline) == pytest.approx([1.0 + 1.2, 0.5 + 0.5, 1.0 + 2.8, 0.5 + 1.0], abs=1e-5)
    assert same_color(outline.get_edgecolor()[0], OUTLINE)


def test_where_nobody_knows_the_object_there_is_no_outline(page, pixels):
    page.picture(1.0, 0.5, 2.8, Photograph(pixels))
    assert lines(page) == []


def test_what_does_not_count_is_pale(page, pixels):
    for pale in (False, True):
        page.map(0.5, 1.25, 2, Photograph(pixels), rectangle(), LOOK, pale=pale)
    full, pale = (np.asarray(image.get_array()) for image in page.axes.images)
    assert np.allclose(pale, 0.4 * full + 0.6, atol=1e-6)


def test_a_difference_is_white_at_zero_and_has_the_ends_of_its_colours_at_its_limit(page, pixels):
    values = torch.tensor([[[-0.2, -0.2], [0.2, 0.2]]])
    page.difference(0, 0, 2, Photograph(pixels), values, 0.2)
    drawn = np.asarray(page.axes.images[0].get_array())
    assert drawn[0, 0] == pytest.approx(colormaps["PuOr_r"](0.0)[:3], abs=1e-5)
    assert drawn[-1, 0] == pytest.approx(colormaps["PuOr_r"](1.0)[:3], abs=1e-5)
    assert drawn[97:99, 5].mean(0) == pytest.approx(colormaps["PuOr_r"](0.5)[:3], abs=0.05)  # in the middle


def test_without_a_contour_there_is_no_line(page, pixels):
    page.map(1.0, 0.5, 2.8, Photograph(pixels), rectangle(), LOOK._replace(contour=False))
    assert lines(page) == []


def test_a_map_that_is_nowhere_on_has_no_contour(page, pixels):
    page.map(1.0, 0.5, 2.8, Photograph(pixels), torch.zeros(1, 28, 28), LOOK)
    assert [line.get_segments() for line in lines(page)] == [[], []]


@pytest.mark.parametrize("draw", ["picture", "map"])
def test_the_frame_of_a_square_is_where_the_square_is(page, pixels, draw):
    top, left, bottom, right = 0.1, 0.5, 0.4, 0.9
    more = (rectangle(), LOOK) if draw == "map" else ()
    getattr(page, draw)(1, 2, 2, Photograph(pixels), *more, square=(top, left, bottom, right))
    frames = page.axes.patches
    assert len(frames) == (1 if draw == "map" else 2)  # over a picture a light line with a dark edge
    for frame in frames:
        assert frame.get_xy() == pytest.approx((2.0, 2.2))
        assert (frame.get_width(), frame.get_height()) == pytest.approx((0.8, 0.6))
        assert not frame.get_fill()


@pytest.mark.parametrize("draw", ["picture", "map"])
def test_without_a_square_there_is_no_frame(page, pixels, draw):
    getattr(page, draw)(1, 2, 2, Photograph(pixels), *((rectangle(), LOOK) if draw == "map" else ()))
    assert len(page.axes.patches) == 0


# Feature maps and the scale ---------------------------------------------------------------------------------------------------


def test_feature_maps_stand_side_by_side_each_in_its_own_range(page):
    planes = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[-3.0, -3.0], [-3.0, 7.0]], [[5.0, 5.0], [5.0, 5.0]]])
    height = page.features(0.5, 1, 1.2, planes, "viridis")
    (image,) = page.axes.images
    assert height == pytest.approx(1.2 * 54 / 60)  # of 60 pixels 6 lie between the maps
    assert image.get_extent() == pytest.approx([0.5, 0.5 + 3 * 1.2, 1 + height, 1])
    drawn = np.asarray(image.get_array())
    assert drawn.shape == (54, 180, 3)
    for number, levels in enumerate(([0, 0.25, 0.5, 1], [0, 0, 0, 1], [0, 0, 0, 0])):
        for corner, level in enumerate(levels):
            row, column = divmod(corner, 2)
            color = drawn[27 * row + 13, 60 * number + 3 + 27 * column + 13]
            assert color.tolist() == pytest.approx(colormaps["viridis"](float(level))[:3], abs=1e-6)
    for column in (0, 2, 57, 62, 117, 122, 177, 179):  # between the maps
        assert (drawn[:, column] == 1).all()


def test_the_scale_shows_the_colours_over_grey_and_a_mark_at_the_threshold(page):
    page.scale(2, 1, 1.5, LOOK._replace(threshold=0.3))
    (image,) = page.axes.images
    assert image.get_extent() == pytest.approx([2, 3.5, 1.1, 1])
    for end, value in ((0, 0.0), (-1, 1.0)):
        expected = 0.4 * 0.5 + 0.6 * np.array(colormaps["viridis"](value)[:3])
        assert np.asarray(image.get_array())[0, end] == pytest.approx(expected, abs=1e-5)
    for mark in lines(page):
        assert bounds(mark) == pytest.approx([2.45, 0.97, 2.45, 1.13])
    assert len(lines(page)) == 2
    assert words(page) == ["attention 0", "1"]
    page = Canvas(5, 4)
    page.scale(2, 1, 1.5, LOOK._replace(contour=False))
    assert lines(page) == []  # of a contour that is not drawn


# Matrix and bars --------------------------------------------------------------------------------------------------------------

MATRIX = torch.tensor([[1.0, 0.2, 0.9, 0.4], [0.2, 1.0, 0.5, 0.6], [0.9, 0.5, 1.0, 0.1], [0.4, 0.6, 0.1, 1.0]])
BELOW = {(1, 0): 0.2, (2, 0): 0.9, (2, 1): 0.5, (3, 0): 0.4, (3, 1): 0.6, (3, 2): 0.1}  # its diagonal


def test_a_matrix_shows_what_is_below_its_diagonal_on_its_colours(page):
    page.matrix(1, 0.5, 1.2, MATRIX)  # a cell is 0.3 inches
    (image,) = page.axes.images
    assert image.get_extent() == pytest.approx([1, 1.9, 1.4, 0.5])
    colors = image.to_rgba(image.get_array())
    for row in range(3):
        for column in range(3):
            expected = colormaps["cividis"](BELOW[row + 1, column]) if column <= row else (1, 1, 1, 1)
            assert colors[row, column] == pytest.approx(expected, abs=0.01), (row, column)


def test_the_numbers_of_a_matrix_stand_in_their_cells_and_can_be_read(page):
    page.matrix(1, 0.5, 1.2, MATRIX)
    numbers = {text.get_text(): text for text in page.figure.texts if "." in text.get_text()}
    assert len(numbers) == len(BELOW)
    for (row, column), value in BELOW.items():
        text = numbers[f"{value:.2f}"]
        assert place(page, text) == pytest.approx((1 + 0.3 * (column + 0.5), 0.5 + 0.3 * (row - 0.5)))
        # cividis grows brighter from 0 to 1
        assert text.get_color() == ("white" if value < 0.5 else "black")
    labels = [(text.get_text(), *place(page, text)) for text in page.figure.texts if "." not in text.get_text()]
    rows = [(label, y) for label, x, y in labels if x < 1]
    columns = [(label, x) for label, x, y in labels if y > 1.4]
    assert rows == [("2", pytest.approx(0.65)), ("3", pytest.approx(0.95)), ("4", pytest.approx(1.25))]
    assert columns == [("1", pytest.approx(1.15)), ("2", pytest.approx(1.45)), ("3", pytest.approx(1.75))]
    assert len(labels) == 6


def test_a_matrix_of_two_has_one_cell_that_is_not_larger_than_needed(page):
    page.matrix(1, 0.5, 1.6, torch.tensor([[1.0, 0.25], [0.25, 1.0]]))
    assert page.axes.images[0].get_extent() == pytest.approx([1, 1.4, 0.9, 0.5])
    assert words(page) == ["2", "1", "0.25"]


def test_bars_are_as_high_as_their_values_and_in_their_colours(page):
    values, full = [0.5, 0.25, 0.1], [False, True, False]
    page.bars(1, 0.5, 0.8, 2.5, values, full, (0.2, "1/5"))  # 1 inch is 0.25, the base is at 3
    assert len(page.axes.patches) == 3
    for i, (bar, value, is_full) in enumerate(zip(page.axes.patches, values, full, strict=True)):
        assert bar.get_xy() == pytest.approx((1 + 0.8 * i + 0.12, 3 - 4 * value))
        assert (bar.get_width(), bar.get_height()) == pytest.approx((0.56, 4 * value))
        assert same_color(bar.get_facecolor(), BLUE if is_full else GREY)
        label = page.figure.texts[i]
        assert label.get_text() == ("50", "25", "10")[i]
        assert place(page, label) == pytest.approx((1.4 + 0.8 * i, 3 - 4 * value - 0.03))
        assert (label.get_ha(), label.get_va()) == ("center", "bottom")


def test_a_dashed_line_marks_the_level_over_all_bars(page):
    page.bars(1, 0.5, 0.8, 2.5, [0.5, 0.25, 0.1], [True] * 3, (0.2, "1/5"))
    base, level = lines(page)
    assert base.get_segments()[0].tolist() == [[1, 3], [pytest.approx(3.4), 3]]
    assert base.get_linestyle()[0][1] is None
    assert bounds(level) == pytest.approx([1, 3 - 0.8, 3.4, 3 - 0.8])
    assert level.get_linestyle()[0][1] is not None
    name = page.figure.texts[-1]
    assert name.get_text() == "1/5"
    assert place(page, name) == pytest.approx((0.96, 3 - 0.8))
    assert (name.get_ha(), name.get_va()) == ("right", "center")


def test_percentages_have_three_digits(page):
    page.bars(1, 0.5, 0.8, 2.5, [0.123456, 0.0123456, 0.00001234], [True] * 3, (0.1, "1/10"))
    assert words(page)[:3] == ["12.3", "1.23", "0.00123"]


# Text -------------------------------------------------------------------------------------------------------------------------

NAME = "soft-coated Wheaten terrier"


def width(page, words, size=8, weight="normal"):
    """Inches that words take, by drawing them."""
    text = page.figure.text(0, 0, words, fontsize=size, weight=weight, parse_math=False)
    inches = text.get_window_extent(page._renderer).width / page.figure.dpi
    text.remove()
    return inches


def test_a_long_name_is_cut_and_its_number_is_not(page):
    page.text(1, 1, NAME, room=1.5, tail=" (0.98) ×")
    (drawn,) = words(page)
    assert drawn.endswith("… (0.98) ×")
    kept = drawn.removesuffix("… (0.98) ×")
    assert NAME.startswith(kept)
    # No letter too few and none too many; words are measured to a pixel, in two parts.
    assert width(page, drawn) <= 1.5 + 0.02
    assert width(page, f"{NAME[: len(kept) + 1].rstrip()}n… (0.98) ×") > 1.5 - 0.02


def test_what_fits_is_not_cut(page):
    page.text(1, 1, NAME, room=width(page, NAME) + 0.02)
    page.text(1, 1, NAME, room=width(page, NAME) + width(page, " (0.98)") + 0.04, tail=" (0.98)")
    page.text(1, 1, NAME * 20)  # nobody said how much room there is
    assert words(page) == [NAME, NAME + " (0.98)", NAME * 20]


@pytest.mark.parametrize("style", [{"size": 12}, {"weight": "bold"}])
def test_larger_and_bolder_words_are_cut_sooner(page, style):
    page.text(1, 1, NAME, room=1.2)
    page.text(1, 1, NAME, room=1.2, **style)
    plain, other = words(page)
    assert len(other) < len(plain) < len(NAME)
    assert width(page, other, style.get("size", 8), style.get("weight", "normal")) <= 1.2 + 0.02


def test_each_line_is_cut_for_itself(page):
    page.text(1, 1, f"short\n{NAME}\nlast", room=1)
    first, middle, last = words(page)[0].split("\n")
    assert (first, last) == ("short", "last")
    assert middle.endswith("…")
    assert NAME.startswith(middle[:-1])


def test_no_space_stands_before_the_dots(page):
    for room in np.arange(0.3, 1.6, 0.05):
        page.text(1, 1, "a b c d e f g h i j k l m n o p q r s t", room=room)
    assert not [text for text in words(page) if " …" in text]


def test_dollars_are_no_formula(page):
    page.text(1, 1, "$x_1$")
    assert not page.figure.texts[0].get_parse_math()


# The file ---------------------------------------------------------------------------------------------------------------------


def test_a_page_becomes_a_png_of_its_inches_with_its_texts(page, pixels):
    page.map(1, 1, 2, Photograph(pixels), rectangle(), LOOK)
    png = page.png(100, Software="lficam", note="a picture")
    with Image.open(BytesIO(png)) as image:
        assert image.size == (500, 400)
        assert image.text == {"Software": "lficam", "note": "a picture"}
    again = Canvas(5, 4)
    again.map(1, 1, 2, Photograph(pixels), rectangle(), LOOK)
    assert again.png(100, Software="lficam", note="a picture") == png
