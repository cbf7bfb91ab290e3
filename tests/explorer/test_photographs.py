"""The explorer with the models of the package, random weights in their place: free photographs, in their own shape."""

from dataclasses import replace
from io import BytesIO

import pytest
import torch
from PIL import Image
from tiny_runs import bundle

from lficam.data.free_photographs import SHOWS
from lficam.explorer import gallery
from lficam.explorer.answers import Network
from lficam.explorer.explorer import Explorer
from lficam.explorer.gallery import browse, entries, network_of
from lficam.explorer.render import caption, draw_view, panel_at, render
from lficam.explorer.scene import scene_of
from lficam.explorer.state import TITLES, State
from lficam.metrics.map_names import LFI_CAM_UNTRAINED
from lficam.model import bundled
from lficam.model.bundled import BUNDLED

RUNS = ("photographs", "untrained photographs", "photographs-abn")
CHELSEA = State("chelsea.png", RUNS, grad_cam="photographs")


@pytest.fixture(scope="module", autouse=True)
def models(runs, tmp_path_factory):
    """The models are there, and nothing has been trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled, "FOLDER", tmp_path_factory.mktemp("bundle"))
        bundle(runs, bundled.FOLDER, image_size=64, unsure_below=1.0, augmentation="resized-crop-flip")
        patch.setenv("LFICAM_RUNS", str(tmp_path_factory.mktemp("no runs")))
        gallery._network.cache_clear()
        yield
        gallery._network.cache_clear()


def test_where_nothing_is_trained_the_models_of_the_package_are_what_there_is():
    assert [entry.run_id for entry in entries()] == list(BUNDLED)
    explorer = Explorer()
    assert explorer.error.value == ""
    assert (explorer.dataset.label, explorer.dataset.value) == ("Photographs", "photographs")
    assert explorer.state().runs == (*RUNS, "photographs-plain")
    assert explorer.content.layout.display is None
    assert explorer.offer.widget.layout.display is None  # digits are one click away
    assert "five small models" in explorer.offer.train.description
    assert "Photographs: test image " in explorer.picture.words
    shown = [choice.description.split(": ")[1] for choice in explorer.thumbnails.buttons if ": " in choice.description]
    assert shown == ["other"] * 6  # none shows a class of these models, which know digits
    explorer.maps[LFI_CAM_UNTRAINED].value = False
    assert explorer.state().runs == ("photographs", "photographs-abn", "photographs-plain")


def test_a_picture_of_ones_own_is_shown_to_the_models_that_know_photographs(monkeypatch):
    explorer = Explorer()
    digits = entries()[0]._replace(dataset="digits-stl10", data="digits")
    explorer._found = [digits, *explorer._found]
    with explorer._quietly():
        explorer.dataset.options = {"digits": "digits-stl10", "Photographs": "photographs"}
        explorer.dataset.value = "digits-stl10"
    content = BytesIO()
    Image.new("RGB", (60, 30), "green").save(content, "png")
    explorer._on_upload("green.png", content.getvalue())
    assert explorer.error.value == ""
    assert explorer.dataset.value == "photographs"
    assert "Photographs: your picture" in explorer.picture.words


def test_a_picture_of_none_of_the_classes_has_no_wrong_answer():
    said = caption(replace(CHELSEA, image="coffee.jpg"))
    assert "test image coffee.jpg, true class none of those" in said
    assert "wrong" not in said
    network = network_of("photographs")
    assert set(browse(network, wrong_only=True)) <= {name for name, shows in SHOWS.items() if shows}
    assert set(browse(network)) == set(SHOWS)


def test_below_its_bound_an_answer_is_in_question():
    assert "? (0." in caption(CHELSEA)


def test_an_untrained_network_is_another_one_of_the_same_picture():
    trained, untrained = map(network_of, RUNS[:2])
    assert (trained.title, untrained.title) == ("LFI-CAM", "LFI-CAM untrained")
    assert torch.equal(trained.picture("chelsea.png"), untrained.picture("chelsea.png"))
    assert not torch.equal(trained.answer("chelsea.png").cam, untrained.answer("chelsea.png").cam)
    assert isinstance(untrained, Network)


@pytest.mark.parametrize("view", [view for view in TITLES if view != "settings"])  # there is one alone
def test_what_is_seen_of_a_flat_picture_is_a_square_in_its_middle(view):
    state = replace(CHELSEA, view=view)
    page = draw_view(scene_of(state))
    for left, top, width, height in page.crops:
        assert width == pytest.approx(height, rel=0.01)
        middle = (left + width / 2) / page.width, (top + height / 2) / page.height
        assert panel_at(state, *middle) == pytest.approx((0.5, 0.5))
        beside = (left - 0.1 * width) / page.width, (top + height / 2) / page.height  # in the picture, and not seen
        assert panel_at(state, *beside) is None
    assert render(state) == render(state)


def test_pictures_stand_in_rows_as_high_as_they_are():
    """Chelsea is 300 pixels high and 451 wide."""
    page = draw_view(scene_of(CHELSEA))
    pictures = [image for image in page.axes.images if image.get_array().shape[0] > 20]  # the scale has one row
    for image in pictures:
        left, right, bottom, top = image.get_extent()
        assert (bottom - top) / (right - left) == pytest.approx(300 / 451, rel=0.01)


def test_a_square_hides_the_same_place_of_what_is_seen_and_of_what_is_shown():
    scene = scene_of(replace(CHELSEA, view="occlusion", square=(0.25, 0.5, 0.5)))
    whole, hidden = scene.whole.pixels, scene.shown(scene.box).pixels
    changed = (whole != hidden).any(0)
    rows, columns = changed.any(1).nonzero()[:, 0], changed.any(0).nonzero()[:, 0]
    top, left, height, width = scene.whole.crop
    h, w = whole.shape[1:]
    found = [rows[0].item() / h, (rows[-1].item() + 1) / h, columns[0].item() / w, (columns[-1].item() + 1) / w]
    expected = [top + 0.25 * height, top + 0.75 * height, left, left + 0.5 * width]
    assert found == pytest.approx(expected, abs=1.5 / min(h, w))
    mean = torch.tensor(scene.first.run.mean).view(3, 1)
    assert torch.equal(hidden[:, changed], mean.expand(3, int(changed.sum())))


def test_a_map_lies_over_what_is_seen_and_the_rest_is_pale():
    scene = scene_of(replace(CHELSEA, contour=False, opacity=1.0))
    page = draw_view(scene)
    drawn = torch.tensor(page.axes.images[2].get_array())  # the first map, after the scale and the picture
    top, left, height, width = scene.whole.crop
    h, w = drawn.shape[:2]
    outside = drawn[:, : round(left * w) - 1]
    assert (outside.amax(2) - outside.amin(2)).max() < 1e-6  # grey
    assert outside.min() >= 0.6
    seen = drawn[round(top * h) + 1 : round((top + height) * h) - 1, round(left * w) + 1 : round((left + width) * w) - 1]
    assert (seen.amax(2) - seen.amin(2)).max() > 0.2  # colours of the map
