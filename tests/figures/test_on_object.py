"""C1 by several models, from answers in which the energies are planted."""

import pytest
import torch
from helpers import plant_maps, random_maps, untrained_run

from lficam.figures.experiments import experiment
from lficam.figures.on_object import ANYONES, objects_figure

IMAGES = 6
ENERGY = {"abn": 0.3, "lfi-cam-without-fin": 0.4, "lfi-cam": 0.6, "plain": 0.5}


def run_of(method, seed, of_mean_features):
    run = untrained_run(method, seed, images=IMAGES)
    plant_maps(run, random_maps(IMAGES, 7, 7, seed))
    energy = torch.full((IMAGES,), ENERGY[method] + seed / 1000)
    answers = run.kept.answers.assign(energy=energy.numpy(), pointing=1.0)
    if method == "lfi-cam":
        planted = {"mean features, with FIN": of_mean_features, "a uniform map": 0.2, "a centred blob": 0.7}
        for name, value in planted.items():
            answers = answers.assign(**{f"energy of {name}": value, f"pointing of {name}": value})
    answers.loc[0, [name for name in answers if "energy" in name or "pointing" in name]] = float("nan")  # has no mask
    run.__dict__["kept"] = run.kept._replace(answers=answers)
    return run


def figure(of_mean_features=0.5):
    runs = [run_of(method, seed, of_mean_features) for method in ENERGY for seed in (0, 1)]
    return objects_figure(experiment("extra3"), runs)


def test_each_map_has_the_energy_that_was_planted():
    table = figure().table.set_index("map")
    expected = {"ABN's own map": 0.3005, "LFI-CAM's own map": 0.6005, "mean features, without FIN": 0.4005, "a centred blob": 0.7}
    assert table.loc[list(expected), "energy"].tolist() == pytest.approx(list(expected.values()), abs=1e-6)
    assert table["images"].unique().tolist() == [IMAGES - 1]
    assert table["models"].tolist() == [2] * 5 + [1] * 2


def test_c1_is_the_smaller_gain_over_both_mean_feature_maps():
    (verdict,) = figure().verdicts
    assert (verdict.claim, verdict.outcome) == ("C1", "supported")
    assert verdict.measured.mean == pytest.approx(0.1005, abs=1e-6)
    assert verdict.measured.models == 2
    assert verdict.free.what == ANYONES[1]  # the better of the two, and it gains more
    assert verdict.free.reached
    assert figure(of_mean_features=0.65).verdicts[0].outcome == "not supported"


def test_the_dashed_line_is_the_uniform_map():
    assert [panel.mark for panel in figure().drawing.panels] == [pytest.approx(0.2)] * 2
