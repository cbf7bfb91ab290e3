"""Pictures against fixed answers: pixels worked out by hand, and a committed picture of fixed maps."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from figures.synthetic import PICTURE, synthetic
from helpers import check_text
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from lficam.figures import page
from lficam.figures.charts import Bars, draw
from lficam.figures.grid import PAGE_HEIGHT, Grid, Panel, draw_grid, rounded
from lficam.figures.page import DPI, NOTEBOOK_DPI, PAGE_WIDTH, overlay


def pixels(figure: Figure) -> np.ndarray:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return read(buffer)


def reference() -> np.ndarray:
    return read(PICTURE)


def read(file) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def differs(figure: Figure) -> bool:
    """More than a rounding step of some pixel away from the committed picture."""
    drawn = pixels(figure)
    return drawn.shape != reference().shape or np.abs(drawn - reference()).max() > 2


def test_synthetic_maps_are_drawn_as_in_the_reference():
    assert not differs(draw_grid(*synthetic()))


def test_a_swapped_panel_is_caught():
    grid, *rest = synthetic()
    panels = list(grid.panels)
    panels[1], panels[2] = (replace(panels[1], cam=panels[2].cam), replace(panels[2], cam=panels[1].cam))
    assert differs(draw_grid(replace(grid, panels=panels), *rest))


def test_a_missing_row_is_caught():
    grid, *rest = synthetic()
    assert differs(draw_grid(replace(grid, panels=[panel for panel in grid.panels if panel.row != 3]), *rest))


def test_a_missing_outline_is_caught():
    assert differs(draw_grid(*synthetic()[:2]))


def test_a_panel_that_counts_is_not_pale():
    grid, *rest = synthetic()
    assert differs(draw_grid(replace(grid, panels=[replace(panel, pale=False) for panel in grid.panels]), *rest))


def test_a_wrong_color_map_is_caught(monkeypatch):
    monkeypatch.setattr("lficam.figures.grid.LOOK", page.Look(color_map="viridis"))
    assert differs(draw_grid(*synthetic()))


def test_a_wrong_caption_is_caught():
    grid, *rest = synthetic()
    assert differs(draw_grid(replace(grid, panels=[replace(grid.panels[0], caption="true: ramq"), *grid.panels[1:]]), *rest))


def test_overlay_blends_grey_picture_and_color_in_float():
    image = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1).expand(3, 2, 2)  # red: luma 0.299
    cam = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    blended = overlay(image, cam, opacity=0.6)
    for value, place in ((0.0, (0, 0)), (1.0, (0, 1))):
        expected = 0.4 * (0.5 + 0.5 * (0.299 - 0.5)) + 0.6 * torch.tensor(colormaps["inferno"](value)[:3])  # half the contrast
        assert torch.allclose(blended[:, *place], expected.float(), atol=1e-6)


def test_without_a_map_the_picture_keeps_its_contrast_and_the_more_opaque_the_map_the_less_of_it_is_left():
    image = torch.tensor([0.0, 1.0]).view(1, 1, 2).expand(3, 1, 2)
    for opacity, contrast in ((0.0, 1.0), (0.3, 0.75), (0.6, 0.5), (0.9, 0.5)):
        dark, bright = overlay(image, torch.zeros(1, 1, 1), opacity)[0, 0].tolist()
        assert bright - dark == pytest.approx((1 - opacity) * contrast, abs=1e-6)


def test_overlay_upsamples_bilinearly():
    image = torch.zeros(3, 4, 4)
    heat = overlay(image, torch.tensor([[[0.0, 1.0]]]), opacity=1.0)[0, 0]
    # Two cells on four pixels: 0, 1/4, 3/4, 1.
    expected = [colormaps["inferno"](value)[0] for value in (0.0, 0.25, 0.75, 1.0)]
    assert heat.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dpi", [NOTEBOOK_DPI, DPI])
def test_text_is_seven_points_or_more_inside_the_page_and_does_not_overlap(dpi):
    check_text(draw_grid(*synthetic()), dpi)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 7), (8, 6), (16, 6)])
def test_a_grid_fits_a_page(rows, columns):
    grid, pictures, _ = synthetic()
    panels = [replace(grid.panels[1], row=row, column=column) for row in range(rows) for column in range(columns)]
    figure = draw_grid(
        replace(grid, panels=panels, column_titles=["a"] * columns, row_titles=["b"] * rows, row_notes=[], span=1), pictures
    )
    assert figure.get_figwidth() == PAGE_WIDTH
    assert figure.get_figheight() <= PAGE_HEIGHT + 1e-6


def test_bars_show_every_value():
    bars = Bars("title", "source", ["first", "second"], {"millions": [1.0, 2.5], "billions": [0.25, 4.0]})
    figure = draw(bars, {})
    assert [[patch.get_width() for patch in ax.patches] for ax in figure.axes] == [[1.0, 2.5], [0.25, 4.0]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.0", "2.5"]


def test_a_map_is_saved_with_four_decimals():
    assert rounded(torch.tensor([[[1 / 3, 1.0]]])) == [[0.3333, 1.0]]


def test_a_grid_names_its_source():
    grid, *rest = synthetic()
    assert isinstance(grid, Grid)
    assert grid.source in [text.get_text() for text in draw_grid(grid, *rest).texts]


def test_of_a_caption_that_is_too_long_the_name_gives_way():
    caption = "garbage truck " * 9 + "of a very long name: 0.60 ×\ninside 58% (45%)"
    grid = Grid("Title", "source", ["a", "b"], [""], [Panel("i", 0, k, caption, None) for k in range(2)])
    words = [text.get_text() for text in draw(grid, {"i": torch.zeros(3, 8, 8)}).texts]
    (drawn,) = {text for text in words if "garbage" in text}
    assert drawn.endswith("…: 0.60 ×\ninside 58% (45%)")
    assert drawn.startswith("garbage truck")
