import pytest
import torch
from helpers import untrained_run

from lficam.data.augmentation import normalize
from lficam.figures.experiments import experiment
from lficam.figures.hidden_pixels import PANELS, faithfulness_chart, faithfulness_figure
from lficam.figures.measured import Measured
from lficam.metrics.baselines import baseline_maps, random_maps
from lficam.metrics.faithfulness import blurred, faithfulness, insertion_deletion
from lficam.metrics.localisation import localisation

METHODS = ("abn", "lfi-cam-without-fin", "lfi-cam", "plain")
COUNT = 4


@pytest.fixture(scope="module")
def runs():
    return [untrained_run(method, seed, images=COUNT) for method in METHODS for seed in (0, 1)]


@pytest.fixture(scope="module")
def faithful(runs):
    return faithfulness_figure(experiment("extra4"), runs)


def judged(run, name):
    """One map's scores, made directly."""
    index = experiment("extra4").judged_images(run.dataset)
    images, classes = run.inputs(index), run.explained.probabilities[index].argmax(1)
    with torch.no_grad():
        untrained = run.untrained().explain(images).cam
    cams = {
        "LFI-CAM untrained": untrained,
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
        ("LFI-CAM untrained", "lfi-cam"),
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


def test_the_map_of_an_untrained_network_stands_beside_it(faithful):
    gain = faithful.table.set_index("map")["insertion_minus_deletion"]
    free = faithful.verdicts[0].free
    assert free.what == "an untrained network's map"
    assert free.measured.mean == pytest.approx(gain["LFI-CAM untrained"] - gain["random map"], abs=1e-5)
    assert free.excess.mean == pytest.approx(gain["LFI-CAM's own map"] - gain["LFI-CAM untrained"], abs=1e-5)


def test_the_figure_follows_from_what_was_measured(runs, faithful, tmp_path):
    faithful.measured.save(tmp_path / "measured.safetensors")
    again = faithfulness_chart(experiment("extra4"), Measured.load(tmp_path / "measured.safetensors"), runs)
    assert again.drawing == faithful.drawing
    assert again.verdicts == faithful.verdicts
    assert faithful.measured.runs == [run.id for run in runs]


def test_the_dashed_line_is_the_random_map_and_a_difference_has_its_zero(faithful):
    row = faithful.table.set_index("map").loc["random map"]
    for metric, panel in zip(PANELS, faithful.drawing.panels, strict=True):
        if metric == "less_than_own_map_by":
            assert (panel.mark, panel.zero) == (None, True)
        else:
            assert (panel.mark, panel.zero) == (pytest.approx(row[metric]), False)


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
