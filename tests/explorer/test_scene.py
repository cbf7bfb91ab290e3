"""What a state names: found once, and refused where it does not fit together."""

from dataclasses import replace

import pytest
import tiny_runs
import torch
from helpers import photographs, write_image
from PIL import Image

from lficam.errors import InputError
from lficam.explorer import gallery
from lficam.explorer.gallery import network_of
from lficam.explorer.own_pictures import add_upload
from lficam.explorer.render import caption, panel_at, render, save_view
from lficam.explorer.scene import scene_of
from lficam.explorer.state import TITLES, State
from lficam.figures.experiments import experiment
from lficam.training.config import RunConfig


@pytest.mark.parametrize("view", TITLES)
def test_a_scene_holds_what_the_state_names(runs, states, view):
    state = replace(states[view], grad_cam=runs["lfi-cam"][1], square=(0.25, 0.5, 0.5))
    scene = scene_of(state)
    assert scene.state is state
    assert scene.networks == tuple(map(network_of, state.runs))
    assert scene.first is scene.networks[0]
    assert scene.explained is (network_of(state.grad_cam) if view in ("methods", "occlusion") else None)
    assert torch.equal(scene.pixels, scene.first.picture(state.image))
    assert scene.true_class == state.image.split("/")[1]  # the class is part of the name
    assert (scene.side, scene.box) == (28, (7, 0, 21, 14))
    assert scene.look == (state.threshold, state.opacity, state.color_map, state.contour)


def test_of_an_upload_nobody_knows_the_class(states):
    image = add_upload("mine.png", tiny_runs.encoded(tiny_runs.noise(30, 30)))
    assert scene_of(replace(states["methods"], image=image)).true_class is None


@pytest.mark.parametrize("view", TITLES)
def test_each_id_is_looked_up_once_a_picture(runs, states, view, monkeypatch, tmp_path):
    state, found, real = replace(states[view], grad_cam=runs["lfi-cam"][1], opacity=0.77), [], gallery._network

    def recorded(run_id, config):
        found.append(run_id)
        return real(run_id, config)

    monkeypatch.setattr(gallery, "_network", recorded)
    named = [*state.runs, state.grad_cam] if view in ("methods", "occlusion") else list(state.runs)
    assert caption(state)
    assert render(state)
    panel_at(state, 0.1, 0.5)
    assert found == named
    save_view(state, tmp_path)
    assert found == named * 2


REFUSED = {
    "run": ({"runs": ("none",)}, "no run 'none' in "),
    "image": ({"image": "test/none"}, "no test image 'test/none' in digits-stl10: choose one of its thumbnails"),
    "upload": ({"image": "upload:123"}, "your picture is no longer kept (the last 20 are): upload it again"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_there_is_not_is_refused(states, case):
    change, message = REFUSED[case]
    with pytest.raises(InputError) as refused:
        scene_of(replace(states["methods"], **change))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_what_a_view_cannot_show_is_refused(runs, states):
    abn, without_fin, lfi_cam = runs["abn"][0], runs["lfi-cam-without-fin"][0], runs["lfi-cam"][0]
    image, catdog = states["fin"].image, runs["catdog"]
    fin, different_data = "has no Feature Importance Network to look into: choose a run of LFI-CAM", "trained on different data"
    for state, message in (
        (State(image, (abn,), "fin"), f"ABN {fin}"),
        (State(image, (without_fin,), "fin"), f"LFI-CAM without FIN {fin}"),
        (State(image, (abn, lfi_cam), "settings"), "settings are compared within one method: choose runs of one method"),
        (State(image, (lfi_cam, *catdog)), different_data),
        (State(image, (abn,), grad_cam=abn), "Grad-CAM is made of an LFI-CAM: choose a run of LFI-CAM or LFI-CAM without FIN"),
        (State(image, (abn,), grad_cam=catdog[0]), different_data),
    ):
        with pytest.raises(InputError, match=message):
            scene_of(state)


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
        scene_of(state)


def test_runs_with_classes_in_another_order_are_not_compared(runs):
    config = experiment("fig6", overrides=tiny_runs.OVERRIDES).configs()[-1]
    other = tiny_runs.store(config.model_copy(update={"seed": 7}), ["5", "3"])
    image = network_of(other).run.dataset.test.ids[0]
    assert torch.equal(
        network_of(other).picture(image), network_of(runs["catdog"][0]).picture(image)
    )  # nothing else tells them apart
    with pytest.raises(InputError, match="trained on different data: choose runs of one data set"):
        scene_of(State(image, (*runs["catdog"], other)))


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
    image = network_of(small).run.dataset.test.ids[0]
    for state in (State(image, (small, large)), State(image, (small,), grad_cam=large)):
        with pytest.raises(InputError, match="trained on different data: choose runs of one data set"):
            scene_of(state)


def test_runs_that_see_different_pictures_under_one_name_are_not_compared(runs, tmp_path):
    red, blue = folder_run(tmp_path / "red", 0, (255, 0, 0)), folder_run(tmp_path / "blue", 1, (0, 0, 255))
    image = network_of(red).run.dataset.test.ids[0]
    assert network_of(blue).run.dataset.test.ids == network_of(red).run.dataset.test.ids
    scene_of(State(image, (red,)))
    scene_of(State(image, (blue,)))
    for state in (State(image, (red, blue)), State(image, (blue,), grad_cam=red), State(image, (red, blue), "settings")):
        with pytest.raises(InputError, match="do not see the same picture: choose runs trained on the same data in the same way"):
            scene_of(state)


def test_runs_that_cut_the_picture_differently_are_not_compared_and_others_are(runs, tmp_path):
    root = tmp_path / "photographs"
    whole, padded, cut = (
        folder_run(root, 0, (9, 200, 40), augmentation=name) for name in ("none", "crop-flip", "resized-crop-flip")
    )
    image = network_of(whole).run.dataset.test.ids[0]
    scene_of(State(image, (whole, padded)))  # they were trained differently, and are tested alike
    with pytest.raises(InputError, match="do not see the same picture"):
        scene_of(State(image, (whole, cut)))
    upload = add_upload("mine.png", (root / "test" / "cat" / "1.png").read_bytes())
    scene_of(State(upload, (whole, padded)))
    with pytest.raises(InputError, match="do not see the same picture"):
        scene_of(State(upload, (whole, cut)))
