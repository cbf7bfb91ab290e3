import pytest
import torch
from helpers import untrained_run

from lficam.data.augmentation import normalize
from lficam.figures.experiments import experiment
from lficam.figures.trust import PANELS, faithfulness_figure, sanity_figure
from lficam.metrics.baselines import baseline_maps, random_maps
from lficam.metrics.faithfulness import blurred, faithfulness, insertion_deletion
from lficam.metrics.localisation import localisation
from lficam.metrics.similarity import spearman

METHODS = ("abn", "lfi-cam-without-fin", "lfi-cam", "plain")
COUNT = 4


@pytest.fixture(scope="module")
def runs():
    return [untrained_run(method, seed, images=COUNT) for method in METHODS for seed in (0, 1)]


@pytest.fixture(scope="module")
def faithful(runs):
    return faithfulness_figure(experiment("extra4"), runs)


@pytest.fixture(scope="module")
def sane(runs):
    return sanity_figure(experiment("extra5"), runs)


def judged(run, name):
    """One map's scores, made directly."""
    index = experiment("extra4").judged_images(run.dataset)
    images, classes = run.inputs(index), run.explained.probabilities[index].argmax(1)
    cams = {
        "LFI-CAM's own map": run.explained.cam[index],
        "ABN's own map": run.explained.cam[index],
        "plain network's CAM": run.explained.cam[index],
        "mean features, with FIN": run.explained.mean_features[index],
        "mean features, without FIN": run.explained.mean_features[index],
        "random map": random_maps(COUNT, 7, run.config.seed),
    }
    cam = baseline_maps(name, run.model, images, classes) if name not in cams else cams[name]
    return faithfulness(run.model, images, cam, classes) | localisation(cam, run.dataset.test.objects[index])


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("ABN's own map", "abn"),
        ("mean features, without FIN", "lfi-cam-without-fin"),
        *((name, "lfi-cam") for name in ("LFI-CAM's own map", "mean features, with FIN", "Grad-CAM", "Score-CAM", "LayerCAM")),
        ("random map", "lfi-cam"),
        ("plain network's CAM", "plain"),
    ],
)
def test_every_map_is_judged_by_its_own_model(runs, faithful, name, method):
    row = faithful.table.set_index("map").loc[name]
    scores = [judged(run, name) for run in runs if run.config.method == method]
    for metric in ("insertion", "deletion", "pointing", "energy"):
        assert row[metric] == pytest.approx(torch.stack([one[metric] for one in scores]).mean().item(), abs=1e-5), metric
    assert row["insertion_minus_deletion"] == pytest.approx(row["insertion"] - row["deletion"], abs=1e-5)
    assert row["models"] == 2


def test_faithfulness_is_judged_by_differences_on_the_same_images(faithful):
    gain = faithful.table.set_index("map")["insertion_minus_deletion"]
    e4, e5 = faithful.verdicts
    assert (e4.claim, e5.claim) == ("E4", "E5")
    assert e4.measured.mean == pytest.approx(gain["LFI-CAM's own map"] - gain["random map"], abs=1e-5)
    assert e5.measured.mean == pytest.approx(gain["LFI-CAM's own map"] - gain["Grad-CAM"], abs=1e-5)


def test_the_dashed_line_is_the_random_map(faithful):
    row = faithful.table.set_index("map").loc["random map"]
    assert [panel.mark for panel in faithful.drawing.panels] == pytest.approx(row[list(PANELS)].tolist())


def test_what_a_hidden_pixel_shows_is_varied(runs, faithful):
    index, found = experiment("extra4").judged_images(runs[0].dataset), {"blurred": [], "black": []}
    for run in [run for run in runs if run.config.method == "lfi-cam"]:
        images, classes, cam = run.inputs(index), run.explained.probabilities[index].argmax(1), run.explained.cam[index]
        black = normalize(torch.zeros_like(images), run.mean, run.std)
        for name, under in (("blurred", blurred(images)), ("black", black)):
            one = insertion_deletion(run.model, images, cam, classes, under=under)
            found[name].append(one["insertion"] - one["deletion"])
    row = faithful.table.set_index("map").loc["LFI-CAM's own map"]
    for name, values in found.items():
        assert row[f"insertion_minus_deletion_{name}"] == pytest.approx(torch.stack(values).mean().item(), abs=1e-5)
    assert len({round(row[f"insertion_minus_deletion{name}"], 6) for name in ("", "_blurred", "_black")}) == 3


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
