"""What stands where on the four views: which run's map under which title, what is said below it, and that nothing overlaps."""

from dataclasses import replace
from inspect import signature
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from helpers import check_text
from matplotlib.backends.backend_agg import FigureCanvasAgg
from tiny_runs import encoded, noise

from lficam.explorer.answers import Network, box_of
from lficam.explorer.canvas import Canvas
from lficam.explorer.gallery import network_of
from lficam.explorer.own_pictures import add_upload
from lficam.explorer.render import draw_view
from lficam.explorer.scene import scene_of
from lficam.explorer.sentences import effect, how_alike, setting, similarity
from lficam.explorer.state import TITLES, WIDTHS
from lficam.figures.page import DPI


class Panel(NamedTuple):
    """A picture or, with `cam`, a map as it was drawn. title: what stands above it. below: the lines below, from the top."""

    title: str | None
    cam: torch.Tensor | None
    pixels: torch.Tensor
    square: tuple | None
    place: tuple[float, float, float]
    below: list[str]


class Drawn:
    """Records what a view puts on its page instead of drawing it.

    panels: as they are read, row by row. bars, features, matrix: the arguments of the one call, if there was one.
    """

    def __init__(self, state):
        calls = {name: [] for name in ("picture", "map", "text", "features", "bars", "matrix", "scale")}
        with pytest.MonkeyPatch.context() as patch:
            for name, found in calls.items():
                patch.setattr(Canvas, name, self._recorder(getattr(Canvas, name), found))
            page = draw_view(scene_of(state))
        self.width, self.height, self.texts = page.width, page.height, calls["text"]
        panels = [self._panel(call) for call in (*calls["picture"], *calls["map"])]
        self.panels = sorted(panels, key=lambda panel: (round(panel.place[1], 6), panel.place[0]))
        self.looks = [call.look for call in (*calls["map"], *calls["scale"])]
        self.bars, self.features, self.matrix = (calls[name][0] if calls[name] else None for name in ("bars", "features", "matrix"))

    @staticmethod
    def _recorder(method, found):
        arguments = signature(method)

        def record(*args, **kwargs):
            bound = arguments.bind(*args, **kwargs)
            bound.apply_defaults()
            found.append(SimpleNamespace(**bound.arguments))
            return 0.5  # the height of features

        return record

    def _panel(self, call):
        middle = call.x + call.side / 2
        near = [text for text in self.texts if abs(text.x - middle) < 1e-6 and text.style["ha"] == "center"]
        titles = [text for text in near if text.style["va"] == "bottom" and 0 < call.y - text.y < 0.1]
        below = sorted((t for t in near if t.style["va"] == "top" and 0 < t.y - call.y - call.side < 0.5), key=lambda t: t.y)
        assert len(titles) <= 1
        title = " ".join(titles[0].words.split()) if titles else None
        lines = [text.words + text.tail for text in below]
        return Panel(title, getattr(call, "cam", None), call.shown.pixels, call.square, (call.x, call.y, call.side), lines)


def check_maps(panels, expected):
    """That the maps are these, None for a picture. They differ from one another, else a wrong one would not be noticed."""
    assert [panel.cam is None for panel in panels] == [cam is None for cam in expected]
    for number, (panel, cam) in enumerate(zip(panels, expected, strict=True)):
        assert cam is None or torch.equal(panel.cam, cam), number
    maps = [cam for cam in expected if cam is not None]
    assert not [(a, b) for b in range(len(maps)) for a in range(b) if torch.equal(maps[a], maps[b])]


def check_places(drawn, columns, side, top, row):
    """That panels of this side stand in rows of so many, the first at `top` and each `row` inches lower, 0.1 inches apart."""
    for number, panel in enumerate(drawn.panels):
        y, x = divmod(number, columns)
        assert panel.place == pytest.approx((0.1 + x * (side + 0.1), top + y * row, side)), number


def said(probabilities, most=1, known=None):
    """What stands below a map: the most probable classes, of which the first has a cross if it is wrong."""
    values, labels = probabilities.topk(most)
    lines = [f"{label} ({value:.2f})" for value, label in zip(values.tolist(), labels.tolist(), strict=True)]
    return [lines[0] + (" ×" if labels[0] != known else ""), *lines[1:]]


def networks_of(state):
    """Of the state's runs, then of Grad-CAM."""
    scene = scene_of(state)
    return [network for network in (*scene.networks, scene.explained) if network is not None]


def label_of(state):
    return int(state.image.split("/")[1])


def with_grad_cam(runs, state):
    """The state with the Grad-CAM of a run that is not shown, and that does not predict class 0."""
    other = next(id for id in runs["lfi-cam"][1:] if network_of(id).answer(state.image).probabilities.argmax() != 0)
    return replace(state, grad_cam=other)


# Methods ----------------------------------------------------------------------------------------------------------------------

METHODS = ["LFI-CAM", "LFI-CAM without FIN", "ABN"]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_map_of_each_method_stands_under_its_title_and_over_its_prediction(runs, states, width):
    state = with_grad_cam(runs, replace(states["methods"], width=width))
    panels = Drawn(state).panels
    assert [panel.title for panel in panels] == ["picture", *METHODS, "Grad-CAM of LFI-CAM"]
    *shown, explained = networks_of(state)
    maps = [network.compared(network.answer(state.image).cam) for network in shown]
    check_maps(panels, [None, *maps, explained.compared(explained.grad_cam(state.image))])
    pixels = explained.picture(state.image)
    assert all(panel.square is None and torch.equal(panel.pixels, pixels) for panel in panels)
    assert panels[0].below == []
    for network, panel in zip(shown, panels[1:4], strict=True):
        assert panel.below == said(network.answer(state.image).probabilities, 3, label_of(state))
    assert panels[4].below == said(explained.answer(state.image).probabilities, 1, label_of(state))


def test_methods_stand_in_a_row_or_on_a_narrow_page_in_two_columns(runs, states):
    state = with_grad_cam(runs, states["methods"])  # five panels
    check_places(Drawn(state), 5, 6.7 / 5 - 0.1, 0.56 + 2 * 0.15, 0)
    check_places(Drawn(replace(state, width=5.2)), 5, 0.9, 0.7 + 2 * 0.15, 0)
    check_places(Drawn(replace(state, width=3.7)), 2, 1.65, 0.95 + 2 * 0.15, 1.65 + 0.6 + 2 * 0.15)
    alone = replace(state, runs=state.runs[:1], grad_cam="")  # two panels, no larger than 2.1 inches
    check_places(Drawn(alone), 2, 2.1, 0.56 + 0.15, 0)


@pytest.mark.parametrize("view", ["methods", "occlusion"])
def test_a_cross_marks_what_is_wrong_whatever_the_class_is_called(states, view, monkeypatch):
    state = replace(states[view], runs=states[view].runs[:1], square=(0.5, 0.5, 0.0))
    network = network_of(state.runs[0])
    label = network.answer(state.image).probabilities.argmax()
    assert label != label_of(state)
    monkeypatch.setitem(vars(network.run), "classes", tuple(f"{k} × 2" for k in range(10)))
    first = Drawn(state).panels[1].below[0]
    assert first.startswith(f"{label} × 2 (")
    assert first.endswith(") ×")
    monkeypatch.setattr(Network, "true_class", lambda self, image: f"{label} × 2")
    assert Drawn(state).panels[1].below[0].endswith(")")


def test_maps_are_drawn_as_the_state_says(states):
    for view in TITLES:
        state = replace(states[view], threshold=0.3, opacity=0.2, color_map="gray", contour=False)
        looks = Drawn(state).looks
        assert len(looks) > 1
        assert set(looks) == {(0.3, 0.2, "gray", False)}


# Settings ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_the_map_of_each_setting_stands_under_its_number_and_hyper_parameters(states, width):
    state = replace(states["settings"], width=width, threshold=0.3)
    drawn = Drawn(state)
    *maps, last = drawn.panels
    networks = networks_of(state)
    names = [f"model {k} " + setting(network).replace("\n", " ") for k, network in enumerate(networks, 1)]
    assert [panel.title for panel in drawn.panels] == [*names, "picture"]
    check_maps(drawn.panels, [*(network.compared(network.answer(state.image).cam) for network in networks), None])
    pixels = networks[0].picture(state.image)
    assert all(torch.equal(panel.pixels, pixels) for panel in drawn.panels)
    for network, panel in zip(networks, maps, strict=True):
        assert panel.below == said(network.answer(state.image).probabilities, 1, label_of(state))
    matrix = similarity(scene_of(state))
    assert torch.equal(drawn.matrix.values, matrix)
    assert last.place[1] == drawn.matrix.y > max(y + side for _, y, side in (panel.place for panel in maps))
    mean, *others = how_alike(matrix, 0.3)
    words = [text.words for text in drawn.texts]
    assert mean in words
    assert " ".join(others) in [" ".join(text.split()) for text in words]


def test_settings_stand_in_a_row_or_on_a_narrow_page_in_two_columns(states):
    def maps(width):
        drawn = Drawn(replace(states["settings"], width=width))
        drawn.panels = drawn.panels[:-1]  # the last is the picture
        return drawn

    check_places(maps(6.9), 5, 6.7 / 5 - 0.1, 0.56 + 4 * 0.15, 0)
    check_places(maps(5.2), 5, 0.9, 0.7 + 4 * 0.15, 0)
    check_places(maps(3.7), 2, 1.6, 0.95 + 4 * 0.15, 1.6 + 0.25 + 4 * 0.15)


# Inside the FIN ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("k", "keep"), [(3, True), (5, False)])
def test_the_learned_map_stands_beside_the_changed_one(states, width, k, keep):
    state = replace(states["fin"], width=width, k=k, keep=keep)
    network = network_of(state.runs[0])
    learned, changed = network.answer(state.image), network.with_channels(state.image, k, keep)
    panels = Drawn(state).panels
    assert [panel.title for panel in panels] == ["picture", "as learned", "only the top 3" if keep else "without the top 5"]
    check_maps(panels, [None, network.compared(learned.cam), network.compared(changed.cam)])
    pixels = network.picture(state.image)
    assert all(panel.square is None and torch.equal(panel.pixels, pixels) for panel in panels)
    assert [panel.below for panel in panels] == [[], *(said(a.probabilities, 1, label_of(state)) for a in (learned, changed))]


def test_inside_the_fin_three_stand_in_a_row(states):
    check_places(Drawn(states["fin"]), 3, 6.7 / 4 - 0.1, 0.56 + 0.15, 0)  # beside them the words
    check_places(Drawn(replace(states["fin"], width=5.2)), 3, 5.0 / 3 - 0.1, 0.7 + 0.15, 0)
    check_places(Drawn(replace(states["fin"], width=3.7)), 3, 3.5 / 3 - 0.1, 0.95 + 0.15, 0)


@pytest.mark.parametrize(("width", "count"), [(6.9, 12), (5.2, 12), (3.7, 9)])
@pytest.mark.parametrize(("k", "keep"), [(3, True), (3, False), (64, True), (0, False)])
def test_bars_and_feature_maps_are_those_of_the_most_important_channels(states, width, count, k, keep):
    state = replace(states["fin"], width=width, k=k, keep=keep)
    learned, drawn = network_of(state.runs[0]).answer(state.image), Drawn(state)
    weights, order = learned.importance.sort(descending=True, stable=True)
    weights, order = weights[:count], order[:count]
    assert order.tolist() != list(range(count))  # else the first channels would pass for them
    assert drawn.bars.values == weights.tolist()
    assert drawn.bars.full == [rank < k if keep else rank >= k for rank in range(count)]
    assert drawn.bars.level == (1 / 64, "1/64")
    assert torch.equal(drawn.features.planes, learned.features[order])
    assert drawn.features.color_map == state.color_map
    assert (drawn.features.x, drawn.features.pitch) == (drawn.bars.x, drawn.bars.pitch)
    numbers = [text for text in drawn.texts if text.words.isdigit() and text.y > drawn.features.y]
    assert [text.words for text in numbers] == [str(channel) for channel in order.tolist()]
    middles = [drawn.bars.x + (rank + 0.5) * drawn.bars.pitch for rank in range(count)]
    assert [text.x for text in numbers] == pytest.approx(middles)


# Occlusion --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_before_and_after_stand_below_or_beside_one_another(runs, states, width):
    state = with_grad_cam(runs, replace(states["occlusion"], square=(0.4, 0.55, 0.5), width=width))
    box = box_of(state.square, 28)
    assert box == (8, 4, 22, 18)
    drawn = Drawn(state)
    count = len(drawn.panels) // 2
    titles = ["picture", *METHODS, "Grad-CAM of LFI-CAM"]
    if width == 3.7:
        before, after = drawn.panels[::2], drawn.panels[1::2]
        assert [panel.title for panel in before] == [panel.title for panel in after] == titles
        check_places(drawn, 2, 1.6, 0.95 + 2 * 0.15, 1.6 + 0.25 + 2 * 0.15)
    else:
        before, after = drawn.panels[:count], drawn.panels[count:]
        assert [panel.title for panel in before] == titles
        assert [panel.title for panel in after] == [None] * 5
        check_places(drawn, 5, (width - 0.2) / 5 - 0.1, (0.56 if width == 6.9 else 0.7) + 2 * 0.15, (width - 0.2) / 5 - 0.1 + 0.25)
    every, networks = [], networks_of(state)
    *shown, explained = networks
    for panels, hide in ((before, None), (after, box)):
        maps = [network.compared(network.answer(state.image, hide).cam) for network in shown]
        maps.append(explained.compared(explained.grad_cam(state.image, hide)))
        check_maps(panels, [None, *maps])
        every += maps
        pixels = explained.hidden(state.image, hide)
        assert all(torch.equal(panel.pixels, pixels) for panel in panels)
        frame = None if hide is None else pytest.approx((8 / 28, 4 / 28, 22 / 28, 18 / 28))
        assert all(panel.square == frame for panel in panels)
        assert panels[0].below == ["whole" if hide is None else "with the square"]
        for network, panel in zip(networks, panels[1:], strict=True):
            assert panel.below == said(network.answer(state.image, hide).probabilities, 1, label_of(state))
    assert not torch.equal(before[0].pixels, after[0].pixels)
    assert not [k for k in range(4) if torch.equal(every[k], every[4 + k])]  # the square changes each map


def test_the_effect_of_the_square_is_said_below(states):
    state = states["occlusion"]
    drawn = Drawn(state)
    last = max(drawn.texts, key=lambda text: text.y)
    assert " ".join(last.words.split()) == " ".join(effect(scene_of(state)))
    lowest = max(y + side for _, y, side in (panel.place for panel in drawn.panels))
    assert lowest + 0.25 < last.y < drawn.height


# Every view -------------------------------------------------------------------------------------------------------------------


def crowded(runs, state):
    """The state with as much on it as there can be: five runs and Grad-CAM."""
    return replace(state, runs=runs["lfi-cam"], grad_cam=runs["lfi-cam"][1])


def check_squares(page):
    """Pictures lie on the page, apart, and no words on them."""
    renderer = FigureCanvasAgg(page.figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in page.figure.texts if text.get_text()]
    inches = [(box.x0 / DPI, page.height - box.y1 / DPI, box.x1 / DPI, page.height - box.y0 / DPI) for box in boxes]
    squares = [(x, y, x + width, y + height) for x, y, width, height in page.crops]
    for n, (left, top, right, bottom) in enumerate(squares):
        assert left >= 0
        assert top >= 0
        assert right <= page.width
        assert bottom <= page.height
        for other in (*inches, *squares[:n]):
            assert not (left < other[2] - 0.01 and other[0] < right - 0.01 and top < other[3] - 0.01 and other[1] < bottom - 0.01)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("view", TITLES)
def test_text_is_legible_and_apart_and_on_no_picture(runs, states, view, width):
    for state in (replace(states[view], grad_cam=states[view].runs[0]), crowded(runs, states[view])):
        page = draw_view(scene_of(replace(state, width=width)))
        for dpi in (110, DPI):
            check_text(page.figure, dpi)
        check_squares(page)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("view", TITLES)
def test_text_stays_apart_whatever_the_classes_are_called(runs, states, view, width, monkeypatch):
    names = tuple(f"soft-coated Wheaten terrier of $kind_{k}$" for k in range(10))
    for id in runs["lfi-cam"]:
        monkeypatch.setitem(vars(network_of(id).run), "classes", names)
    page = draw_view(scene_of(replace(crowded(runs, states[view]), grad_cam="", width=width)))
    check_text(page.figure, DPI)
    check_squares(page)
    words = [text.get_text() for text in page.figure.texts]
    assert [text for text in words if "soft-coated" in text]
    cut = [text for text in words if "… (0." in text]  # the name, not its number
    assert len(cut) >= {"methods": 5 * 3, "settings": 5, "fin": 2, "occlusion": 5 * 2}[view]


@pytest.mark.parametrize("view", TITLES)
def test_no_uploaded_picture_is_said_to_be_wrong_and_its_name_is_not_shown(states, view):
    key = add_upload("my secret.png", encoded(noise(50, 30)))
    words = [text.words + text.tail for text in Drawn(replace(states[view], image=key)).texts]
    assert [text for text in words if "your picture" in text]
    assert not [text for text in words if "×" in text or "secret" in text]
