"""Planted truths: models whose maps part, or come together, while they learn."""

import pytest
import torch
from helpers import plant_maps, random_maps, untrained_run

from lficam.figures.experiments import experiment
from lficam.figures.learning import learning_figure
from lficam.metrics.stability import pairwise_stability

IMAGES, EPOCHS = 12, (0, 1, 2, 4)


@pytest.fixture(scope="module")
def result():
    plan, runs = experiment("extra8"), []
    for method in plan.methods:
        for seed in range(5):
            run = untrained_run(method, seed, images=IMAGES)
            plant_maps(run, common())
            lost = method == "lfi-cam"  # alike until epoch 2, then each for itself; all others the other way round
            run.__dict__["epoch_maps"] = {epoch: common() if (epoch <= 2) is lost else own(seed) for epoch in EPOCHS}
            run.history.extend({"accuracy": 0.1 * epoch + 0.01 * seed} for epoch in (1, 2, 3, 4))
            runs.append(run)
    return learning_figure(plan, runs)


def common():
    return random_maps(IMAGES, 7, 7, 99)


def own(seed):
    return random_maps(IMAGES, 7, 7, seed)


def rows(result, method):
    return result.table[result.table["method"] == method].set_index("epoch")


def test_agreement_is_that_of_the_maps_after_each_epoch(result):
    apart = pairwise_stability({str(k): (range(IMAGES), own(k)) for k in range(5)}, (28, 28), metrics=["iou"])["value"].mean()
    assert rows(result, "LFI-CAM")["iou"].tolist() == pytest.approx([1, 1, 1, apart])
    assert rows(result, "ABN")["iou"].tolist() == pytest.approx([apart, apart, apart, 1])
    assert rows(result, "LFI-CAM")["top_overlap"].tolist()[:3] == pytest.approx([1, 1, 1])
    assert set(result.table["number"]) == {5}
    assert set(result.table["images"]) == {IMAGES}


def test_accuracy_is_that_of_the_same_epochs_and_there_is_none_before_the_first(result):
    found = rows(result, "LFI-CAM")["train_accuracy"]
    assert torch.tensor(found.tolist()).isnan().tolist() == [True, False, False, False]
    assert found.tolist()[1:] == pytest.approx([0.12, 0.22, 0.42])


def test_the_picture_shows_what_the_table_says(result):
    iou, top, accuracy = result.drawing.panels
    assert iou.x == ["0", "1", "2", "4"]
    assert accuracy.x == ["1", "2", "4"]
    assert iou.lines["LFI-CAM"] == rows(result, "LFI-CAM")["iou"].tolist()
    assert top.lines["ABN"] == rows(result, "ABN")["top_overlap"].tolist()
    assert iou.bands["LFI-CAM"] == rows(result, "LFI-CAM")[["iou_low", "iou_high"]].to_numpy().tolist()
    assert accuracy.bands == {}
    assert "nothing" in result.drawing.footnote  # that they share


def test_whether_agreement_is_learned_or_lost_is_said(result):
    _, *trends = result.remarks
    by_method = dict(zip(result.table["method"].unique(), trends, strict=True))
    assert "by mean IoU lost, -" in by_method["LFI-CAM"]
    assert "by mean IoU learned, " in by_method["ABN"]
    assert "by overlap of the highest tenths learned, " in by_method["ABN"]
