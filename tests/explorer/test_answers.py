"""What a network says about one picture, against what it says of all, and against naive code where something is changed."""

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
import tiny_runs
import torch
from helpers import photographs, two_halves
from PIL import Image

from lficam.errors import InputError
from lficam.explorer import answers, gallery
from lficam.explorer.answers import KEPT, Network, box_of, iou_matrix, ranked
from lficam.explorer.gallery import network_of
from lficam.metrics.baselines import baseline_maps
from lficam.metrics.similarity import iou
from lficam.model.cam import normalize_map, resize_map
from lficam.model.lfi_cam import LFICAM
from lficam.training.config import RunConfig

BOX = (4, 6, 10, 20)  # rows 4 to 9, columns 6 to 19


@pytest.fixture
def lfi_cam(runs):
    return network_of(runs["lfi-cam"][0])


@pytest.mark.parametrize("method", ["lfi-cam", "lfi-cam-without-fin", "abn", "plain"])
def test_a_run_says_what_it_says_of_all_images(runs, images, method):
    network = network_of(runs[method][0])
    run = network.run
    for image in images[:5]:
        i, said = run.explained.ids.index(image), network.answer(image)
        assert torch.allclose(said.probabilities, run.explained.probabilities[i], atol=1e-5)
        assert torch.allclose(said.cam, run.explained.cam[i], atol=1e-4)
        if method in ("abn", "plain"):
            assert said.importance is None
        else:
            assert torch.allclose(said.importance, run.explained.importance[i], atol=1e-6)


def covered(run, image):
    """The model's input with the box at 0, pixel by pixel: (1, 3, 28, 28)."""
    x = run.inputs([run.explained.ids.index(image)]).clone()
    for row in range(4, 10):
        for column in range(6, 20):
            x[0, :, row, column] = 0
    return x


@pytest.mark.parametrize("method", ["lfi-cam", "lfi-cam-without-fin", "abn", "plain"])
def test_what_is_hidden_is_hidden_from_the_network(runs, images, method):
    network = network_of(runs[method][0])
    said = network.answer(images[0], BOX)
    with torch.inference_mode():
        expected = network.run.model.explain(covered(network.run, images[0]))
    assert torch.allclose(said.probabilities, expected.logits.softmax(1)[0], atol=1e-5)
    assert torch.allclose(said.cam, expected.cam[0], atol=1e-4)
    assert not torch.allclose(said.cam, network.answer(images[0]).cam, atol=1e-2)  # else the box would prove nothing


def test_grad_cam_is_that_of_the_predicted_class(runs, images):
    network = network_of(runs["lfi-cam"][0])
    run = network.run
    x = run.inputs([run.explained.ids.index(images[0])])
    predicted = network.answer(images[0]).probabilities.argmax()
    expected = baseline_maps("Grad-CAM", run.model, x, predicted.view(1))
    assert torch.allclose(network.grad_cam(images[0]), expected[0], atol=1e-5)


def test_grad_cam_can_be_made_of_a_run_that_was_loaded_by_asking_it(runs, images):
    gallery._network.cache_clear()
    with torch.inference_mode():
        network = network_of(runs["lfi-cam"][3])
        network.answer(images[0])
    assert network.grad_cam(images[0]).amax() == 1


def test_grad_cam_behind_the_square_is_that_of_the_class_that_is_predicted_there(runs, images, monkeypatch):
    asked, real = [], answers.baseline_maps

    def recorded(name, model, x, classes):
        asked.append((x, classes.tolist()))
        return real(name, model, x, classes)

    monkeypatch.setattr(answers, "baseline_maps", recorded)
    network = Network(network_of(runs["lfi-cam"][1]).run)  # which has said nothing yet
    for image in images[:6]:
        network.grad_cam(image, BOX)
        (x, classes) = asked.pop()
        assert torch.allclose(x, covered(network.run, image), atol=1e-5)
        assert classes == [network.answer(image, BOX).probabilities.argmax()]


def test_ious_are_those_of_the_resized_maps(runs, images):
    networks = [network_of(id) for id in runs["lfi-cam"]]
    maps = [resize_map(network.answer(images[0]).cam[None], (28, 28)) for network in networks]
    expected = {(a, b): iou(maps[a], maps[b], 0.37).item() for a, b in combinations(range(5), 2)}
    matrix = iou_matrix([network.compared(network.answer(images[0]).cam) for network in networks], 0.37)
    assert {(a, b): matrix[a, b].item() for a, b in expected} == pytest.approx(expected, abs=1e-6)
    assert torch.equal(matrix, matrix.T)
    assert matrix.diag().tolist() == [1] * 5


def test_with_no_channel_dropped_or_all_kept_the_map_is_the_learned_one(runs, images):
    network = network_of(runs["lfi-cam"][0])
    learned = network.answer(images[0])
    for k, keep in ((0, False), (network.channels, True)):
        changed = network.with_channels(images[0], k, keep)
        assert torch.allclose(changed.cam, learned.cam, atol=1e-5)
        assert torch.allclose(changed.probabilities, learned.probabilities, atol=1e-5)


def test_channels_are_kept_in_the_order_of_their_weights(runs, images):
    network = network_of(runs["lfi-cam"][1])
    learned = network.answer(images[1])
    first, second = learned.importance.topk(2).indices.tolist()
    alone = network.with_channels(images[1], 1, True)
    assert torch.allclose(alone.cam, normalize_map(learned.features[first].relu()[None, None])[0], atol=1e-5)
    weights = learned.importance.clone()
    weights[[first, second]] = 0
    with torch.inference_mode():  # as if what is left were all there is: the map's scale cancels its weights' sum
        expected = network.run.model.attend(learned.features[None], (weights / weights.sum())[None])
    rest = network.with_channels(images[1], 2, False)
    assert torch.allclose(rest.cam, expected.cam[0], atol=1e-5)
    assert torch.allclose(rest.probabilities, expected.logits.softmax(1)[0], atol=1e-5)
    assert torch.allclose(rest.importance, weights, atol=1e-6)
    assert ranked(torch.tensor([0.2, 0.5, 0.2, 0.1])).tolist() == [1, 0, 2, 3]  # equal ones in their order


def test_channels_that_have_no_weight_make_a_map_of_zeros(runs, images, monkeypatch):
    network, importance = Network(network_of(runs["lfi-cam"][0]).run), torch.zeros(64)
    learned = network.answer(images[0])
    importance[[3, 40]] = 0.5
    monkeypatch.setattr(Network, "answer", lambda self, image: learned._replace(importance=importance))
    left = network.with_channels(images[0], 2, False)
    assert (left.cam == 0).all()
    with torch.inference_mode():  # without attention: F' = F
        expected = network.run.model.fc(learned.features.mean((1, 2))).softmax(0)
    assert torch.allclose(left.probabilities, expected, atol=1e-5)


def test_only_a_run_that_weighs_its_channels_by_what_it_has_learned_has_some(runs, images):
    assert network_of(runs["lfi-cam"][0]).channels == 64
    assert network_of(runs["abn"][0]).channels is None
    assert network_of(runs["lfi-cam-without-fin"][0]).channels is None
    with pytest.raises(InputError, match="ABN has no learned importance of its channels: choose a run of LFI-CAM"):
        network_of(runs["abn"][0]).with_channels(images[0], 1, True)


@pytest.mark.parametrize(
    ("square", "expected"),
    [
        ((0.5, 0.5, 0.5), (5, 5, 15, 15)),
        ((0.25, 0.75, 0.2), (13, 3, 17, 7)),
        ((0.0, 1.0, 0.4), (16, 0, 20, 4)),  # cut at the corner
        ((0.5, 0.5, 1.0), (0, 0, 20, 20)),
        ((0.5, 0.5, 0.0), None),
        ((3.0, 0.5, 0.5), None),
        ((0.5, -9.0, 0.5), None),
    ],
)
def test_the_square_lies_where_it_should(square, expected):
    assert box_of(square, 20) == expected


def test_edges_between_two_pixels_go_to_the_nearest_and_halves_right_and_down():
    assert box_of((0.5, 0.5, 0.25), 28) == (11, 11, 18, 18)  # from 10.5 to 17.5
    assert box_of((0.49, 0.52, 0.25), 28) == (11, 10, 18, 17)  # from 10.22 and from 11.06
    assert box_of((0.53, 0.55, 0.25), 28) == (12, 11, 19, 18)  # from 11.34 and from 11.9


@pytest.mark.parametrize("side", [20, 28, 224])
def test_the_square_is_equally_large_wherever_it_is_in_the_picture(side):
    for size in (0.1, 0.25, 0.33, 0.4):
        width = round(size * side)
        for step in range(21):
            x = 0.25 + step * 0.025
            top, left, bottom, right = box_of((x, 1 - x, size), side)
            assert (bottom - top, right - left) == (width, width)
            assert abs((left + right) / 2 - x * side) <= 0.5 + 1e-9
            assert abs((top + bottom) / 2 - (1 - x) * side) <= 0.5 + 1e-9


def test_the_square_is_grey_to_the_eye_and_nothing_to_the_network(runs, images):
    network = network_of(runs["abn"][0])
    shown, whole = network.hidden(images[0], BOX), network.picture(images[0])
    for row in range(28):
        for column in range(28):
            inside = 4 <= row < 10 and 6 <= column < 20
            expected = torch.tensor(network.run.mean) if inside else whole[:, row, column]
            assert torch.equal(shown[:, row, column], expected)
    network_input = network._input(images[0], BOX)[0]
    assert (network_input[:, 4:10, 6:20] == 0).all()
    assert network.hidden(images[0], None) is whole


def test_each_question_is_answered_once_however_it_is_asked(runs, images, monkeypatch):
    network, asked = Network(network_of(runs["lfi-cam"][0]).run), []
    explain = LFICAM.explain

    def recorded(model, x):
        asked.append(x)
        return explain(model, x)

    monkeypatch.setattr(LFICAM, "explain", recorded)
    said = network.answer(images[0])
    assert network.answer(images[0], None) is network.answer(image=images[0], box=None) is said
    assert network.answer(images[0], BOX) is network.answer(images[0], box=BOX) is not said
    assert len(asked) == 2
    for image in images[1 : KEPT + 1]:
        network.answer(image)
        assert network.answer(images[0]) is said  # used again and again, it stays
    assert len(asked) == 2 + KEPT
    network.answer(images[0], BOX)  # the oldest has gone
    assert len(asked) == 2 + KEPT + 1


# Pictures ---------------------------------------------------------------------------------------------------------------------


def test_a_thumbnail_shows_every_pixel_four_times(lfi_cam, images):
    with Image.open(BytesIO(lfi_cam.thumbnail(images[0]))) as image:
        shown = np.asarray(image)
    test = lfi_cam.run.dataset.test
    pixels = test.images[test.ids.index(images[0])].permute(1, 2, 0).numpy()
    assert (shown == pixels.repeat(2, 0).repeat(2, 1)).all()


def test_a_test_image_and_its_class_are_those_of_the_data_set(lfi_cam, images):
    test = lfi_cam.run.dataset.test
    for id in images[:3]:
        assert torch.equal(lfi_cam.picture(id), test.images[test.ids.index(id)] / 255)
        assert lfi_cam.true_class(id) == id.split("/")[1]  # the class is part of the name


def test_images_on_disk_are_read_without_a_process_of_their_own(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("lficam.data.datasets.MEMORY_LIMIT", 0)
    root = photographs(tmp_path / "photographs")
    two_halves(60, 40).save(root / "test" / "cat" / "1.png")
    shape = {"trunk": "cifar_resnet8", "image_size": 16, "augmentation": "resized-crop-flip"}
    config = RunConfig(dataset="folder", data=str(root), epochs=1, **shape)
    network = network_of(tiny_runs.store(config, ["cat", "dog"]))
    run = network.run
    index = [i for i, name in enumerate(run.dataset.test.ids) if "cat" in name]
    expected = run.inputs(index)[0] * torch.tensor(run.std).view(3, 1, 1) + torch.tensor(run.mean).view(3, 1, 1)
    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter", None)
    assert torch.allclose(network.picture(run.dataset.test.ids[index[0]]), expected, atol=1e-6)


def test_an_unknown_image_is_refused(lfi_cam):
    with pytest.raises(InputError, match="no test image 'test/99' in digits-stl10"):
        lfi_cam.picture("test/99")
