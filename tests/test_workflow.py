"""`lficam figures` as jobs of Snakemake: here, and as they would be submitted to Slurm."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import slurm
from helpers import RED, write_image

from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.paths import repository
from lficam.training.runs import stored_ids

ROOT = repository()
SNAKEMAKE = Path(sys.executable).with_name("snakemake")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the workflow and nothing else, which is where Snakemake keeps its own; a store and figures of its own."""
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    for name in ("runs", "figures"):
        monkeypatch.setenv(f"LFICAM_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    return tmp_path


def snakemake(place, *arguments, profile="local"):
    done = subprocess.run(
        [SNAKEMAKE, "--profile", f"workflow/profiles/{profile}", *map(str, arguments)],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_job_for_each_training_of_the_paper(place, monkeypatch):
    """Of its data there are four images each, which is enough to know what is to be trained."""
    monkeypatch.setenv("LFICAM_DATA", str(place / "data"))
    for name in {plan.supplement_dataset for plan in EXPERIMENTS.values()} - {None}:
        for split in ("train", "val"):
            for kind in ("a", "b"):
                write_image(place / "data" / name / split / kind / "1.png", RED)
    (place / "data/imagenet/meta.bin").touch()
    said = snakemake(place, "-n", "--config", "profile=paper")
    plans = [experiment(name, "paper") for name in EXPERIMENTS]
    assert sorted(re.findall(r"wildcards: id=(\S+)", said)) == sorted({c.run_id() for plan in plans for c in plan.configs()})
    assert sorted(set(re.findall(r"wildcards: name=(\S+)", said))) == sorted({plan.notebook for plan in plans})


def test_a_training_and_a_notebook_are_made_and_then_there_is_nothing_to_do(place):
    fields = {"epochs": 1, "max_per_class": 4}
    config, plan = experiment("fig1", overrides=fields).configs()[0], experiment("table1", overrides=fields)
    done = ".snakemake/lficam/embedded-epochs=1-max_per_class=4"
    targets = (f"{done}/runs/{config.run_id()}", f"{done}/notebooks/{plan.notebook}")
    arguments = (*targets, "--config", "set=epochs=1 max_per_class=4")
    snakemake(place, *arguments)
    assert stored_ids() == [config.run_id()]
    assert plan.file(".png").is_file()
    assert [(place / target).read_bytes() for target in targets] == [b"", b""]  # markers
    assert "Nothing to be done" in snakemake(place, *arguments)


def test_what_is_submitted_to_slurm_is_what_is_meant(place, monkeypatch):
    """Two trainings as an array, of which one fails and is submitted again, and then the notebook that needs them."""
    cluster, done = place / "bin", ".snakemake/lficam/embedded-epochs=1"
    slurm.install(cluster)
    first, second = (config.run_id() for config in experiment("fig1", overrides={"epochs": 1}).configs())
    monkeypatch.setenv("PATH", f"{cluster}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MARKERS", str(place / done))
    monkeypatch.setenv("FAIL", f"train:id={second}")
    waiting = ("--slurm-init-seconds-before-status-checks", 1, "--seconds-between-status-checks", 1, "--latency-wait", 5)
    asked = ("--config", "set=epochs=1", "--default-resources", "slurm_partition=gpu", "slurm_account=me")
    snakemake(place, f"{done}/notebooks/01_fin_effectiveness", *asked, *waiting, profile="slurm")
    trainings, again, notebook = slurm.submitted(cluster)
    assert sorted(trainings["targets"]) == sorted([f"train:id={first}", f"train:id={second}"])
    assert "--array=1-2" in trainings["options"]
    assert again["targets"] == [f"train:id={second}"]
    assert notebook["targets"] == ["notebook:name=01_fin_effectiveness"]
    for call, minutes in ((trainings, "1440"), (again, "1440"), (notebook, "240")):
        options = " ".join(call["options"])
        assert f" -t {minutes} " in options
        assert "-p gpu" in options
        assert "-A me" in options
        assert "--gpus=1" in options
        assert " --mem 320" in options  # and a little for the array's own list
        assert "=8" in options  # cores
