from dataclasses import replace

import pytest
import torch
from helpers import untrained_run

from lficam.figures.architecture import cost_of
from lficam.figures.experiments import experiment
from lficam.figures.fin_worth import importance_figure, judge_importance
from lficam.figures.measured import Measured
from lficam.metrics.importance import effective_channels
from lficam.metrics.localisation import localisation


@pytest.fixture(scope="module")
def runs():
    return [untrained_run("lfi-cam", seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def without():
    return [untrained_run("lfi-cam-without-fin", seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def result(runs, without):
    return importance_figure(experiment("extra7"), [untrained_run("abn"), *without, *runs])


def test_its_runs_are_in_the_order_of_its_plan(result):
    """By which a figure is known to be up to date."""
    methods = dict.fromkeys(run.config.method for run in result.runs)
    assert tuple(methods) == experiment("extra7").methods


def rows(result, seed="all"):
    return result.table[result.table["seed"] == seed].set_index("importance")


def test_as_learned_it_is_what_the_models_say(runs, result):
    learned = rows(result).loc["learned"]
    for metric, values in {
        "accuracy": [run.explained.accuracy(run.dataset.test.labels) for run in runs],
        "effective_channels": [effective_channels(run.explained.importance).double().mean().item() for run in runs],
        "energy": [localisation(run.explained.cam, run.dataset.test.objects)["energy"].double().mean().item() for run in runs],
        "iou_with_learned": [1.0, 1.0],
    }.items():
        assert learned[metric] == pytest.approx(sum(values) / 2, abs=1e-5), metric
        for run, value in zip(runs, values, strict=True):
            assert rows(result, run.config.seed).loc["learned", metric] == pytest.approx(value, abs=1e-5)


def test_a_uniform_importance_spreads_over_all_channels_and_a_permuted_one_over_as_many_as_before(result):
    channels = rows(result)["effective_channels"]
    assert channels["uniform"] == pytest.approx(64)
    assert channels["permuted"] == pytest.approx(channels["learned"])
    assert channels["random"] < 50  # of Dirichlet(1, ..., 1) weights: 64 exp(psi(2) - psi(65)) = 42 on average


def test_its_questions_are_the_differences_of_its_rows(result):
    table = rows(result)
    e7, e8 = result.verdicts
    assert (e7.claim, e8.claim) == ("E7", "E8")
    assert e7.measured.mean == pytest.approx(table.loc["learned", "energy"] - table.loc["uniform", "energy"], abs=1e-5)
    assert e8.measured.mean == pytest.approx(table.loc["learned", "accuracy"] - table.loc["uniform", "accuracy"], abs=1e-5)


def test_what_training_with_the_fin_is_worth_is_said_beside_it(runs, without, result):
    accuracy = [torch.tensor([run.explained.accuracy(run.dataset.test.labels) for run in own]) for own in (runs, without)]
    row = rows(result).loc["trained without FIN"]
    assert row["accuracy"] == pytest.approx(accuracy[1].mean().item(), abs=1e-6)
    assert row[["energy", "effective_channels"]].isna().all()
    (remark,) = result.remarks
    assert f"accuracy is {accuracy[0].mean():.3f} against {accuracy[1].mean():.3f}" in remark
    assert f"difference of {(accuracy[0] - accuracy[1]).mean():.2f} [" in remark
    assert "2 seeds" in remark


def planted(with_fin, without):
    accuracy = {"learned": with_fin, "uniform": with_fin, "trained without FIN": without}
    values = {kind: {"accuracy": torch.tensor(correct)} for kind, correct in accuracy.items()}
    return judge_importance(Measured(values, list("abcd"), [0, 1])).remarks[0]


def test_a_difference_counts_if_all_of_its_interval_does():
    all_right, all_wrong = [[1.0] * 4] * 2, [[0.0] * 4] * 2
    assert "more with it" in planted(all_right, all_wrong)
    assert "less with it" in planted(all_wrong, all_right)
    assert "which may be chance" in planted([[1.0, 0.0, 1.0, 0.0]] * 2, [[0.0, 1.0, 0.0, 1.0]] * 2)


def test_without_masks_the_energy_is_not_measured(runs, without):
    blind = []
    for run in [*runs, *without]:
        other = replace(run)
        other.__dict__["dataset"] = replace(run.dataset, test=replace(run.dataset.test, objects=None))
        blind.append(other)
    result = importance_figure(experiment("extra7"), blind)
    assert result.verdicts[0].outcome == "not measured"
    assert "energy" not in result.table
    assert [panel.label for panel in result.drawing.panels] == [
        "test accuracy",
        "IoU with the map as learned",
        "effective channels",
    ]


def test_its_footnote_says_what_the_fin_costs(runs, result):
    cost = cost_of(runs[0].model, 28)
    assert f"{cost.fin_share_of_parameters:.0%} of the parameters" in result.drawing.footnote
    assert f"{cost.fin_share:.0%} of the multiply-adds" in result.drawing.footnote
    assert torch.isfinite(torch.tensor(cost)).all()
