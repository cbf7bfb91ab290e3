"""The explorer without a browser: what its controls do. How it looks in one is tested in tests/browser."""

import base64
import hashlib
import re
import time
from io import BytesIO
from threading import Event, Thread
from types import SimpleNamespace

import ipywidgets
import numpy as np
import papermill
import pytest
from PIL import Image

from lficam.errors import InputError
from lficam.explorer import explorer as module
from lficam.explorer import gallery
from lficam.explorer.answers import Network
from lficam.explorer.explorer import Explorer
from lficam.explorer.first_runs import small_set
from lficam.explorer.gallery import browse, entries, network_of
from lficam.explorer.screen import Screen
from lficam.explorer.state import State
from lficam.explorer.thumbnails import A_SHEET
from lficam.explorer.upload import Upload
from lficam.figures.experiments import experiment
from lficam.metrics.map_names import GRAD_CAM, LFI_CAM_UNTRAINED
from lficam.paths import figures_dir, repository
from lficam.training.fit import fit_or_load_all
from lficam.training.runs import stored_ids

TINY = {"epochs": 1, "max_classes": 3, "max_per_class": 12}  # trained in a second
TRAINED = ("lfi-cam", "lfi-cam-without-fin", "abn", "plain")
FIRST, SECOND = "lr 0.1, batch 32, decay 0.0001", "lr 0.1, batch 16, decay 0.0005"


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory):
    """Of one data set the small set; of another one ABN and LFI-CAM under one setting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LFICAM_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setenv("LFICAM_FIGURES", str(tmp_path_factory.mktemp("figures")))
        fit_or_load_all([*small_set(TINY), *experiment("fig2", "embedded", TINY).configs()])
        yield


@pytest.fixture(scope="module")
def shared(store):
    return Explorer("embedded", TINY)


@pytest.fixture
def explorer(shared):
    """As it is when it opens, but for the time it takes to make one."""
    with shared._quietly():
        shared.k.min, shared.k.max, shared.picture.width = 0, 64, 0
        for control, value in DEFAULTS.items():
            getattr(shared, control).value = value
        for box in shared.maps.values():
            box.value = True
    shared._image = ""
    shared._open()
    assert said(shared) == ""
    return shared


DEFAULTS = {"view": "methods", "order": "shuffled", "threshold": 100 / 255, "opacity": 0.6, "color_map": "inferno", "contour": True}
DEFAULTS |= {"k": 8, "keep": True, "x": 0.5, "y": 0.5, "size": 0.25}
OTHERS = {"threshold": 0.8, "opacity": 0.2, "color_map": "viridis", "contour": False}
OTHERS |= {"k": 3, "keep": False, "x": 0.2, "y": 0.9, "size": 0.6}
ANYWHERE = ["threshold", "opacity", "color_map", "contour"]
OWN = {"methods": [], "settings": [], "fin": ["k", "keep"], "occlusion": ["x", "y", "size"]}


def said(explorer):
    """The words of the red line; none while it is hidden."""
    if explorer.error.layout.display == "none":
        assert explorer.error.value == ""
        return ""
    (words,) = re.findall(r'^<div role="alert">(.+)</div>$', explorer.error.value)
    return words


def picture(explorer):
    content = bytes(explorer.picture.value)
    with Image.open(BytesIO(content)) as image:
        assert image.format == "PNG"
        image.load()
    return content


def upload(explorer, name, content, slice=2**20):
    """What the browser sends of a file that somebody chooses: slices of its content, in order."""
    if len(content) > explorer.upload.most:
        explorer.upload._on_slice(None, {"name": name, "size": len(content)}, [])
        return
    for start in range(0, len(content) or 1, slice):
        about = {"name": name, "size": len(content), "start": start}
        explorer.upload._on_slice(None, about, [memoryview(content[start : start + slice])])


def encoded(format="PNG", mode="RGB", size=(40, 40), color=None, **options):
    content = BytesIO()
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    values[:] = values if color is None else color
    Image.fromarray(values).convert(mode).save(content, format, **options)
    return content.getvalue()


def inside(widget):
    """A widget and everything in it."""
    return [widget, *(part for child in getattr(widget, "children", ()) for part in inside(child))]


def visible(explorer, control):
    """Whether neither the control nor a box around it is hidden."""

    def found(widget):
        if widget.layout.display == "none":
            return False
        return widget is control or any(found(child) for child in getattr(widget, "children", ()))

    return found(explorer.widget)


def test_it_opens_with_a_picture(explorer):
    fresh = Explorer("embedded", TINY)
    assert said(fresh) == ""
    assert fresh.dataset.value == "digits-stl10"  # where most has been trained
    assert fresh.state() == explorer.state()
    assert picture(fresh) == picture(explorer)
    assert "true class" in fresh.picture.words


def test_the_state_is_what_the_controls_say(explorer):
    runs = {
        entry.method: entry.run_id
        for entry in entries("embedded", TINY)
        if (entry.dataset, entry.variant) == ("digits-stl10", FIRST)
    }
    image = browse(network_of(runs["lfi-cam"]))[0]
    first, *others = (runs[method] for method in TRAINED)
    assert explorer.state() == State(image, (first, f"untrained {first}", *others), grad_cam=first)
    for name in ("lfi-cam-without-fin", GRAD_CAM, LFI_CAM_UNTRAINED):
        explorer.maps[name].value = False
    for control, value in OTHERS.items():
        getattr(explorer, control).value = value
    chosen = (runs["lfi-cam"], runs["abn"], runs["plain"])
    assert explorer.state() == State(image, chosen, "methods", "", 0.8, 0.2, "viridis", False, 3, False, (0.2, 0.9, 0.6))


@pytest.mark.parametrize(("view", "control"), [(view, control) for view, own in OWN.items() for control in [*ANYWHERE, *own]])
def test_a_control_changes_the_picture_and_changes_it_back(explorer, view, control):
    explorer.view.value = view
    before = picture(explorer)
    getattr(explorer, control).value = OTHERS[control]
    assert picture(explorer) != before
    getattr(explorer, control).value = DEFAULTS[control]
    assert picture(explorer) == before


@pytest.mark.parametrize("view", OWN)
def test_controls_of_another_view_are_hidden_and_change_nothing(explorer, view):
    explorer.view.value = view
    before = picture(explorer)
    for other, controls in OWN.items():
        for control in controls:
            assert visible(explorer, getattr(explorer, control)) is (other == view), control
            if other != view:
                getattr(explorer, control).value = OTHERS[control]
    assert visible(explorer, explorer.compared) is (view == "settings")
    assert picture(explorer) == before
    assert visible(explorer, explorer.maps["abn"]) is (view in ("methods", "occlusion"))


def test_every_view_is_another_picture_with_other_words(explorer):
    shown = []
    for view in OWN:
        explorer.view.value = view
        shown.append((picture(explorer), explorer.picture.words))
    assert len({png for png, _ in shown}) == len({words for _, words in shown}) == 4


def test_nothing_but_drawing_happens_while_a_slider_moves(explorer, monkeypatch):
    explorer.view.value = "occlusion"
    for name in ("browse", "network_of", "entries", "add_upload"):
        monkeypatch.setattr(module, name, None)
    before = picture(explorer)
    for value in (0.1, 0.2, 0.3):
        explorer.threshold.value = value
    assert said(explorer) == ""
    assert picture(explorer) != before


@pytest.mark.parametrize("view", OWN)
def test_an_interaction_looks_up_each_network_once(explorer, monkeypatch, view):
    explorer.view.value = view
    found, real = [], gallery._network

    def recorded(run_id, config):
        found.append(run_id)
        return real(run_id, config)

    monkeypatch.setattr(gallery, "_network", recorded)
    explorer.threshold.value = 0.4321
    state = explorer.state()
    assert found == ([*state.runs, state.grad_cam] if view in ("methods", "occlusion") else [*state.runs])
    assert said(explorer) == ""


SHOWN = ("lfi-cam", LFI_CAM_UNTRAINED, *TRAINED[1:])


@pytest.mark.parametrize("method", [*SHOWN, GRAD_CAM])
def test_a_map_is_shown_if_it_is_ticked(explorer, method):
    before, state = picture(explorer), explorer.state()
    explorer.maps[method].value = False
    assert picture(explorer) != before
    if method == GRAD_CAM:
        assert explorer.state().runs == state.runs
        assert not explorer.state().grad_cam
    else:
        assert explorer.state().runs == tuple(run for run, other in zip(state.runs, SHOWN, strict=True) if other != method)
    explorer.maps[method].value = True
    assert picture(explorer) == before


@pytest.mark.parametrize(
    ("pixels", "inches"), [(0, 6.9), (1200, 6.9), (640, 6.9), (620, 5.2), (480, 5.2), (460, 3.7), (340, 3.7), (20, 3.7)]
)
def test_the_picture_is_made_for_the_width_that_it_has(explorer, pixels, inches):
    """Type of 7 pt, which is 7/72 inch, has 8.75 CSS pixels or more, but where there is less room than on a phone."""
    explorer.picture.width = 340
    before = picture(explorer)
    explorer.picture.width = pixels
    assert explorer.state().width == inches
    assert (picture(explorer) == before) is (inches == 3.7)
    assert not pixels or pixels < 330 or pixels / inches * 7 / 72 > 8.75


def test_the_square_follows_the_mouse(explorer):
    """A picture of one colour: the drawing shows where its panel is."""
    color = (200, 10, 220)
    upload(explorer, "plain.png", encoded(color=color))
    assert not explorer.picture.pointable
    explorer.view.value = "occlusion"
    assert explorer.picture.pointable
    with Image.open(BytesIO(picture(explorer))) as image:
        pixels = np.asarray(image)[..., :3]
    height, width = pixels.shape[:2]
    rows, columns = (np.flatnonzero((pixels == color).all(2).any(axis)) for axis in (1, 0))
    top, left, right = rows[0], columns[0], columns[-1] + 1
    side = right - left
    assert (rows[: side - 2] == np.arange(top, top + side - 2)).all()  # the panel before the square; there is another one below

    before = picture(explorer)
    explorer.picture.point = ((left + 0.2 * side) / width, (top + 0.7 * side) / height)
    assert (explorer.x.value, explorer.y.value) == pytest.approx((0.2, 0.7), abs=0.011)
    assert explorer.state().square == (explorer.x.value, explorer.y.value, 0.25)
    assert picture(explorer) != before
    last, answered = picture(explorer), explorer.picture.answered
    explorer.picture.point = (left / 2 / width, 0.5)  # beside the panels
    assert explorer.picture.answered == answered + 1
    assert picture(explorer) == last


def test_a_place_is_answered_even_if_it_cannot_be_drawn(explorer, monkeypatch):
    explorer.view.value, answered = "occlusion", explorer.picture.answered
    monkeypatch.setattr(module, "panel_at", None)
    explorer.picture.point = (0.1, 0.1)
    assert said(explorer).startswith("TypeError")
    assert explorer.picture.answered == answered + 1  # the browser waits for it


def test_without_any_map_the_last_picture_stays(explorer):
    for method in SHOWN:
        assert said(explorer) == ""  # Grad-CAM is there whichever of them is
        explorer.maps[method].value = False
    assert said(explorer) == "no network is chosen: tick at least one below the picture"
    last = picture(explorer)
    explorer.maps["lfi-cam"].value = True
    assert said(explorer) == ""
    assert picture(explorer) != last


def test_every_sheet_of_thumbnails(explorer):
    network = network_of(explorer.state().runs[0])
    ids, seen = browse(network), []
    assert len(ids) > 2 * A_SHEET
    for first in range(0, len(ids), A_SHEET):
        shown = [button for button in explorer.thumbnails.buttons if button.layout.display != "none"]
        last = min(first + A_SHEET, len(ids))
        numbers = range(first, last)
        assert [button.description for button in shown] == [f"{k + 1}: {network.true_class(ids[k])}" for k in numbers]
        tooltips = [f"test image {ids[k]}" for k in numbers]
        if first == 0:
            tooltips[0] = f"shown now: {tooltips[0]}"
        assert [button.tooltip for button in shown] == tooltips
        assert f">{first + 1} to {last} of {len(ids)}<" in explorer.thumbnails.where.value
        seen += re.findall(r"base64,([\w+/=]+)\)", explorer.thumbnails.icons.value)
        assert explorer.thumbnails.previous.disabled is (first == 0)
        assert explorer.thumbnails.next.disabled is (last == len(ids))
        if last < len(ids):
            explorer.thumbnails.next.click()
    assert seen == [base64.b64encode(network.thumbnail(id)).decode() for id in ids]
    explorer.thumbnails.previous.click()
    assert f" of {len(ids)}<" in explorer.thumbnails.where.value
    assert not explorer.thumbnails.next.disabled


def test_a_click_on_a_thumbnail_shows_that_image(explorer):
    ids = browse(network_of(explorer.state().runs[0]))
    before, words = picture(explorer), explorer.thumbnails.where.value
    explorer.thumbnails.next.click()
    assert picture(explorer) == before
    explorer.thumbnails.buttons[4].click()
    assert explorer.state().image == ids[A_SHEET + 4]
    assert picture(explorer) != before
    chosen = [k for k, button in enumerate(explorer.thumbnails.buttons) if "lficam-chosen" in button._dom_classes]
    assert chosen == [4]
    explorer.thumbnails.previous.click()
    assert explorer.thumbnails.where.value == words
    assert not [button for button in explorer.thumbnails.buttons if "lficam-chosen" in button._dom_classes]


def test_filters(explorer):
    before, run = picture(explorer), network_of(explorer.state().runs[0]).run
    wrong = (run.explained.probabilities.argmax(1) != run.dataset.test.labels).tolist()
    name = run.classes[1]
    for label, only in ((name, False), ("", True), (name, True)):
        explorer.label.value, explorer.wrong_only.value = label, only
        expected = {
            id
            for id, kind, missed in zip(run.dataset.test.ids, run.dataset.test.labels.tolist(), wrong, strict=True)
            if (not label or kind == 1) and (missed or not only)
        }
        assert set(explorer.thumbnails._ids) == expected
        assert len(expected) < len(wrong)
    explorer.label.value = ""
    assert explorer.label.label == "all"  # nothing would be shown for a value of None
    assert picture(explorer) == before  # it stays until another one is chosen


def test_the_least_stable_come_first(explorer):
    shuffled = list(explorer.thumbnails._ids)
    explorer.order.value = "least stable first"
    models = explorer.compared.value
    assert len(models) == 2
    assert explorer.thumbnails._ids == browse(network_of(models[0]), order="least stable first", others=models)
    assert explorer.thumbnails._ids != shuffled
    assert sorted(explorer.thumbnails._ids) == sorted(shuffled)


def test_no_image_fits(explorer, monkeypatch):
    monkeypatch.setattr(module, "browse", lambda *arguments: [])
    before = picture(explorer)
    explorer.wrong_only.value = True
    assert "no test image is like that" in explorer.thumbnails.where.value
    assert not [button for button in explorer.thumbnails.buttons if visible(explorer, button)]
    assert explorer.thumbnails.previous.disabled
    assert explorer.thumbnails.next.disabled
    assert said(explorer) == ""
    assert picture(explorer) == before


def test_another_data_set(explorer):
    before = picture(explorer)
    explorer.wrong_only.value, explorer.order.value = True, "least stable first"
    explorer.dataset.value = "digits-cifar100"  # without two models that could be compared
    assert said(explorer) == ""
    assert picture(explorer) != before
    assert (explorer.wrong_only.value, explorer.order.value) == (False, "shuffled")
    assert explorer.state().image == browse(network_of(explorer.state().runs[0]))[0]
    assert [network_of(id).run.config.dataset for id in explorer.state().runs] == ["digits-cifar100"] * 3  # and untrained
    assert [visible(explorer, box) for box in explorer.maps.values()] == [True, False, True, False, True, True]
    last = picture(explorer)
    explorer.view.value = "settings"
    assert said(explorer).startswith("no method has two trained models")
    explorer.order.value = "least stable first"
    assert "two or more" in said(explorer)
    assert " of " in explorer.thumbnails.where.value  # those shown before are still there
    assert picture(explorer) == last
    explorer.order.value = "shuffled"
    explorer.view.value = "fin"
    assert said(explorer) == ""


def test_another_setting(explorer):
    assert list(explorer.variant.options.values()) == [FIRST, SECOND]
    before, image = picture(explorer), explorer.state().image
    explorer.variant.value = SECOND
    assert [visible(explorer, box) for box in explorer.maps.values()] == [True, False, False, False, True, True]
    assert explorer.state().image == image
    assert picture(explorer) != before
    run, _ = explorer.state().runs
    config = network_of(run).run.config
    assert (config.method, config.batch_size) == ("lfi-cam", 16)


def test_settings_of_one_method_are_compared(explorer):
    assert list(explorer.compared.options) == ["LFI-CAM: 2 settings"]
    explorer.view.value = "settings"
    assert [network_of(id).run.config.batch_size for id in explorer.state().runs] == [32, 16]


def test_all_channels_can_be_kept_and_all_but_one_dropped(explorer):
    explorer.view.value = "fin"
    assert (explorer.k.min, explorer.k.max) == (1, 64)
    explorer.k.value = 64
    assert said(explorer) == ""
    explorer.keep.value = False
    assert (explorer.k.min, explorer.k.max, explorer.k.value) == (0, 63, 63)
    assert said(explorer) == ""
    explorer.k.value = 0
    assert said(explorer) == ""
    explorer.keep.value = True
    assert (explorer.k.min, explorer.k.max, explorer.k.value) == (1, 64, 1)
    assert said(explorer) == ""


@pytest.mark.parametrize(
    "content",
    [encoded(), encoded(mode="RGBA"), encoded("JPEG", "CMYK", (1, 1))],
    ids=["PNG", "RGBA", "JPEG"],
)
def test_an_uploaded_picture_is_shown_in_every_view(explorer, content):
    for view in OWN:
        explorer.view.value = view
        explorer.thumbnails.buttons[0].click()
        before = picture(explorer)
        upload(explorer, "mine.png", content)
        assert said(explorer) == ""
        assert explorer.state().image.startswith("upload:")
        assert picture(explorer) != before
        assert "your picture" in explorer.picture.words
    assert not [button for button in explorer.thumbnails.buttons if "lficam-chosen" in button._dom_classes]
    last = explorer.state().image
    explorer.view.value = "methods"
    explorer.dataset.value = "digits-cifar100"
    assert explorer.state().image == last
    assert said(explorer) == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [("text.png", b"not a picture"), ("cut.jpg", encoded("JPEG")[:500]), ("empty.png", b""), ("large.png", bytes(20 * 10**6 + 1))],
)
def test_a_refused_file_is_a_red_line_and_the_last_picture_stays(explorer, name, content):
    before, state = picture(explorer), explorer.state()
    upload(explorer, name, content)
    assert said(explorer).startswith(name)
    assert (picture(explorer), explorer.state()) == (before, state)
    upload(explorer, "good.png", encoded())
    assert said(explorer) == ""
    assert picture(explorer) != before


ACTIONS = {
    "dataset": lambda e: setattr(e.dataset, "value", "digits-cifar100"),
    "variant": lambda e: setattr(e.variant, "value", SECOND),
    "view": lambda e: setattr(e.view, "value", "fin"),
    "map": lambda e: setattr(e.maps["abn"], "value", False),
    "thumbnail": lambda e: e.thumbnails.buttons[3].click(),
    "upload": lambda e: upload(e, "mine.png", encoded(size=(9, 9))),
    **{
        name: lambda e, name=name: setattr(getattr(e, name), "value", OTHERS[name])
        for name in [*ANYWHERE, "k", "keep", "x", "y", "size"]
    },
}


@pytest.mark.parametrize("action", ACTIONS)
def test_an_error_of_every_observer_is_one_red_line_until_something_succeeds(explorer, monkeypatch, action):
    before = picture(explorer)
    with monkeypatch.context() as patch:
        patch.setattr(module, "render", SimpleNamespace(__call__=None))
        ACTIONS[action](explorer)
    assert said(explorer).startswith("TypeError: &#x27;types.SimpleNamespace&#x27; object is not callable. The explorer itself")
    assert picture(explorer) == before
    explorer.opacity.value = 0.35
    assert said(explorer) == ""
    assert picture(explorer) != before


@pytest.mark.parametrize(("name", "act"), [("browse", lambda e: setattr(e.order, "value", "least stable first"))])
@pytest.mark.parametrize(
    ("error", "words"), [(InputError("a <b>\n  c"), "a &lt;b&gt; c"), (KeyError("k"), "KeyError: &#x27;k&#x27;. The")]
)
def test_errors_are_said_in_one_line_as_text(explorer, monkeypatch, name, act, error, words):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(module, name, fail)
    act(explorer)
    assert said(explorer).startswith(words)


def test_save_writes_the_picture_and_says_where(explorer):
    explorer.view.value = "occlusion"
    explorer.save.click()
    assert said(explorer) == ""
    (saved,) = (figures_dir() / "explorer").glob("*.png")
    assert str(saved) in explorer.saved.value
    with Image.open(saved) as image:
        assert explorer.state().image in image.text["lficam"]


def test_a_folder_that_cannot_be_written_is_a_red_line(explorer, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path / "file"))
    explorer.save.click()
    assert said(explorer).startswith(("NotADirectoryError", "FileExistsError"))


def test_every_control_has_a_label_of_its_own_that_is_not_cut_off(explorer):
    passive = (ipywidgets.Box, ipywidgets.HTML, Screen)
    controls = [widget for widget in inside(explorer.widget) if not isinstance(widget, passive)]
    labels = [control.description for control in controls]
    assert all(labels)
    assert len(set(labels)) == len(labels) == 41
    for control in controls:
        if not isinstance(control, Upload):  # which has no style: it is as wide as what is around it
            assert getattr(control.style, "description_width", "initial") in ("initial", "")
            assert control.layout.width in ("auto", "60px"), control  # nothing is wider than a phone


def test_the_hooks_are_there(explorer):
    names = ["dataset", "variant", "maps", "upload", "view", "threshold", "opacity", "colormap", "screen", "error", "save"]
    classes = [name for widget in inside(explorer.widget) for name in widget._dom_classes]
    assert {name: classes.count(f"lficam-{name}") for name in names} == dict.fromkeys(names, 1)
    assert [classes.count(f"lficam-{name}") for name in ("train", "thumbnail")] == [1, A_SHEET]
    assert {f"{explorer.thumbnails._name}-{k}" for k in range(A_SHEET)} <= set(classes)


def test_two_explorers_have_thumbnails_of_their_own(explorer):
    other = Explorer("embedded", TINY)
    assert other.thumbnails._name not in explorer.thumbnails.icons.value
    assert f"button.{other.thumbnails._name}-11 " in other.thumbnails.icons.value


def test_it_displays_itself_with_a_picture_for_viewers_without_a_kernel(explorer):
    bundle, about = explorer._repr_mimebundle_(include=None, exclude=None)
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.widget.model_id
    assert base64.b64decode(bundle["image/png"]) == picture(explorer)
    assert bundle["text/plain"] == "<Explorer of profile embedded>"
    assert about["image/png"]["alt"] == explorer.picture.words


def test_executed_by_papermill_the_notebook_leaves_its_first_view(explorer, tmp_path):
    notebook = repository() / "notebooks" / "07_explorer.ipynb"
    done = papermill.execute_notebook(notebook, tmp_path / "done.ipynb", {"overrides": TINY}, progress_bar=False)
    outputs = [output.data for cell in done.cells for output in cell.get("outputs", [])]
    assert [base64.b64decode(data["image/png"]) for data in outputs] == [picture(explorer)]


def test_unknown_profiles_and_overrides_are_refused():
    with pytest.raises(InputError, match="unknown profile 'nonsense'"):
        Explorer("nonsense")
    with pytest.raises(InputError, match="'nonsense' cannot be overridden"):
        Explorer("embedded", {"nonsense": 1})


def test_without_trained_runs_one_button_trains_them(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path))
    explorer = Explorer("embedded", TINY)
    explorer.picture.width = 700  # as a browser measures it
    assert said(explorer) == ""
    assert visible(explorer, explorer.offer.train)
    assert not visible(explorer, explorer.offer.progress)
    assert not visible(explorer, explorer.dataset)
    assert "image/png" not in explorer._repr_mimebundle_()[0]
    shares = []
    explorer.offer.progress.observe(lambda change: shares.append((change["new"], explorer.offer.progress.description)), "value")
    explorer.offer.train.click()
    assert explorer.offer.train.disabled
    assert visible(explorer, explorer.offer.progress)
    explorer.offer.training.join()
    assert said(explorer) == ""
    assert shares == [(number / 5, f"Training model {number} of 5") for number in (1, 2, 3, 4, 5)]
    assert stored_ids() == sorted(config.run_id() for config in small_set(TINY))
    assert not visible(explorer, explorer.offer.train)
    assert not visible(explorer, explorer.offer.progress)
    assert picture(explorer)
    for view in OWN:
        explorer.view.value = view
        assert said(explorer) == ""


def test_another_profile_offers_the_embedded_one(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path))
    monkeypatch.setattr(
        "lficam.explorer.first_runs.train_elsewhere",
        lambda configs, on_epoch: fit_or_load_all([config.model_copy(update=TINY) for config in configs]),
    )
    monkeypatch.setattr(module, "entries", lambda profile, overrides: [] if profile == "paper" else entries(profile, TINY))
    explorer = Explorer("paper", {"epochs": 2})
    assert "profile paper" in explorer.offer.words.value
    explorer.offer.train.click()
    explorer.offer.training.join()
    assert said(explorer) == ""
    assert visible(explorer, explorer.dataset)


def test_a_training_that_fails_is_a_red_line_and_can_be_tried_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path))
    explorer = Explorer("embedded", TINY)
    failed = {"a": FloatingPointError("the loss is nan")}
    monkeypatch.setattr("lficam.explorer.first_runs.fit_elsewhere", lambda configs, on_epoch: failed)
    explorer.offer.train.click()
    explorer.offer.training.join()
    assert said(explorer).startswith("the training failed: FloatingPointError: the loss is nan; mend this")
    assert visible(explorer, explorer.offer.train)
    assert not explorer.offer.train.disabled
    assert not visible(explorer, explorer.offer.progress)


def test_a_training_that_fails_at_once_is_a_red_line_too(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path))
    explorer = Explorer("embedded", TINY)

    def fail(configs, on_epoch):
        raise InputError("no room on the disk")

    monkeypatch.setattr("lficam.explorer.first_runs.train_elsewhere", fail)
    explorer.offer.train.click()
    explorer.offer.training.join()
    assert said(explorer) == "no room on the disk"


def test_overrides_that_the_small_set_cannot_have_are_a_red_line(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path))
    explorer = Explorer("embedded", {"lr": 0.05})  # which a figure of five settings does not take
    explorer.offer.train.click()
    assert explorer.offer.training is None
    assert "cannot be overridden in fig5" in said(explorer)
    assert not explorer.offer.train.disabled


def test_the_small_set_is_five_models_whatever_the_seed():
    found = [(config.method, config.seed) for config in small_set({"seed": 3})]
    assert found == [("abn", 3), ("lfi-cam-without-fin", 3), ("lfi-cam", 3), ("plain", 3), ("lfi-cam", 3)]


def test_two_clicks_are_one_training(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path))
    explorer, go, started = Explorer("embedded", TINY), Event(), []

    def slow(configs, on_epoch):
        started.append(configs)
        go.wait()

    monkeypatch.setattr("lficam.explorer.first_runs.train_elsewhere", slow)
    explorer.offer.train.click()
    explorer.offer.train.click()
    go.set()
    explorer.offer.training.join()
    assert len(started) == 1


def test_what_is_wrong_is_said_until_it_is_mended_whatever_else_succeeds(explorer):
    for method in SHOWN:
        explorer.maps[method].value = False
    unchosen = said(explorer)
    assert unchosen.startswith("no network is chosen")
    explorer.thumbnails.next.click()
    assert said(explorer) == unchosen
    upload(explorer, "letter.png", b"Dear Sir")
    assert said(explorer) == f"{unchosen}<br>letter.png cannot be read: expected a picture as PNG, JPEG, WEBP, BMP, GIF or TIFF"
    explorer.picture.width = 900
    explorer.maps["abn"].value = True
    assert said(explorer).startswith("letter.png")
    explorer.thumbnails.buttons[1].click()
    assert said(explorer) == ""


def test_a_sheet_with_an_image_that_cannot_be_read_leaves_the_one_before(explorer, monkeypatch):
    before = [(button.description, button.tooltip) for button in explorer.thumbnails.buttons]
    icons, shown, words = explorer.thumbnails.icons.value, explorer.thumbnails.shown, explorer.thumbnails.where.value
    broken = explorer.thumbnails._ids[A_SHEET + 4]

    thumbnail = Network.thumbnail

    def read(network, id):
        if id == broken:
            raise InputError("it is gone")
        return thumbnail(network, id)

    monkeypatch.setattr(Network, "thumbnail", read)
    explorer.thumbnails.next.click()
    assert said(explorer) == "it is gone"
    assert [(button.description, button.tooltip) for button in explorer.thumbnails.buttons] == before
    assert (explorer.thumbnails.icons.value, explorer.thumbnails.shown, explorer.thumbnails.where.value) == (icons, shown, words)
    explorer.thumbnails.buttons[4].click()
    assert explorer.state().image == shown[4]
    assert said(explorer) == ""


def test_a_data_set_that_is_gone_is_not_chosen(explorer, monkeypatch):
    before, state = picture(explorer), explorer.state()

    def gone(id):
        raise InputError("no data folder")

    with monkeypatch.context() as patch:
        patch.setattr(module, "network_of", gone)
        explorer.dataset.value = "digits-cifar100"
    assert said(explorer) == "no data folder"
    assert explorer.dataset.value == "digits-stl10"
    assert (picture(explorer), explorer.state()) == (before, state)
    explorer.thumbnails.buttons[2].click()
    assert said(explorer) == ""


def test_slices_of_a_file_are_put_together(explorer):
    content = encoded(size=(50, 40))
    upload(explorer, "mine.png", content, slice=1000)
    assert explorer.state().image == "upload:" + hashlib.sha256(content).hexdigest()
    upload(explorer, "half.png", b"")  # what an interrupted upload left does not matter
    assert "half.png is empty" in said(explorer)


def test_what_arrives_is_counted_whatever_was_said_of_its_size(explorer):
    before, slice = explorer.state(), bytes(2**20)
    for start in range(0, 3 * explorer.upload.most, len(slice)):
        about = {"name": "endless.png", "size": 2**60, "start": start}
        explorer.upload._on_slice(None, about, [memoryview(slice)])
        assert sum(map(len, explorer.upload._slices)) <= explorer.upload.most
    assert "endless.png is larger than 20 MB" in said(explorer)
    assert explorer.state() == before


def test_what_was_saved_is_said_of_that_picture_alone(explorer):
    explorer.save.click()
    assert "saved as" in explorer.saved.value
    explorer.threshold.value = 0.77
    assert explorer.saved.value == ""


def test_two_threads_wait_for_each_other(explorer, monkeypatch):
    """Models are shared, and what hooks into them would see the other thread's picture."""
    busy, most = [], []

    def slow(state):
        busy.append(state)
        most.append(len(busy))
        time.sleep(0.05)
        busy.pop()
        return b""

    monkeypatch.setattr(module, "render", slow)
    threads = [Thread(target=setattr, args=(explorer.opacity, "value", value)) for value in (0.1, 0.2, 0.3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
