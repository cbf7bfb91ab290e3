import numpy as np
import pytest
from helpers import check_text

from lficam.figures.charts import Chart, Dots, Lines, draw
from lficam.figures.grid import DPI

DOTS = Dots("mean IoU", ["ABN: same image", "LFI-CAM: same image", "nothing"], [[0.4, 0.3, 0.5], [0.7, 0.72, 0.8], None], mark=0.25)
LINES = Lines(
    "threshold", "mean IoU", [0.1, 0.5], {"ABN": [0.9, 0.4], "ABN, free": [0.8, 0.2], "LFI-CAM": [0.8, 0.7]}, ["ABN, free"]
)
STAGES = Lines("stage", "rank correlation", ["trained", "fc", "fin"], {"LFI-CAM": [1.0, 1.0, 0.5]})


@pytest.mark.parametrize("dpi", [110, DPI])
@pytest.mark.parametrize("panels", [[DOTS], [DOTS, LINES], [DOTS, DOTS, DOTS, LINES, STAGES]], ids=["one", "two", "five"])
def test_its_text_is_legible_and_apart(panels, dpi):
    check_text(draw(Chart("A title", "where from", panels, "A footnote\non two lines."), {}), dpi)


def test_a_line_of_a_footnote_that_is_too_long_is_broken():
    footnote = "What models of one method share beside the training images: weights of ImageNet. " * 3
    check_text(draw(Chart("", "", [DOTS], footnote), {}), DPI)


def test_every_mean_is_a_dot_with_a_line_over_its_interval():
    (ax,) = draw(Chart("", "", [DOTS]), {}).axes
    segments = [line.get_xydata().tolist() for line in ax.lines]
    assert segments[:4] == [[[0.3, 0], [0.5, 0]], [[0.4, 0]], [[0.72, 1], [0.8, 1]], [[0.7, 1]]]  # the mean may lie outside
    assert len(segments) == 5  # nothing for the third row; the mark
    assert ax.lines[4].get_xdata() == [0.25, 0.25]
    assert [label.get_text() for label in ax.get_yticklabels()] == DOTS.names
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # from the top


def test_names_are_written_once_for_panels_side_by_side():
    figure = draw(Chart("", "", [DOTS] * 5), {})
    written = [any(label.get_text() for label in ax.get_yticklabels()) for ax in figure.axes[:5]]
    assert written == [True, False, False, True, False]


def test_four_panels_are_two_by_two():
    figure = draw(Chart("", "", [DOTS] * 4), {})
    corners = [(ax.get_subplotspec().rowspan.start, ax.get_subplotspec().colspan.start) for ax in figure.axes]
    assert corners == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_line_to_compare_with_is_dashed_in_the_colour_of_the_one_before():
    (ax,) = draw(Chart("", "", [LINES]), {}).axes
    abn, free, lfi_cam = ax.lines
    assert (abn.get_linestyle(), free.get_linestyle(), lfi_cam.get_linestyle()) == ("-", "--", "-")
    assert abn.get_color() == free.get_color() != lfi_cam.get_color()
    assert np.array(free.get_xydata()).tolist() == [[0.1, 0.8], [0.5, 0.2]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ABN", "LFI-CAM"]  # a footnote says what is dashed


def test_named_x_values_are_at_equal_distances():
    (ax,) = draw(Chart("", "", [STAGES]), {}).axes
    assert list(ax.get_xticks()) == [0, 1, 2]
    assert [label.get_text() for label in ax.get_xticklabels()] == STAGES.x
