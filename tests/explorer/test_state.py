"""What a state can be: every field at its limits, and runs that do not fit together."""

from dataclasses import replace

import pytest
import tiny_runs
import torch
from helpers import photographs, write_image
from PIL import Image

from lficam.errors import InputError
from lficam.explorer.gallery import picture, run_of
from lficam.explorer.own_pictures import add_upload
from lficam.explorer.state import COLOR_MAPS, TITLES, WIDTHS, State, check, page_width
from lficam.figures.experiments import experiment
from lficam.training.config import RunConfig

REFUSED = {
    "view": ({"view": "all"}, "unknown view 'all': expected one of methods, settings, fin, occlusion"),
    "colour map": ({"color_map": "jet"}, "unknown colour map 'jet': expected one of inferno, viridis, cividis, gray"),
    "threshold": ({"threshold": 1.5}, "threshold 1.5: expected 0 to 1"),
    "below 0": ({"threshold": -0.1}, "threshold -0.1: expected 0 to 1"),
    "nan": ({"opacity": float("nan")}, "opacity nan: expected 0 to 1"),
    "square": ({"square": (0.5, 0.5, 2)}, "side of the square 2: expected 0 to 1"),
    "width": ({"width": 5}, "width 5: expected one of 6.9, 5.2, 3.7"),
    "place": ({"square": (float("inf"), 0.5, 0.2)}, "square (inf, 0.5, 0.2): expected finite numbers"),
    "no run": ({"runs": ()}, "the view 'methods' shows 1 to 5 runs, 0 chosen: choose others"),
    "six runs": ({"runs": tuple("abcdef")}, "the view 'methods' shows 1 to 5 runs, 6 chosen: choose others"),
    "a run twice": ({"runs": ("a", "b", "a")}, "runs ('a', 'b', 'a'): expected a tuple of ids, each of them once"),
    "a list": ({"runs": ["a", "b"]}, "runs ['a', 'b']: expected a tuple of ids, each of them once"),
    "a single id": ({"runs": "a"}, "runs a: expected a tuple of ids, each of them once"),
    "run": ({"runs": ("none",)}, "no run 'none' in "),
    "image": ({"image": "test/none"}, "no test image 'test/none' in digits-stl10: choose one of its thumbnails"),
    "upload": ({"image": "upload:123"}, "your picture is no longer kept (the last 20 are): upload it again"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_state_cannot_be_is_refused(states, case):
    change, message = REFUSED[case]
    with pytest.raises(InputError) as refused:
        check(replace(states["methods"], **change))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        *({"threshold": 0}, {"threshold": 1}, {"opacity": 0}, {"opacity": 1}),
        *({"square": (0.5, 0.5, 0)}, {"square": (0.5, 0.5, 1)}, {"square": (-7.0, 9.0, 0.5)}),
        *({"width": width} for width in WIDTHS),
        *({"color_map": name} for name in COLOR_MAPS),
        *({"view": view} for view in ("methods", "occlusion", "fin")),
    ],
)
def test_what_a_state_can_be_is_not_refused(states, change):
    check(replace(states["methods"], **change))


def test_what_a_view_cannot_show_is_refused(runs, states):
    abn, without_fin, lfi_cam = runs["abn"][0], runs["lfi-cam-without-fin"][0], runs["lfi-cam"][0]
    image, catdog = states["fin"].image, runs["catdog"]
    fin, different_data = "has no Feature Importance Network to look into: choose a run of LFI-CAM", "trained on different data"
    for state, message in (
        (State(image, (abn,), "fin"), f"ABN {fin}"),
        (State(image, (without_fin,), "fin"), f"LFI-CAM without FIN {fin}"),
        (State(image, (abn,), "settings"), "the view 'settings' shows 2 to 5 runs, 1 chosen: choose others"),
        (State(image, (abn, lfi_cam), "settings"), "settings are compared within one method: choose runs of one method"),
        (State(image, (lfi_cam, *catdog)), different_data),
        (State(image, (abn,), grad_cam=abn), "Grad-CAM is made of an LFI-CAM: choose a run of LFI-CAM or LFI-CAM without FIN"),
        (State(image, (abn,), grad_cam=catdog[0]), different_data),
    ):
        with pytest.raises(InputError, match=message):
            check(state)


def test_what_a_view_can_show_is_not_refused(runs, states):
    image, (lfi_cam, *_), (without_fin, _) = states["fin"].image, runs["lfi-cam"], runs["lfi-cam-without-fin"]
    for state in (
        State(image, runs["abn"], "settings"),
        State(image, runs["abn"][:2], "settings"),
        State(image, runs["lfi-cam"], "fin"),
        State(image, (lfi_cam, *runs["abn"][:4]), "fin"),  # the first counts
        State(image, runs["abn"], grad_cam=lfi_cam),
        State(image, runs["abn"], "occlusion", grad_cam=without_fin),
        State(image, (lfi_cam,), "fin", grad_cam="none"),  # which this view does not show
        State(image, runs["abn"], "settings", grad_cam=runs["catdog"][0]),
    ):
        check(state)


def test_grad_cam_is_shown_where_maps_of_methods_are(states):
    shown = {view: replace(states[view], grad_cam="a").shows_grad_cam for view in TITLES}
    assert shown == {"methods": True, "settings": False, "fin": False, "occlusion": True}
    assert not states["methods"].shows_grad_cam


def test_runs_with_classes_in_another_order_are_not_compared(runs):
    config = experiment("fig6", overrides=tiny_runs.OVERRIDES).configs()[-1]
    other = tiny_runs.store(config.model_copy(update={"seed": 7}), ["5", "3"])
    image = run_of(other).dataset.test.ids[0]
    assert torch.equal(picture(other, image), picture(runs["catdog"][0], image))  # nothing else tells them apart
    with pytest.raises(InputError, match="trained on different data: choose runs of one data set"):
        check(State(image, (*runs["catdog"], other)))


def folder_run(root, seed, color, **changes):
    """A run on images of 30 x 20 pixels of one colour, left half of them black."""
    if not root.exists():
        photographs(root)
        for name in ("cat", "dog"):
            image = Image.new("RGB", (30, 20))
            image.paste(color, (15, 0, 30, 20))
            write_image(root / "test" / name / "1.png", image)
    shape = {"trunk": "cifar_resnet8", "image_size": 16, "augmentation": "none"}
    config = RunConfig(dataset="folder", data=str(root), epochs=1, seed=seed, **(shape | changes))
    return tiny_runs.store(config, ["cat", "dog"])


def test_runs_with_images_of_another_size_are_not_compared(runs, tmp_path):
    small, large = (folder_run(tmp_path / "photographs", 0, (9, 200, 40), image_size=side) for side in (16, 24))
    image = run_of(small).dataset.test.ids[0]
    for state in (State(image, (small, large)), State(image, (small,), grad_cam=large)):
        with pytest.raises(InputError, match="trained on different data: choose runs of one data set"):
            check(state)


def test_runs_that_see_different_pictures_under_one_name_are_not_compared(runs, tmp_path):
    red, blue = folder_run(tmp_path / "red", 0, (255, 0, 0)), folder_run(tmp_path / "blue", 1, (0, 0, 255))
    image = run_of(red).dataset.test.ids[0]
    assert run_of(blue).dataset.test.ids == run_of(red).dataset.test.ids
    check(State(image, (red,)))
    check(State(image, (blue,)))
    for state in (State(image, (red, blue)), State(image, (blue,), grad_cam=red), State(image, (red, blue), "settings")):
        with pytest.raises(InputError, match="do not see the same picture: choose runs trained on the same data in the same way"):
            check(state)


def test_runs_that_cut_the_picture_differently_are_not_compared_and_others_are(runs, tmp_path):
    root = tmp_path / "photographs"
    whole, padded, cut = (
        folder_run(root, 0, (9, 200, 40), augmentation=name) for name in ("none", "crop-flip", "resized-crop-flip")
    )
    image = run_of(whole).dataset.test.ids[0]
    check(State(image, (whole, padded)))  # they were trained differently, and are tested alike
    with pytest.raises(InputError, match="do not see the same picture"):
        check(State(image, (whole, cut)))
    upload = add_upload("mine.png", (root / "test" / "cat" / "1.png").read_bytes())
    check(State(upload, (whole, padded)))
    with pytest.raises(InputError, match="do not see the same picture"):
        check(State(upload, (whole, cut)))


@pytest.mark.parametrize(
    ("pixels", "inches"),
    [(0, 6.9), (10_000, 6.9), (621, 6.9), (620, 5.2), (468, 5.2), (467, 3.7), (333, 3.7), (332, 3.7), (1, 3.7)],
)
def test_a_page_is_as_wide_as_can_be_read_at_90_pixels_an_inch(pixels, inches):
    assert page_width(pixels) == inches
