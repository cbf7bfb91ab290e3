from dataclasses import replace

import numpy as np
import pytest
from helpers import check_text

from lficam.figures.charts import Chart, Dots, Lines, PairMatrices, draw, in_rows
from lficam.figures.colors import style_of
from lficam.figures.page import DPI

DOTS = Dots("mean IoU", ["ABN: same image", "LFI-CAM: same image", "nothing"], [[0.4, 0.3, 0.5], [0.7, 0.72, 0.8], None], mark=0.25)
LINES = Lines(
    "threshold", "mean IoU", [0.1, 0.5], {"ABN": [0.9, 0.4], "ABN, free": [0.8, 0.2], "LFI-CAM": [0.8, 0.7]}, ["ABN, free"]
)
STAGES = Lines("stage", "rank correlation", ["trained", "fc", "fin"], {"LFI-CAM": [1.0, 1.0, 0.5]})


@pytest.mark.parametrize("dpi", [110, DPI])
@pytest.mark.parametrize("panels", [[DOTS], [DOTS, LINES], [DOTS, DOTS, DOTS, LINES, STAGES]], ids=["one", "two", "five"])
def test_its_text_is_legible_and_apart(panels, dpi):
    check_text(draw(Chart("A title", "where from", in_rows(panels, 3), "A footnote that is longer. " * 8), {}), dpi)


def test_a_line_of_a_footnote_that_is_too_long_is_broken():
    footnote = "What models of one method share beside the training images: weights of ImageNet. " * 3
    check_text(draw(Chart("", "", [[DOTS]], footnote), {}), DPI)


def test_every_mean_is_a_dot_with_a_line_over_its_interval():
    (ax,) = draw(Chart("", "", [[DOTS]]), {}).axes
    segments = [line.get_xydata().tolist() for line in ax.lines]
    assert segments[:4] == [[[0.3, 0], [0.5, 0]], [[0.4, 0]], [[0.72, 1], [0.8, 1]], [[0.7, 1]]]  # the mean may lie outside
    assert len(segments) == 5  # nothing for the third row; the mark
    assert ax.lines[4].get_xdata() == [0.25, 0.25]
    assert [label.get_text() for label in ax.get_yticklabels()] == DOTS.names
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # from the top


def test_names_are_written_once_for_panels_side_by_side():
    figure = draw(Chart("", "", in_rows([DOTS] * 6, 3)), {})
    written = [any(label.get_text() for label in ax.get_yticklabels()) for ax in figure.axes]
    assert written == [True, False, False, True, False, False]


def test_panels_stand_in_rows_and_the_last_ones_above_a_shorter_row_reach_down():
    figure = draw(Chart("", "", in_rows([DOTS] * 5, 3)), {})
    places = [ax.get_subplotspec() for ax in figure.axes]
    assert [(list(one.rowspan), one.colspan.start) for one in places] == [([0], 0), ([0], 1), ([0, 1], 2), ([1], 0), ([1], 1)]
    assert any(label.get_text() for label in figure.axes[2].get_yticklabels())  # whose rows stand elsewhere


def test_a_method_has_one_colour_and_marker_everywhere():
    assert style_of("LFI-CAM's own map") == style_of("LFI-CAM: same image") == style_of("mean features, with FIN")
    names = (
        "LFI-CAM",
        "LFI-CAM without FIN",
        "ABN",
        "plain network (CAM)",
        "Grad-CAM of LFI-CAM",
        "LFI-CAM untrained",
        "random map",
    )
    assert len({style_of(name).color for name in names}) == len(names) == len({style_of(name).marker for name in names})
    assert style_of("LFI-CAM - ABN") == style_of("whatever")  # a difference is of neither
    (ax,) = draw(Chart("", "", [[DOTS]]), {}).axes
    assert [ax.lines[k].get_color() for k in (1, 3)] == [style_of(name).color for name in ("ABN", "LFI-CAM")]


def test_zero_and_what_comes_by_chance_are_told_apart():
    (ax,) = draw(Chart("", "", [[replace(DOTS, zero=True)]]), {}).axes
    chance, zero = ax.lines[4:]
    assert (chance.get_xdata(), chance.get_linestyle()) == ([0.25, 0.25], "--")
    assert (zero.get_xdata(), zero.get_linestyle()) == ([0, 0], "-")


def test_a_line_of_what_comes_by_chance_is_dashed_in_the_colour_of_its_method():
    figure = draw(Chart("", "", [[LINES]]), {})
    ax = figure.axes[-1]
    abn, free, lfi_cam = ax.lines
    assert (abn.get_linestyle(), free.get_linestyle(), lfi_cam.get_linestyle()) == ("-", "--", "-")
    assert abn.get_color() == free.get_color() != lfi_cam.get_color()
    assert np.array(free.get_xydata()).tolist() == [[0.1, 0.8], [0.5, 0.2]]
    named = [text.get_text() for text in figure.texts]
    assert "ABN" in named
    assert "ABN, free" not in named  # a footnote says what is dashed


def test_named_x_values_are_at_equal_distances():
    ax = draw(Chart("", "", [[STAGES]]), {}).axes[-1]
    assert list(ax.get_xticks()) == [0, 1, 2]
    assert [label.get_text() for label in ax.get_xticklabels()] == STAGES.x


def test_a_band_reaches_from_the_low_to_the_high_end_of_its_interval():
    lines = Lines("epochs", "IoU", ["0", "1"], {"ABN": [0.5, 0.6]}, bands={"ABN": [[0.4, 0.7], [0.55, 0.65]]})
    (band,) = draw(Chart("Title", "source", [[lines]]), {}).axes[-1].collections
    assert sorted({tuple(point) for point in band.get_paths()[0].vertices.tolist()}) == [(0, 0.4), (0, 0.7), (1, 0.55), (1, 0.65)]


def test_settings_that_are_not_judged_stand_in_brackets():
    matrices = PairMatrices("source", {"ABN": [[1, 0.5], [0.5, 1]], "LFI-CAM": [[1, 0.5], [0.5, 1]]}, {"ABN": [2], "LFI-CAM": []})
    figure = draw(matrices, {})
    abn, ours = (ax for ax in figure.axes if ax.get_title() in matrices.methods)
    assert [label.get_text() for label in abn.get_xticklabels()] == ["1", "(2)"]
    assert [label.get_text() for label in ours.get_yticklabels()] == ["1", "2"]
    assert "source; settings in brackets are not judged" in [text.get_text() for text in figure.texts]


def test_names_are_no_mathematics():
    draw(Chart("$x^", "a_$", [[Dots("$\\frac$", ["$cat$", "do$g"], [[0.5, 0.4, 0.6]] * 2)]], "$_^"), {}).canvas.draw()
