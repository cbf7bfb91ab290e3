"""Charts and verdicts from what trainings left: planted maps, written, read and judged; nothing is trained."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from helpers import plant_maps, random_maps, untrained_run

from lficam.data.samples import held_out
from lficam.figures.chance import chance_figure
from lficam.figures.experiments import EXPERIMENTS
from lficam.figures.fin_worth import importance_chart
from lficam.figures.folds import folds_figure, in_folds
from lficam.figures.measured import Measured
from lficam.figures.plan import Experiment
from lficam.figures.profiles import PROFILES
from lficam.figures.settings import settings_figure
from lficam.metrics.mege_reco import FEWEST_DIFFERENT
from lficam.provenance import environment
from lficam.reproduce import judgement
from lficam.reproduce.judgement import judge_trainings, measure, write_judgement
from lficam.reproduce.results import write_training
from lficam.training.kept_maps import as_levels, as_maps

IMAGES, FOLD_IMAGES = 20, 60
SEEDS = replace(EXPERIMENTS["extra3"], stem="seeds_digits", seeds=3)
SETTINGS = replace(EXPERIMENTS["extra1"], stem="settings_digits", settings=3)
PARTS = replace(EXPERIMENTS["extra1"], stem="folds_digits")


@pytest.fixture(autouse=True)
def on_digits(monkeypatch):
    monkeypatch.setitem(PROFILES, "embedded", PROFILES["embedded"]._replace(own_seeds=True))  # as of photographs
    plans = {"settings_digits": (SETTINGS, settings_figure), "seeds_digits": (SEEDS, chance_figure)}
    monkeypatch.setattr(judgement, "JUDGED", plans | {"folds_digits": (PARTS, folds_figure)})
    monkeypatch.setattr(judgement, "MEASURED", {})


def run_of(config, images, accuracy=0.8):
    run = untrained_run(config.method, config.seed, images=images, accuracy=accuracy)
    changed = replace(run, id=config.run_id(), config=config, environment=environment())
    changed.__dict__["dataset"] = run.dataset
    return changed


def planted(config, k):
    """A run of a config on `IMAGES` images; the maps of LFI-CAM are all alike, those of other methods are by chance."""
    run = run_of(config, IMAGES, accuracy=0.7 + k / 100)
    plant_maps(
        run,
        random_maps(IMAGES, 7, 7, 99 if config.method == "lfi-cam" else k),
        as_maps(as_levels(random_maps(IMAGES, 7, 7, k + 50), torch.uint8)),
    )
    return run


def write(plan, folder):
    runs = [planted(config, k) for k, config in enumerate(plan.configs())]
    for run in runs:
        write_training(run, folder)
    return runs


def same(table, expected):
    numbers = expected.select_dtypes("number").columns
    assert list(table) == list(expected)
    pd.testing.assert_frame_equal(table[numbers], expected[numbers], check_dtype=False, atol=2e-3)  # maps of 16 bits


def test_what_was_written_says_what_the_runs_say(tmp_path):
    runs = write(SEEDS, tmp_path)
    (result,) = judge_trainings(tmp_path, "embedded")
    expected = chance_figure(SEEDS, runs)
    same(result.table, expected.table)
    assert [(v.claim, v.outcome) for v in result.verdicts] == [(v.claim, v.outcome) for v in expected.verdicts]
    assert {v.claim: v.outcome for v in result.verdicts}["E9"] == "supported"  # alike, and by chance before


def test_nothing_is_said_before_all_trainings_are_there(tmp_path):
    runs = write(SEEDS, tmp_path / "all")
    for run in runs[:-1]:
        write_training(run, tmp_path / "but one")
    assert list(judge_trainings(tmp_path / "but one", "embedded")) == []
    assert len(list(judge_trainings(tmp_path / "all", "embedded"))) == 1


def test_chart_table_and_verdicts_are_files(tmp_path):
    runs = write(SETTINGS, tmp_path)
    assert write_judgement(tmp_path, "embedded") == ["settings_digits"]
    assert (tmp_path / "settings_digits.png").stat().st_size > 1000
    expected = settings_figure(SETTINGS, runs)
    table = pd.read_csv(tmp_path / "settings_digits.csv", dtype={"setting": str})
    assert table["iou"].tolist() == pytest.approx(expected.table["iou"].tolist(), abs=2e-3)
    written = json.loads((tmp_path / "verdicts.json").read_text())["settings_digits"]
    assert [one["claim"] for one in written["verdicts"]] == ["C2", "C3"]
    assert {one["claim"]: one["outcome"] for one in written["verdicts"]}["C3"] == "supported"
    assert any("untrained networks" in sentence for sentence in written["says"])


def test_folds_are_judged_on_the_training_images_by_their_parts(tmp_path):
    """Of LFI-CAM the maps part where exactly one model is right, of ABN by chance."""
    configs = [config for config in in_folds(PARTS.configs()) if config.method != "plain"]
    plan = replace(PARTS, methods=("abn", "lfi-cam"))
    judgement.JUDGED["folds_digits"] = (plan, folds_figure)
    right = torch.rand(5, FOLD_IMAGES, generator=torch.Generator().manual_seed(0)) < 0.6
    part = torch.empty(FOLD_IMAGES, dtype=torch.int64)
    for k, config in enumerate(configs[:5]):
        part[held_out(FOLD_IMAGES, config.fold)] = k
    for n, config in enumerate(configs):
        k = n % 5
        run = run_of(config, FOLD_IMAGES)
        alike, other = random_maps(FOLD_IMAGES, 7, 7, 99), random_maps(FOLD_IMAGES, 7, 7, n)
        cams = torch.where(right[k].view(-1, 1, 1, 1), alike, other) if config.method == "lfi-cam" else other
        plant_maps(run, cams)
        answers = run.kept.answers.assign(split="train")
        wrong = [run.classes[(run.classes.index(name) + 1) % 10] for name in answers["label"]]
        answers["predicted"] = [a if r else b for a, b, r in zip(answers["label"], wrong, right[k].tolist(), strict=True)]
        run.__dict__["kept"] = run.kept._replace(answers=answers)
        write_training(run, tmp_path)
    (result,) = judge_trainings(tmp_path, "embedded")
    table = result.table.set_index("method")
    assert table.loc["LFI-CAM", "different"] > FEWEST_DIFFERENT
    assert table.loc["LFI-CAM", "mege"] == pytest.approx(1, abs=0.02)
    assert table.loc["LFI-CAM", "reco"] > 0.95 > table.loc["LFI-CAM", "reco_by_chance_high"]
    assert table.loc["ABN", "reco"] < table.loc["ABN", "reco_by_chance_high"] + 0.05
    assert table.loc["ABN", "mege"] < 0.6
    assert result.verdicts == ()


def test_what_only_the_models_can_say_is_measured_once_and_drawn_without_them(tmp_path, monkeypatch):
    plan = replace(EXPERIMENTS["extra7"], seeds=2, stem="importance_digits")
    runs = [planted(config, k) for k, config in enumerate(plan.configs())]
    for run in runs:
        write_training(run, tmp_path)
    calls = []

    def measure_planted(experiment, models):
        calls.append([run.id for run in models])
        right = torch.ones(2, IMAGES)
        values = {kind: {"accuracy": right} for kind in ("learned", "uniform", "trained without FIN")}
        return Measured(values, [str(k) for k in range(IMAGES)], [0, 1], [run.id for run in models])

    monkeypatch.setattr(judgement, "MEASURED", {"importance_digits": (plan, measure_planted, importance_chart)})
    monkeypatch.setattr(Experiment, "runs", lambda self: runs)
    assert list(judge_trainings(tmp_path, "embedded")) == []
    for _ in range(2):
        measure("importance_digits", "embedded", tmp_path)
    assert calls == [[run.id for run in runs]]
    (result,) = judge_trainings(tmp_path, "embedded")
    assert result.experiment.stem == "importance_digits"
    assert [run.id for run in result.runs] == [run.id for run in runs]
    assert write_judgement(tmp_path, "embedded") == ["importance_digits"]
    # of other trainings, it says nothing of these
    Measured.load(tmp_path / "importance_digits.safetensors")._replace(runs=["another"]).save(
        tmp_path / "importance_digits.safetensors"
    )
    assert list(judge_trainings(tmp_path, "embedded")) == []
    measure("importance_digits", "embedded", tmp_path)
    assert len(calls) == 2
