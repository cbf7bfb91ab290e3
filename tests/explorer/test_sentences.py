"""What the views say, against sentences and numbers worked out by other means."""

import re
from dataclasses import replace
from decimal import Decimal
from itertools import combinations

import numpy as np
import pytest
import torch
from tiny_runs import encoded, noise
from torch.nn import functional as F

from lficam.explorer.answers import Network
from lficam.explorer.gallery import browse, network_of
from lficam.explorer.own_pictures import add_upload
from lficam.explorer.scene import scene_of
from lficam.explorer.sentences import (
    Prediction,
    effect,
    how_alike,
    inside,
    predictions,
    setting,
    shown_maps,
    similarity,
    subject,
    titles,
    top_classes,
)
from lficam.metrics.importance import effective_channels
from lficam.metrics.similarity import iou
from lficam.model.cam import resize_map


@pytest.fixture
def upload():
    return add_upload("my secret.png", encoded(noise(50, 30)))


def true_label(image):
    return int(image.split("/")[1])  # the class is part of the name


# Predictions ------------------------------------------------------------------------------------------------------------------


def test_the_most_probable_classes_come_first_and_only_the_first_can_be_wrong(states, images):
    scene = scene_of(replace(states["methods"], image=next(id for id in images if true_label(id) == 4)))
    said = torch.tensor([0.0, 0.1, 0.0, 0.25, 0.5, 0.0, 0.0, 0.0, 0.15, 0.0])
    right = [Prediction("4", 0.5, False), Prediction("3", 0.25, False), Prediction("8", pytest.approx(0.15), False)]
    assert top_classes(scene, said, 3) == right
    assert top_classes(scene, said) == right[:1]
    assert len(top_classes(scene, said, 30)) == 10
    swapped = said[[0, 1, 2, 4, 3, 5, 6, 7, 8, 9]]
    assert top_classes(scene, swapped, 2) == [Prediction("3", 0.5, True), Prediction("4", 0.25, False)]


def test_after_a_name_stand_its_probability_and_a_cross_where_it_is_wrong():
    assert Prediction("cat", 0.456, False).number == " (0.46)"
    assert Prediction("cat", 1.0, True).number == " (1.00) ×"


def test_a_class_that_is_called_1_times_2_is_not_wrong_for_that(runs, states, monkeypatch):
    network = network_of(runs["lfi-cam"][0])
    image = next(id for id in browse(network) if network.answer(id).probabilities.argmax() == true_label(id))
    monkeypatch.setitem(vars(network.run), "classes", tuple(f"{k} × 2" for k in range(10)))
    scene = scene_of(replace(states["methods"], image=image, runs=(network.run.id,)))
    probability, label = network.answer(image).probabilities.max(0)
    assert predictions(scene) == [f"LFI-CAM: {label} × 2 ({probability:.2f})."]
    (shown,) = shown_maps(scene)
    assert shown.predictions == [Prediction(f"{label} × 2", pytest.approx(float(probability)), False)]


def test_a_wrong_prediction_is_called_wrong(states):
    state = replace(states["methods"], runs=states["methods"].runs[:1])
    probability, label = network_of(state.runs[0]).answer(state.image).probabilities.max(0)
    assert label != true_label(state.image)
    assert predictions(scene_of(state)) == [f"LFI-CAM: {label} ({probability:.2f}), wrong."]


def test_each_map_has_its_own_title_and_its_own_networks_prediction(runs, states):
    """Grad-CAM's network is another than those that are shown, and predicts another class than 0."""
    image = states["methods"].image
    last = next(id for id in runs["lfi-cam"][1:] if network_of(id).answer(image).probabilities.argmax() != 0)
    state = replace(states["methods"], grad_cam=last)
    networks = [network_of(id) for id in (*state.runs, last)]
    for box in (None, (4, 6, 20, 24)):
        shown = shown_maps(scene_of(state), box, most=3)
        assert [title.replace("\n", " ") for title, *_ in shown] == [
            *("LFI-CAM", "LFI-CAM without FIN", "ABN"),
            "Grad-CAM of LFI-CAM",
        ]
        maps = [network.answer(image, box).cam for network in networks[:3]] + [networks[3].grad_cam(image, box)]
        maps = [network.compared(cam) for network, cam in zip(networks, maps, strict=True)]
        for network, cam, found in zip(networks, maps, shown, strict=True):
            assert torch.equal(found.cam, cam)
            values, labels = network.answer(image, box).probabilities.topk(3)
            expected = [(str(label), value) for label, value in zip(labels.tolist(), values.tolist(), strict=True)]
            assert [prediction[:2] for prediction in found.predictions] == expected[: len(found.predictions)]
            assert len(found.predictions) == (1 if "Grad" in found.title else 3)
        assert not any(torch.equal(a, b) for a, b in combinations(maps, 2))  # else the wrong one would not be noticed


def test_grad_cam_is_named_after_its_method(runs, states):
    for method, name in (("lfi-cam", "LFI-CAM"), ("lfi-cam-without-fin", "LFI-CAM without FIN")):
        scene = scene_of(replace(states["methods"], runs=runs["abn"][:1], grad_cam=runs[method][0]))
        assert [shown.title for shown in shown_maps(scene)] == ["ABN", f"Grad-CAM of\n{name}"]
        assert predictions(scene)[1].startswith(f"Grad-CAM of {name}: ")


# Titles -----------------------------------------------------------------------------------------------------------------------


def test_a_setting_is_named_where_a_method_has_several_runs(runs, states):
    first, second = runs["lfi-cam"][:2]
    abn = runs["abn"][0]
    one, two = (setting(network_of(id)) for id in (first, second))
    assert one == "lr 0.1\nbatch 32\ndecay 0.0001"
    assert one != two
    state = replace(states["methods"], runs=(second, abn, first))
    assert titles(scene_of(state)) == [f"LFI-CAM\n{two}", "ABN", f"LFI-CAM\n{one}"]
    assert titles(scene_of(replace(state, runs=(abn, first)))) == ["ABN", "LFI-CAM"]
    assert setting(network_of(runs["lfi-cam-without-fin"][1])).split("\n")[3:] == ["seed 1"]


def test_the_subject_is_the_picture_and_what_the_networks_were_trained_on(states, upload):
    image = states["fin"].image
    data = "cluttered digits (stand-in for STL10)"
    said = {view: subject(scene_of(state)) for view, state in states.items()}
    assert said["methods"] == said["occlusion"] == f"{data}: test image {image}, true class {true_label(image)}"
    assert said["settings"] == said["fin"] == f"LFI-CAM, {said['methods']}"
    assert subject(scene_of(replace(states["occlusion"], image=upload))) == f"{data}: your picture"


def test_of_an_uploaded_picture_nothing_is_wrong(states, upload):
    said = predictions(scene_of(replace(states["methods"], image=upload)))
    assert len(said) == 3
    assert not [words for words in said if "wrong" in words or "secret" in words]


# How alike --------------------------------------------------------------------------------------------------------------------


def test_how_alike_two_maps_are_worked_by_hand():
    matrix = torch.tensor([[1.0, 0.256], [0.256, 1.0]])
    assert how_alike(matrix, 100 / 255) == ["IoU 0.26.", "IoU of the areas above 0.39."]


def test_how_alike_several_maps_are_worked_by_hand():
    pairs = {(0, 1): 0.5, (0, 2): 0.875, (0, 3): 0.25, (1, 2): 0.125, (1, 3): 0.75, (2, 3): 0.5}
    matrix = torch.eye(4)
    for (a, b), value in pairs.items():
        matrix[a, b] = matrix[b, a] = value
    assert how_alike(matrix, 0.2) == [
        "Mean IoU 0.50.",
        "IoU of the areas above 0.20, over 6 pairs.",
        "Least alike: models 2 and 3 (0.12).",  # 0.125 is printed to the even digit
        "Most alike: models 1 and 3 (0.88).",
    ]


def test_the_similarity_is_that_of_the_resized_maps_in_the_order_of_the_runs(states):
    state = replace(states["settings"], threshold=0.37)
    maps = [resize_map(network_of(id).answer(state.image).cam[None], (28, 28)) for id in state.runs]
    expected = torch.tensor([[iou(a, b, 0.37).item() for a in maps] for b in maps])
    assert torch.allclose(similarity(scene_of(state)), expected, atol=1e-6)
    backwards = scene_of(replace(state, runs=state.runs[::-1]))
    assert torch.allclose(similarity(backwards), expected.flip(0, 1), atol=1e-6)


# Inside the FIN ---------------------------------------------------------------------------------------------------------------


def test_what_becomes_of_a_run_with_fewer_channels(states):
    state = replace(states["fin"], k=5, keep=False, threshold=0.3)
    network = network_of(state.runs[0])
    learned, changed = network.answer(state.image), network.with_channels(state.image, 5, False)
    effective, share, change, overlap = inside(scene_of(state))
    assert effective == f"Effective number of channels: {effective_channels(learned.importance[None]).item():.1f} of 64."
    assert share == f"The top 5 hold {learned.importance.sort(descending=True).values[:5].sum().item():.1%} of the weight."
    label = learned.probabilities.argmax()
    assert change.startswith(f"The probability of {label} ")
    assert f"{changed.probabilities[label]:.2f}" in change
    maps = [resize_map(said.cam[None], (28, 28)) for said in (learned, changed)]
    assert overlap == f"IoU of the areas above 0.30: {iou(*maps, 0.3).item():.2f}."


def test_one_channel_holds_and_all_are_those_that_there_are(states):
    state = states["fin"]
    network = network_of(state.runs[0])
    largest = network.answer(state.image).importance.max().item()
    assert inside(scene_of(replace(state, k=1)))[1] == f"The top 1 holds {largest:.1%} of the weight."
    everything = inside(scene_of(replace(state, k=network.channels)))
    assert everything[1] == "The top 64 hold 100.0% of the weight."
    assert "stays at" in everything[2]
    assert everything[3] == "IoU of the areas above 0.39: 1.00."


# Behind the square ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def between(states, monkeypatch):
    """The sentence on a change between two lists of probabilities, in the place of what the run says."""
    state = replace(states["occlusion"], runs=states["occlusion"].runs[:1])

    def sentence(before, after):
        scene = scene_of(state)
        said = scene.first.answer(state.image)
        before, after = (
            said._replace(probabilities=F.pad(torch.tensor(values), (0, 10 - len(values)))) for values in (before, after)
        )
        with monkeypatch.context() as patch:
            patch.setattr(Network, "answer", lambda self, image, box=None: before if box is None else after)
            (words,) = effect(scene)
        return words.removeprefix("LFI-CAM: ")

    return sentence


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((0.9, 0.1), (0.6, 0.4), "probability of 0 falls from 0.90 to 0.60 (−0.30)."),
        ((0.3, 0.7), (0.0, 1.0), "probability of 1 rises from 0.70 to 1.00 (+0.30)."),
        ((0.7, 0.3), (0.2, 0.8), "probability of 0 falls from 0.70 to 0.20 (−0.50); now 1 (0.80)."),
        ((0.501, 0.499), (0.499, 0.501), "probability of 0 stays at 0.50; now 1 (0.50)."),
        ((0.6, 0.4), (0.6, 0.4), "probability of 0 stays at 0.60."),
        ((0.996, 0.004), (0.994, 0.006), "probability of 0 falls from 1.00 to 0.99 (−0.01)."),  # though by 0.002 only
    ],
)
def test_what_becomes_of_a_prediction_worked_by_hand(between, before, after, expected):
    assert between(before, after) == expected


def test_the_printed_difference_is_that_of_the_printed_numbers(between):
    generator, changed = np.random.default_rng(0), 0
    for _ in range(200):
        before, after = generator.dirichlet((2, 1)).tolist(), generator.dirichlet((2, 1)).tolist()
        words = between(before, after)
        found = re.search(r"(falls|rises) from (\d\.\d\d) to (\d\.\d\d) \(([+−]\d\.\d\d)\)", words)
        if found is None:
            assert "stays at" in words
            continue
        changed += 1
        verb, old, new, difference = found.groups()
        assert Decimal(new) - Decimal(old) == Decimal(difference.replace("−", "-"))
        assert (verb == "rises") == (Decimal(new) > Decimal(old))
    assert changed > 150


def test_the_effect_is_that_of_each_run_behind_the_square(states):
    scene = scene_of(replace(states["occlusion"], square=(0.5, 0.5, 1.0)))
    image = scene.state.image
    assert scene.box == (0, 0, 28, 28)
    said = effect(scene)
    assert [words.split(":")[0] for words in said] == ["LFI-CAM", "LFI-CAM without FIN", "ABN"]
    for network, words in zip(scene.networks, said, strict=True):
        before, after = network.answer(image).probabilities, network.answer(image, (0, 0, 28, 28)).probabilities
        label, now = before.argmax(), after.argmax()
        assert f"probability of {label} " in words
        assert f"{after[label]:.2f}" in words
        assert words.endswith(f"; now {now} ({after[now]:.2f}).") == (label != now)


def test_a_square_beside_the_picture_changes_nothing(states):
    said = effect(scene_of(replace(states["occlusion"], square=(7.0, 0.5, 0.25))))
    assert len(said) == 3
    assert [words for words in said if "stays at" not in words or "now" in words] == []


def test_a_long_name_does_not_fill_a_sentence(states, between, monkeypatch):
    network = network_of(states["occlusion"].runs[0])
    monkeypatch.setitem(vars(network.run), "classes", ("soft-coated Wheaten terrier", "24 letters are just fine", *"abcdefgh"))
    assert between((0.9, 0.1), (0.4, 0.6)) == (
        "probability of soft-coated Wheaten ter… falls from 0.90 to 0.40 (−0.50); now 24 letters are just fine (0.60)."
    )
