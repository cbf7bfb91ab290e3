"""The committed numbers are made again; a number that was changed is named."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from helpers import REFERENCE, command, plant_maps, random_maps, untrained_run

from lficam.data.samples import shuffled
from lficam.figures.experiments import EXPERIMENTS
from lficam.figures.measured import Measured
from lficam.figures.profiles import PROFILES
from lficam.figures.settings import settings_figure
from lficam.provenance import environment
from lficam.reproduce import check as checking
from lficam.reproduce import judgement
from lficam.reproduce.check import CHARTS, FROM_MAPS, FROM_VALUES, TRAININGS, check_reference, check_results
from lficam.reproduce.judgement import write_judgement
from lficam.reproduce.results import read_trainings, write_training

QUICK = ("table1", "fig2", "extra7")


@pytest.fixture
def folder(tmp_path):
    """A copy of what is committed of some figures."""
    for name in QUICK:
        for file in REFERENCE.glob(f"{EXPERIMENTS[name].stem}.*"):
            shutil.copy(file, tmp_path)
    (tmp_path / TRAININGS).symlink_to(REFERENCE / TRAININGS)
    return tmp_path


def differing(folder):
    return list(check_reference(folder, QUICK))


def test_every_figure_is_made_again():
    assert {"table1", *FROM_VALUES, *CHARTS, *FROM_MAPS} == set(EXPERIMENTS)


def test_what_is_committed_is_what_follows(folder):
    assert differing(folder) == []


@pytest.mark.parametrize(("by", "named"), [(0.002, True), (0.0005, False)])
def test_a_number_of_a_table_that_was_changed_is_named(folder, by, named):
    file = folder / "fig2_explanations_cifar100.csv"
    table = pd.read_csv(file)
    table.loc[1, "energy"] += by
    table.to_csv(file, index=False)
    lines = differing(folder)
    assert [line.split(": ")[0] for line in lines] == (["fig2_explanations_cifar100.csv 2, energy"] if named else [])


def test_times_may_differ(folder):
    file = folder / "fig2_explanations_cifar100.csv"
    pd.read_csv(file).assign(seconds=1e6).to_csv(file, index=False)
    assert differing(folder) == []


def test_a_verdict_that_was_changed_is_named(folder):
    file = folder / "extra7_importance.json"
    record = json.loads(file.read_text())
    record["verdicts"][1]["outcome"] = "supported"
    record["remarks"][0] = record["remarks"][0].replace("against 0.", "against 1.")
    file.write_text(json.dumps(record))
    lines = differing(folder)
    assert [line.split(": ")[0] for line in lines] == [
        "extra7_importance.json, verdicts 2, outcome",
        "extra7_importance.json, remarks 1",
    ]


def test_values_that_were_changed_are_seen_in_what_follows(folder):
    file = folder / "extra7_importance.safetensors"
    measured = Measured.load(file)
    measured.values["learned"]["accuracy"][0] = 0
    measured.save(file)
    assert any(line.startswith("extra7_importance.csv 1, accuracy: committed") for line in differing(folder))


@pytest.mark.parametrize(
    ("now", "same"),
    [
        ("IoU 0.73 over 3 of 5", True),
        ("IoU 0.74 over 3 of 5", True),  # 0.735 and a little less, rounded
        ("IoU 0.75 over 3 of 5", False),
        ("IoU 0.73 over 4 of 5", False),
        ("IoU 0.73 over 3 of 5 settings", False),
    ],
)
def test_numbers_in_sentences_may_differ_by_their_rounding(now, same):
    assert (list(checking._differences("IoU 0.73 over 3 of 5", now, "here")) == []) == same


def test_the_results_of_trainings_are_made_again(tmp_path, monkeypatch):
    plan = replace(EXPERIMENTS["extra1"], stem="settings_digits", settings=3, profile="embedded")
    monkeypatch.setitem(PROFILES, "embedded", PROFILES["embedded"]._replace(own_seeds=True))
    monkeypatch.setattr(judgement, "JUDGED", {"settings_digits": (plan, settings_figure)})
    for k, config in enumerate(plan.configs()):
        run = untrained_run(config.method, config.seed, images=20)
        changed = replace(run, id=config.run_id(), config=config, environment=environment())
        changed.__dict__["dataset"] = run.dataset
        plant_maps(changed, random_maps(20, 7, 7, k))
        write_training(changed, tmp_path)
    write_judgement(tmp_path, "embedded")
    assert list(check_results(tmp_path, "embedded")) == []
    first, second, _ = tmp_path.glob("*_abn_*.safetensors")
    shutil.copy(first, second)  # two settings whose maps are the same
    assert any(line.startswith("settings_digits.csv") for line in check_results(tmp_path, "embedded"))


def test_maps_of_untrained_networks_are_written_beside_the_run(tmp_path):
    dataset = untrained_run("lfi-cam", images=20).dataset
    run = replace(untrained_run("lfi-cam"), environment=environment())
    run.__dict__["dataset"] = dataset
    plant_maps(run, random_maps(20, 7, 7, 0))
    write_training(run, tmp_path, epochs=(), untrained=(0, 3))
    (training,) = read_trainings(tmp_path)
    assert training.epoch_maps == {}
    assert not torch.equal(training.untrained_maps(0), training.untrained_maps(3))
    with torch.no_grad():
        cams = run.untrained(3).explain(run.inputs(shuffled(20))).cam
    assert (training.untrained_maps(3) - cams).abs().max() <= 0.5 / 255 + 1e-6  # 8 bits


def test_every_number_of_figures_and_trainings_follows(monkeypatch, capsys):
    done = command(monkeypatch, capsys, "figures", "--check")
    assert done.returncode == 0, done.stdout


def test_the_command_names_what_differs(monkeypatch, capsys):
    for lines, code in (([], 0), (["fig2.csv 1, energy: committed 1, now 2"], 1)):
        monkeypatch.setattr(checking, "check", lambda root, lines=lines: iter(lines))
        done = command(monkeypatch, capsys, "figures", "--check")
        assert done.returncode == code
        assert (lines or ["every number but times was made again"])[0] in done.stdout
    done = command(monkeypatch, capsys, "figures", "--check", "--fresh")
    assert done.returncode == 2
    assert "leave out the other options" in done.stderr
