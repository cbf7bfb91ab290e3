import pytest
import torch
from helpers import untrained_run

from lficam.errors import InputError
from lficam.figures.class_dependence import (
    measure_two_objects,
    pairs_of_classes,
    shares_of_halves,
    two_objects_chart,
    two_objects_figure,
)
from lficam.figures.experiments import experiment
from lficam.metrics.baselines import baseline_maps


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1, 0, 1], [[0, 1], [2, 3]]),
        ([0, 0, 1, 2], [[0, 2], [1, 3]]),
        ([0, 0, 0, 1, 0], [[0, 3]]),  # the others have nothing to be paired with
    ],
)
def test_an_image_is_paired_with_the_next_one_of_another_class(labels, expected):
    assert pairs_of_classes(torch.tensor(labels)).tolist() == expected


def test_one_class_cannot_be_paired():
    with pytest.raises(InputError, match="all 3 images are of one class"):
        pairs_of_classes(torch.tensor([5, 5, 5]))


def test_the_share_of_a_half_worked_by_hand():
    cam = torch.tensor([[[[1.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]]]])  # 1.5 of 2 on the left
    assert shares_of_halves((cam, cam), (2, 4)).tolist() == [[0.75, 0.25]]
    assert shares_of_halves((cam, cam.flip(3)), (2, 4)).tolist() == [[0.75, 0.75]]
    assert shares_of_halves((cam * 0, cam), (2, 4)).tolist() == [[0, 0.25]]


@pytest.fixture(scope="module")
def result():
    methods = ("abn", "lfi-cam-without-fin", "lfi-cam", "plain")
    runs = [untrained_run(method, seed) for method in methods for seed in (0, 1)]
    return runs, two_objects_figure(experiment("extra6"), runs)


def test_one_map_for_all_classes_has_half_of_itself_on_what_is_asked_for(result):
    table = result[1].table.set_index("map")
    assert list(table.index) == ["ABN's own map", "LFI-CAM's own map", "Grad-CAM of LFI-CAM", "plain network's CAM"]
    for name in table.index[:2]:
        assert table.loc[name, ["share_in_asked_half", "share_in_asked_half_low"]].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)
    assert table.loc["Grad-CAM of LFI-CAM", "share_in_asked_half"] != pytest.approx(0.5, abs=1e-4)
    assert table["models"].tolist() == [2, 2, 2, 2]


def grad_cam(model, images, classes):
    return baseline_maps("Grad-CAM", model, images, classes)


def cam(model, images, classes):
    """The weighted sum of the feature maps, one image after another."""
    with torch.no_grad():
        sums = [
            (model.trunk(image[None])[0] * model.fc.weight[c, :, None, None]).sum(0)
            for image, c in zip(images, classes, strict=True)
        ]
    return torch.stack([(one - one.min()) / (one.max() - one.min()) for one in sums]).unsqueeze(1)


@pytest.mark.parametrize(
    ("name", "method", "maps_of"), [("Grad-CAM of LFI-CAM", "lfi-cam", grad_cam), ("plain network's CAM", "plain", cam)]
)
def test_the_share_of_a_map_for_each_class_follows_from_its_maps(result, name, method, maps_of):
    runs, figure = result
    index = torch.tensor(experiment("extra6").judged_images(runs[0].dataset))
    index = index[pairs_of_classes(runs[0].dataset.test.labels[index])]
    shares = []
    for run in [run for run in runs if run.config.method == method]:
        both = torch.cat([run.inputs(index[:, side].tolist()) for side in (0, 1)], 3)
        for side in (0, 1):
            maps = maps_of(run.model, both, run.dataset.test.labels[index[:, side]])
            left = torch.nn.functional.interpolate(maps, (28, 56), mode="bilinear").flatten(2).unflatten(2, (28, 56))
            left = (left - left.amin((2, 3), keepdim=True)) / (left.amax((2, 3), keepdim=True) - left.amin((2, 3), keepdim=True))
            half = left[..., 28 * side : 28 * (side + 1)].sum((1, 2, 3)) / left.sum((1, 2, 3))
            shares.append(half.nan_to_num())
    table = figure.table.set_index("map")
    assert table.loc[name, "share_in_asked_half"] == pytest.approx(torch.stack(shares).mean().item(), abs=1e-5)


def test_every_picture_shows_two_images_of_different_classes(result):
    runs, figure = result
    test = runs[0].dataset.test
    labels = dict(zip(test.ids, test.labels.tolist(), strict=True))
    assert len(figure.images) == experiment("extra6").shown
    for id, picture in figure.images.items():
        left, right = id.split(" | ")
        assert labels[left] != labels[right]
        assert picture.shape == (3, 28, 56)
        image = test.images[test.ids.index(right)] / 255
        assert torch.equal(picture[..., 28:], image)
    assert len(figure.drawing.panels) == 7 * experiment("extra6").shown


def test_the_chart_shows_the_same_numbers_and_no_picture(result):
    runs, figure = result
    measured = measure_two_objects(experiment("extra6"), runs)
    chart = two_objects_chart(experiment("extra6"), measured, runs)
    assert chart.table.equals(figure.table)
    assert chart.images == {}
    means = [[value[0] for value in panel.values] for panel in chart.drawing.panels]
    assert means == [figure.table[f"share_in_{half}_half"].tolist() for half in ("asked", "more_probable")]
