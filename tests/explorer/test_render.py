"""The explorer's pictures as a whole: every control against the bytes, what is kept, and what a saved view says of itself."""

import hashlib
import json
from dataclasses import fields, replace
from functools import partial
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import encoded, noise

from lficam.errors import InputError
from lficam.explorer import answers
from lficam.explorer import render as render_module
from lficam.explorer.gallery import browse, network_of
from lficam.explorer.own_pictures import add_upload
from lficam.explorer.render import caption, draw_view, panel_at, render, save_view
from lficam.explorer.scene import scene_of
from lficam.explorer.state import COLOR_MAPS, TITLES, WIDTHS, State
from lficam.figures.page import DPI
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM


def pixels(png):
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


EVERYWHERE = {
    "image": None,
    "runs": None,
    "threshold": 0.6,
    "opacity": 0.3,
    "color_map": "viridis",
    "contour": False,
    "width": 3.7,
}
ONLY_IN = {
    "grad_cam": (None, {"methods", "occlusion"}),
    "k": (5, {"fin"}),
    "keep": (False, {"fin"}),
    "square": ((0.2, 0.7, 0.3), {"occlusion"}),
}


@pytest.mark.parametrize("view", TITLES)
@pytest.mark.parametrize("field", [*EVERYWHERE, *ONLY_IN])
def test_each_control_changes_the_views_that_it_belongs_to_and_no_other(runs, states, images, view, field):
    value, where = ONLY_IN.get(field, (EVERYWHERE.get(field), set(TITLES)))
    if field == "image":
        value = images[7]
    elif field == "runs":
        value = runs["lfi-cam"][1:4]
    elif field == "grad_cam":
        value = runs["lfi-cam"][1]
    changed = replace(states[view], **{field: value})
    assert changed != states[view]
    assert (render(changed) != render(states[view])) == (view in where)


@pytest.mark.parametrize("view", TITLES)
def test_the_same_state_gives_the_same_bytes(states, view):
    png = render(states[view])
    assert draw_view(scene_of(states[view])).png(760 / 6.9) == png
    for width in WIDTHS:
        with Image.open(BytesIO(render(replace(states[view], width=width)))) as image:
            assert image.format == "PNG"
            assert abs(image.width - 760) <= 1


@pytest.mark.parametrize("view", TITLES)
def test_nothing_is_computed_while_the_drawing_changes(states, view, monkeypatch):
    state = replace(states[view], grad_cam=states[view].runs[0])
    render(state)
    for module, name in ((LFICAM, "explain"), (LFICAM, "attend"), (ABN, "explain"), (answers, "baseline_maps")):
        monkeypatch.setattr(module, name, None)
    for change in ({"threshold": 0.123}, {"opacity": 0.9}, {"color_map": "gray"}, {"contour": False}):
        assert render(replace(state, **change)) != render(state)
    with pytest.raises(TypeError):  # what was not computed before cannot be now
        render(replace(state, image=browse(network_of(state.runs[0]))[20]))


def test_a_view_is_drawn_once(states, monkeypatch):
    png = render(states["methods"])
    monkeypatch.setattr(render_module, "scene_of", None)
    assert render(replace(states["methods"])) == png
    assert caption(replace(states["methods"]))


@pytest.mark.parametrize("color_map", COLOR_MAPS)
def test_every_colour_map_can_be_drawn_at_every_end_of_the_sliders(states, color_map):
    for threshold, opacity in ((0, 0), (1, 1), (0, 1)):
        render(replace(states["methods"], color_map=color_map, threshold=threshold, opacity=opacity))


def test_every_field_of_a_state_is_a_control_that_is_tested():
    assert {field.name for field in fields(State)} == {*EVERYWHERE, *ONLY_IN, "view"}


def test_a_square_beside_the_picture_hides_nothing(states):
    beside = replace(states["occlusion"], square=(7.0, 0.5, 0.25))
    assert render(beside) == render(replace(beside, square=(0.5, 0.5, 0.0)))


# Places in a view -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("view", TITLES)
def test_places_are_found_in_every_panel(states, view, width):
    state = replace(states[view], width=width)
    page = draw_view(scene_of(state))
    assert len(page.crops) == {"methods": 4, "settings": 6, "fin": 3, "occlusion": 8}[view]
    for left, top, width_of, height_of in page.crops:
        for x, y in ((0.01, 0.02), (0.5, 0.25), (0.25, 0.75), (0.99, 0.98)):
            place = (left + x * width_of) / page.width, (top + y * height_of) / page.height
            assert panel_at(state, *place) == pytest.approx((x, y))
        for x, y in ((-0.02, 0.5), (0.5, -0.02), (1.02, 0.5), (0.5, 1.02)):  # just beside it
            assert panel_at(state, (left + x * width_of) / page.width, (top + y * height_of) / page.height) is None


@pytest.mark.parametrize("width", WIDTHS)
def test_a_panel_is_where_the_picture_is_drawn(states, width):
    """A picture of one colour: the drawing shows where its panel is."""
    color = (200, 10, 220)
    state = replace(states["methods"], image=add_upload("plain.png", encoded(Image.new("RGB", (28, 28), color))), width=width)
    drawn = pixels(render(state))
    h, w = drawn.shape[:2]
    rows, columns = (np.flatnonzero((drawn == color).all(2).any(axis)) for axis in (1, 0))
    top, left, side = rows[0], columns[0], columns[-1] + 1 - columns[0]
    for x, y in ((0.05, 0.05), (0.5, 0.25), (0.95, 0.95)):
        assert panel_at(state, (left + x * side) / w, (top + y * side) / h) == pytest.approx((x, y), abs=0.02)


# Refusals and captions --------------------------------------------------------------------------------------------------------


def drawn_anew(state):
    return draw_view(scene_of(state))


@pytest.mark.parametrize("show", [render, caption, drawn_anew, partial(panel_at, x=0.1, y=0.5)])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"view": "all"}, "unknown view 'all': expected one of methods"),
        ({"runs": ("none",)}, "no run 'none'"),
        ({"image": "upload:123"}, "your picture is no longer kept .* upload it again"),
        ({"view": "fin", "k": 0}, "k=0 of 64 channels to keep: expected 1 to 64"),
        ({"view": "fin", "k": 64, "keep": False}, "k=64 of 64 channels to drop: expected 0 to 63"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_all_that_show_it(states, show, change, message):
    with pytest.raises(InputError, match=message) as refused:
        show(replace(states["methods"], **change))
    assert "\n" not in str(refused.value)


def test_what_cannot_be_shown_is_not_saved(states, tmp_path):
    with pytest.raises(InputError, match="unknown view"):
        save_view(replace(states["methods"], view="all"), tmp_path / "views")
    assert not (tmp_path / "views").exists()


SENTENCES = {
    "methods": ["LFI-CAM: ", "LFI-CAM without FIN: ", "ABN: "],
    "settings": ["LFI-CAM lr 0.1 batch 32 decay 0.0001: ", "Mean IoU ", "over 10 pairs. ", "Least alike: ", "Most alike: "],
    "fin": [
        "LFI-CAM: ",
        "Effective number of channels: ",
        "The top 8 hold ",
        "The probability of ",
        "IoU of the areas above 0.39: ",
    ],
    "occlusion": ["LFI-CAM: ", "ABN: ", "LFI-CAM: probability of ", "ABN: probability of "],
}


@pytest.mark.parametrize("view", TITLES)
def test_a_caption_says_what_is_shown_in_one_line(states, view):
    words = caption(states[view])
    assert f"test image {states[view].image}, true class {states[view].image.split('/')[1]}. " in words
    assert "\n" not in words
    places = [words.find(sentence) for sentence in SENTENCES[view]]
    assert -1 not in places
    assert sorted(places) == places
    assert words.endswith(".")


def test_grad_cam_is_in_the_captions_of_the_views_that_show_it(states):
    said = {view: "Grad-CAM of LFI-CAM: " in caption(replace(states[view], grad_cam=states[view].runs[0])) for view in TITLES}
    assert said == {"methods": True, "settings": False, "fin": False, "occlusion": True}


# Saved views ------------------------------------------------------------------------------------------------------------------


def test_a_saved_view_names_the_run_of_grad_cam_too(runs, states, tmp_path):
    abn, lfi_cam = runs["abn"][0], runs["lfi-cam"][0]
    with Image.open(save_view(replace(states["methods"], runs=(abn,), grad_cam=lfi_cam), tmp_path)) as image:
        assert [run["id"] for run in json.loads(image.text["lficam"])["runs"]] == [abn, lfi_cam]


@pytest.mark.parametrize("view", TITLES)
def test_a_saved_view_is_the_view_itself_and_says_where_it_comes_from(states, view, tmp_path):
    state = replace(states[view], threshold=0.25, grad_cam=states[view].runs[0])
    file = save_view(state, tmp_path / "views")
    assert list(file.parent.iterdir()) == [file]
    assert file.name.startswith(f"{view}_")
    assert file.suffix == ".png"
    assert (pixels(file.read_bytes()) == pixels(draw_view(scene_of(state)).png(DPI))).all()
    with Image.open(file) as image:
        assert image.width == 1380  # 6.9 inches at 200 dpi
        assert image.text["Software"] == "lficam"
        record = json.loads(image.text["lficam"])
    restored = {key: tuple(value) if isinstance(value, list) else value for key, value in record["state"].items()}
    assert State(**restored) == state
    assert [run["id"] for run in record["runs"]] == list(state.runs)
    for run in record["runs"]:
        assert run["config"] == network_of(run["id"]).run.config.model_dump(exclude={"data"})
    assert record["image"] == {"test_image": state.image}
    assert record["shows"] == caption(state)
    assert record["environment"]["packages"]["torch"] == torch.__version__.split("+")[0]


def test_the_name_of_a_saved_view_follows_from_the_state(states, tmp_path):
    state = states["methods"]
    file = save_view(state, tmp_path)
    assert save_view(replace(state), tmp_path) == file
    others = [replace(state, threshold=0.5), replace(state, runs=state.runs[::-1]), replace(state, width=3.7)]
    assert len({file, *(save_view(other, tmp_path) for other in others)}) == 4


def test_a_saved_upload_is_named_by_its_checksum_alone(states, tmp_path):
    content = encoded(noise(30, 30))
    key = add_upload("family-name.png", content)
    file = save_view(replace(states["methods"], image=key), tmp_path)
    with Image.open(file) as image:
        record = json.loads(image.text["lficam"])
    assert record["image"] == {"upload_sha256": hashlib.sha256(content).hexdigest()}
    assert b"family-name" not in file.read_bytes()
