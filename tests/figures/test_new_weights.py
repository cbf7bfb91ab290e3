import re

import pytest
import torch
from helpers import untrained_run

from lficam.figures.experiments import experiment
from lficam.figures.measured import Measured
from lficam.figures.new_weights import sanity_chart, sanity_figure
from lficam.metrics.localisation import localisation
from lficam.metrics.similarity import iou, spearman, top_overlap
from lficam.model.cam import resize_map

METHODS = ("abn", "lfi-cam-without-fin", "lfi-cam", "plain")


@pytest.fixture(scope="module")
def runs():
    return [untrained_run(method, seed, images=4) for method in METHODS for seed in (0, 1)]


@pytest.fixture(scope="module")
def sane(runs):
    return sanity_figure(experiment("extra5"), runs)


def correlations(sane, name, column="down_to_it"):
    return sane.table[sane.table["map"] == name].set_index("drawn_anew")[column]


def test_the_classifier_does_not_change_a_map_made_before_it(sane):
    for name in ("ABN's own map", "LFI-CAM's own map", "mean features, without FIN"):
        assert correlations(sane, name)[["trained", "fc"]].tolist() == pytest.approx([1, 1])
    assert correlations(sane, "Grad-CAM")["fc"] < 1
    assert correlations(sane, "plain network's CAM")["fc"] < 1  # made of the classifier's weights


def test_the_last_stage_of_the_cascade_is_the_untrained_network(runs, sane):
    index, own, between = experiment("extra5").judged_images(runs[0].dataset), [], []
    untrained = []
    for run in [run for run in runs if run.config.method == "lfi-cam"]:
        images = run.inputs(index)
        model = run.untrained()
        with torch.no_grad():
            untrained.append(model.explain(images).cam)
        own.append(spearman(untrained[-1], run.explained.cam[index]))
    between = spearman(*untrained)
    table = correlations(sane, "LFI-CAM's own map")
    assert table.iloc[-2] == pytest.approx(torch.stack(own).mean().item(), abs=1e-5)
    assert table["two untrained networks"] == pytest.approx(between.mean().item(), abs=1e-5)
    (verdict,) = sane.verdicts
    assert verdict.measured.mean == pytest.approx(1 - table.iloc[-2], abs=1e-5)


def test_a_plain_networks_maps_are_of_the_true_class_at_every_stage(runs, sane):
    index, found = experiment("extra5").judged_images(runs[0].dataset), []
    for run in [run for run in runs if run.config.method == "plain"]:
        images, labels = run.inputs(index), run.dataset.test.labels[index]
        with torch.no_grad():
            found.append(spearman(run.untrained().explain(images, labels).cam, run.model.explain(images, labels).cam))
    assert correlations(sane, "plain network's CAM").iloc[-2] == pytest.approx(torch.stack(found).mean().item(), abs=1e-5)


def test_a_stage_that_a_model_lacks_changes_nothing_in_the_picture(sane):
    lines = sane.drawing.panels[0]
    place = lines.x.index("FIN or branch")
    without = lines.lines["mean features, without FIN"]
    assert without[place] == without[place - 1]
    assert set(map(len, lines.lines.values())) == {len(lines.x)}
    alone = sane.drawing.panels[1]
    assert alone.x == lines.x[1:]
    assert alone.lines["mean features, without FIN"][alone.x.index("FIN or branch")] == 1


def test_alone_the_first_stage_from_the_output_is_what_it_is_in_the_cascade(sane):
    for name in sane.table["map"].unique():
        assert correlations(sane, name, "alone")["fc"] == pytest.approx(correlations(sane, name)["fc"])
        assert correlations(sane, name, "alone").isna().sum() == 2  # trained, two untrained
    assert correlations(sane, "LFI-CAM's own map", "alone")["stem"] != correlations(sane, "LFI-CAM's own map")["stem"]


def before_and_after(runs, sane):
    """Of each LFI-CAM, its map and that with all weights drawn anew, as large as the image."""
    index = experiment("extra5").judged_images(runs[0].dataset)
    for run in [run for run in runs if run.config.method == "lfi-cam"]:
        with torch.no_grad():
            anew = run.untrained().explain(run.inputs(index)).cam
        yield resize_map(run.explained.cam[index], (28, 28)), resize_map(anew, (28, 28)), run.masks(index)


def test_overlap_and_place_of_the_map_stand_beside_the_rank_correlation(runs, sane):
    maps = list(before_and_after(runs, sane))
    rows = sane.table[sane.table["map"] == "LFI-CAM's own map"].set_index("drawn_anew")
    last = rows.iloc[-2]
    for metric, measure in (("iou", iou), ("top_overlap", top_overlap)):
        expected = torch.stack([measure(own, anew) for own, anew, _ in maps]).mean().item()
        assert last[metric] == pytest.approx(expected, abs=1e-5)
    for metric in ("energy", "pointing"):
        own = torch.stack([localisation(own, masks)[metric] for own, _, masks in maps]).mean().item()
        anew = torch.stack([localisation(anew, masks)[metric] for _, anew, masks in maps]).mean().item()
        assert [rows.loc["trained", metric], last[metric]] == pytest.approx([own, anew], abs=1e-5)
        found = re.search(rf"{metric} from (\S+) to (\S+), more by (\S+) \[", sane.remarks[1])
        assert [float(value) for value in found.groups()] == pytest.approx([anew, own, own - anew], abs=0.005 + 1e-5)
    assert rows["iou"].notna().sum() == 1
    assert f"LFI-CAM's own map {last['iou']:.2f} [" in sane.remarks[0]


def test_the_figure_follows_from_what_was_measured(runs, sane, tmp_path):
    sane.measured.save(tmp_path / "measured.safetensors")
    again = sanity_chart(experiment("extra5"), Measured.load(tmp_path / "measured.safetensors"), runs)
    assert again.drawing == sane.drawing
    assert again.verdicts == sane.verdicts
