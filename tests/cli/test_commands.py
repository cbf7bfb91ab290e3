"""The command line as a user calls it: what it prints, its exit code, and what it leaves behind."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import command, file_of, flip_a_byte, set_options
from PIL import Image

from lficam.cli.app import resumable
from lficam.data.digits import RECIPES
from lficam.errors import InputError
from lficam.figures.experiments import experiment
from lficam.paths import figures_dir, runs_dir
from lficam.reproduce import notebooks
from lficam.reproduce.notebooks import Outcome
from lficam.sums import SUMS, has_sums
from lficam.training.config import RunConfig
from lficam.training.fit import fit_or_load_all
from lficam.training.runs import load_run


@pytest.fixture
def lficam(monkeypatch, capsys):
    return partial(command, monkeypatch, capsys)


@pytest.mark.parametrize(("rank", "says"), [("0", "lficam: interrupted: the same command goes on"), ("1", "")])
def test_of_several_processes_that_are_interrupted_the_first_says_so(rank, says, monkeypatch, capsys):
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit, match="130"), resumable():
        raise KeyboardInterrupt
    assert capsys.readouterr().err.partition(";")[0].strip() == says


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["figures", "--profile", "huge"], ["'huge'", "embedded, photos, quick, paper"]),
        (["figures", "--only", "7"], ["'7'", "1 to 6"]),
        (["figures", "--only", "1", "--set", "epochs=many"], ["epochs", "'many'", "integer"]),
        (["figures", "--only", "1", "--set", "colour=red"], ["'colour'", "epochs"]),
        (["figures", "--set", "epochs"], ["'epochs'", "key=value"]),
        (["figures", "--only", "1", "--set", "trunk=vgg"], ["trunk", "'vgg'", "cifar_resnet"]),
        (["figures", "--only", "1", "--set", "lr=-1"], ["lr", "-1", "greater than 0"]),
        (
            ["figures", "--only", "6", "--profile", "quick", "--set", "data=/nowhere"],
            ["no data folder /nowhere", "train/cat/*.jpg"],
        ),
        (["train", "nothing"], ["'nothing'", "lficam runs"]),
        (["explain", "nothing.png", "--run", "nothing"], ["'nothing'", "lficam runs"]),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(lficam, arguments, words):
    before = sorted(figures_dir().rglob("*"))
    done = lficam(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("lficam: ")
    assert all(word in done.stderr for word in words)
    assert sorted(figures_dir().rglob("*")) == before  # nothing half-written


def test_options_can_be_repeated(lficam, monkeypatch):
    asked = []
    monkeypatch.setattr(notebooks, "make_figures", lambda *arguments: asked.append(arguments) or Outcome())
    assert lficam("figures", "--only", "5", "--only", "3", *set_options(epochs=2, seed=1), "--fresh").returncode == 0
    assert asked == [("embedded", ["fig5", "extra1", "fig3"], {"epochs": "2", "seed": "1"}, True, None)]


def test_figures_twice_is_up_to_date(lficam, outcome):
    done = lficam("figures")
    assert done.returncode == 0, done.stderr
    made_together = "fig5, extra1, fig6, extra2, extra3, extra4, extra5, extra6, extra7, extra8, extra9"
    assert f"up to date: table1, fig1, fig2, fig3, fig4, {made_together}\n" in done.stdout


def test_runs_lists_what_a_profile_needs_and_what_is_trained(lficam, outcome):
    done = lficam("runs")
    assert done.returncode == 0, done.stderr
    id = experiment("fig5").configs()[0].run_id()
    accuracy = json.loads((runs_dir() / id / "run.json").read_text())["metrics"]["test_accuracy"]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(id)]
    assert line.endswith(f"test accuracy {accuracy:.3f}")
    assert sum("not trained" in line for line in done.stdout.splitlines()) == 0


def test_train_of_a_trained_run_says_its_accuracy(lficam, outcome):
    id = experiment("fig6").configs()[-1].run_id()
    done = lficam("train", id)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{id}: test accuracy 0.")


DAMAGES = {
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda text: b"",
    "no text": lambda text: b"\xff\xfe\x00\x80" * 9,
    "a list": lambda text: b"[]",
    "nothing in it": lambda text: b"{}",
    "no accuracy": lambda text: text.replace(b'"test_accuracy"', b'"accuracy"'),
    "another field": lambda text: text.replace(b'"epochs"', b'"rounds"'),
    "another data set": lambda text: text.replace(b'"dataset": "digits-catdog"', b'"dataset": "mnist"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_does_not_hide_the_others(damage, lficam, outcome, tmp_path, monkeypatch):
    ids = sorted({config.run_id() for config in experiment("fig6").configs()})
    shutil.copytree(runs_dir(), tmp_path / "runs", ignore=shutil.ignore_patterns("*.safetensors", ".*", SUMS))
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    record = tmp_path / "runs" / ids[3] / "run.json"
    record.write_bytes(DAMAGES[damage](record.read_bytes()))
    shutil.copytree(record.parent, tmp_path / "runs" / "another_run_0123456789")
    done = lficam("runs")
    assert done.returncode == 0, done.stderr
    states = {line.split()[0]: line for line in done.stdout.splitlines()}
    for id in (ids[3], "another_run_0123456789"):
        said = states.pop(id).partition(f"{tmp_path / 'runs' / id / 'run.json'}")[2]
        if damage == "another data set":  # no damage that can be told from a data set which another process registered
            assert said.startswith(": dataset='mnist': ")
            assert said.endswith("If it is one of your own, register it under this name first")
        else:
            assert said.startswith(" is damaged or of another version")
    assert set(ids) - {ids[3]} < set(states)
    assert all(re.search(r"test accuracy 0\.\d{3}$", line) for line in states.values())


def test_runs_are_verified_and_repaired(lficam, few_digits, tmp_path):
    """A flipped byte is named, and trained away: the same weights again."""
    settings = ["--set", "epochs=1", "--set", "max_classes=2"]
    configs = experiment("fig1", overrides={"epochs": 1, "max_classes": 2}).configs()
    store, (first, second) = tmp_path / "runs", [run.id for run in fit_or_load_all(configs)]
    assert lficam("runs", "--verify", *settings) == (0, "", "")
    weights = (store / first / "model.safetensors").read_bytes()
    flip_a_byte(store / first / "model.safetensors")
    (store / second / "sha256.json").unlink()  # as an older version stored it
    for _ in range(2):
        done = lficam("runs", "--verify", *settings)
        assert done.returncode == 1
        assert done.stdout == f"{first}: model.safetensors has changed since it was stored\n"
    assert has_sums(store / second)
    done = lficam("figures", "--only", "1", *settings)
    assert done.returncode == 2
    assert f"{first}/model.safetensors has changed since it was stored: `lficam runs --repair` trains it again" in done.stderr
    done = lficam("runs", "--repair", *settings)
    assert done.returncode == 0, done
    assert done.stdout.endswith(f"{first}: trained again\n")
    assert (store / first / "model.safetensors").read_bytes() == weights
    assert lficam("runs", "--verify", *settings) == (0, "", "")


def test_a_run_that_says_no_more_what_it_was_is_trained_again_where_a_profile_needs_it(lficam, few_digits, tmp_path):
    settings = ["--set", "epochs=1", "--set", "max_classes=2"]
    configs = experiment("fig1", overrides={"epochs": 1, "max_classes": 2}).configs()
    ids = [run.id for run in fit_or_load_all(configs)]
    (tmp_path / "runs" / ids[0] / "run.json").write_text("{")
    other = lficam("runs", "--repair")  # the profile without the changes needs another
    assert other.returncode == 1
    assert f"lficam: {ids[0]} cannot be trained again: " in other.stderr
    assert lficam("runs", "--repair", *settings).returncode == 0
    assert load_run(ids[0]).config == configs[0]


@pytest.fixture
def few_digits(tmp_path, monkeypatch):
    """STL10's stand-in with 24 images to train and 10 to test, and an empty store."""
    monkeypatch.setitem(RECIPES, "digits-stl10", RECIPES["digits-stl10"]._replace(train=24, test=10))
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))


def test_the_runs_of_a_comparison_are_listed_and_trained_one_by_one(lficam, few_digits):
    settings = ["--compare", "stl10", "--profile", "embedded"]
    listed = lficam("runs", *settings)
    assert (listed.returncode, listed.stderr) == (0, "")
    lines = listed.stdout.splitlines()
    assert [line.split()[0].rsplit("_", 1)[0] for line in lines] == (
        [f"digits-stl10_{method}" for method in ("abn", "lfi-cam-without-fin", "lfi-cam", "plain") for _ in range(5)]
    )
    assert len({line.split()[0] for line in lines}) == 20
    assert all(line.endswith("not trained") for line in lines)
    assert [line.split("  ")[0] for line in lines[:5]] != [line.split("  ")[0] for line in lines[5:10]]
    assert "lr 0.01, batch 8, decay 0.0005" in lines[4]

    changed = [*settings, "--set", "epochs=1"]
    ids = [line.split()[0] for line in lficam("runs", *changed).stdout.splitlines()]
    assert not set(ids) & {line.split()[0] for line in lines}
    done = lficam("train", ids[7], *changed)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{ids[7]}: test accuracy \d\.\d{{3}} after \d+ s of training\n$", done.stdout)
    again = lficam("runs", *changed).stdout.splitlines()
    assert [line.split()[0] for line in again if "test accuracy" in line] == [ids[7]]
    assert [line.split()[0] for line in again] == ids
    (other,) = [line for line in lficam("runs", *settings).stdout.splitlines() if line.startswith(ids[7])]
    assert "not of this profile" in other  # what else is in the store is listed too


def test_a_run_that_a_comparison_does_not_need_is_refused(lficam, few_digits):
    id = experiment("fig5", overrides={"epochs": 2}).configs()[0].run_id()
    done = lficam("train", id, "--compare", "stl10", "--profile", "embedded")
    assert done.returncode == 2
    assert f"needs a run {id!r}" in done.stderr
    assert "`lficam runs --profile embedded --compare stl10`" in done.stderr


def test_the_runs_of_figure_5_are_shared_with_a_comparison_on_its_data(lficam, few_digits):
    ids = [line.split()[0] for line in lficam("runs", "--compare", "stl10").stdout.splitlines()]
    assert {config.run_id() for config in experiment("fig5").configs()} < set(ids)


@pytest.mark.parametrize("command", ["runs", "compare"])
@pytest.mark.parametrize(
    ("dataset", "words"), [("mnist", ["unknown data set", "mnist", "folder"]), ("folder", ["no data folder", "train/<class>"])]
)
def test_a_comparison_of_data_that_is_not_there_is_one_line(command, dataset, words, lficam, tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path / "figures"))
    arguments = ["compare", dataset] if command == "compare" else ["runs", "--compare", dataset, "--profile", "quick"]
    done = lficam(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert all(word in done.stderr for word in words)
    assert not (tmp_path / "figures").exists()


@pytest.fixture
def two_files(tmp_path, monkeypatch):
    """Maps of two images in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.array([[[1.0, 1], [0, 0]], [[0, 1], [0, 1]]]))
    torch.save({"ids": ["two", "one"], "maps": torch.tensor([[[0, 0], [0, 1]], [[0, 1], [0, 1]]])}, "b.pt")


def test_stability_of_files(lficam, two_files):
    done = lficam("stability", "a.npy", "b.pt", "--output", "out/table.csv")
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    assert first == "explaining and comparing: 2 models"
    assert "2 images, compared at 2 x 2 pixels" in lines
    assert "maps without ids are paired by position like the ids of b.pt: a.npy" in lines
    (pair,) = [line.split() for line in lines if line.split()[:2] == ["a.npy", "b.pt"]]
    assert float(pair[2]) == 0.5  # the first maps share nothing of two pixels, the second ones all
    table = pd.read_csv("out/table.csv")
    assert list(table) == ["a", "b", "id", "metric", "value"]
    assert table[table["metric"] == "iou"].values.tolist() == [
        ["a.npy", "b.pt", "two", "iou", 0],
        ["a.npy", "b.pt", "one", "iou", 1],
    ]
    for line in lines:
        if line.split()[:1] in (["iou"], ["spearman"], ["top_overlap"]):
            metric, mean = line.split()[:2]
            assert float(mean) == pytest.approx(table.loc[table["metric"] == metric, "value"].mean(), abs=5e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.npy"], "expected two or more different models or files with maps"),
        (["a.npy", "nothing"], "no run 'nothing'"),
        (["a.npy", "c.npy"], "no file c.npy"),
        (["a.npy", "b.pt", "--output", "a.npy"], "--output a.npy: expected a name that ends in .csv"),
        (["a.npy", "b.pt", "--folder", "."], "is for models to explain"),
    ],
)
def test_stability_refuses_in_one_line_and_writes_nothing(lficam, two_files, arguments, words):
    before = {file: file.read_bytes() for file in Path().iterdir()}
    done = lficam("stability", *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr
    assert {file: file.read_bytes() for file in Path().iterdir()} == before


def test_stability_and_evaluation_of_trained_runs(lficam, few_digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shared = {"dataset": "digits-stl10", "trunk": "cifar_resnet8", "epochs": 1, "batch_size": 8}
    a, b = (run.id for run in fit_or_load_all([RunConfig(method="abn", seed=seed, **shared) for seed in (0, 1)]))
    done = lficam("stability", a, b, "--output", "alike.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert "10 images, compared at 28 x 28 pixels" in done.stdout
    assert len(pd.read_csv("alike.csv")) == 10 * 5

    np.save("mine.npy", load_run(b).explained.cam)
    done = lficam("evaluate", a, "--maps", "mine.npy", "--images", "4", "--output", "faithful.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 images\nmaps without ids are paired by position: mine.npy\n" in done.stdout
    table = pd.read_csv("faithful.csv")
    means = table.groupby(["metric", "map"])["value"].mean()
    assert len(means) == 6 * 3
    for (metric, name), mean in means.items():
        (printed,) = re.findall(rf"^ *{metric} +\w+ +{name} +(\S+) \[", done.stdout, re.M)
        assert float(printed) == pytest.approx(mean, abs=5e-4)

    for options, words in (
        (["--maps", "alike.csv"], "neither .npy nor .pt"),
        (["--folder", "nowhere"], "no folder nowhere"),
        (["--output", "x.npy"], ".csv"),
    ):
        done = lficam("evaluate", a, *options)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert words in done.stderr
    assert lficam("evaluate", "nothing").stderr.startswith("lficam: no run 'nothing'")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("empty", ["no images in", "train/<class>"]),
        ("one class", ["has one class, 'cat'", "at least two"]),
        ("unreadable class", ["no readable test image of class 'dog'", "replace them"]),
    ],
)
def test_a_faulty_image_folder_is_one_line_and_trains_nothing(lficam, tmp_path, monkeypatch, fault, words):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    for split in ("train", "test"):
        for label in ("cat",) if fault == "one class" else ("cat", "dog"):
            (tmp_path / split / label).mkdir(parents=True)
            if fault != "empty":
                Image.new("RGB", (20, 20)).save(tmp_path / split / label / "0.png")
    if fault == "unreadable class":
        (tmp_path / "test" / "dog" / "0.png").write_text("not an image")
    settings = set_options(data=tmp_path, image_size=16, trunk="cifar_resnet8", epochs=1)
    done = lficam("figures", "--only", "6", "--profile", "quick", *settings)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert all(word in done.stderr for word in words)
    assert not list((tmp_path / "runs").glob("[!.]*"))
    assert not list(figures_dir().rglob("*-*/*"))


@pytest.mark.parametrize(
    ("jobs", "words"), [("0", "greater than or equal to 1"), ("-1", "greater than or equal to 1"), ("two", "integer")]
)
def test_jobs_are_one_or_more(lficam, jobs, words, monkeypatch):
    monkeypatch.setattr(notebooks, "make_figures", refuse)
    done = lficam("figures", "--jobs", jobs)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "'--jobs'" in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def refuse(*arguments, **options):
    raise AssertionError(f"called with {arguments}, {options}")


@pytest.mark.parametrize(("arguments", "jobs"), [((), None), (("--jobs", "2"), 2), (("--jobs", "1"), 1)])
def test_jobs_are_passed_on_to_the_training(lficam, arguments, jobs, tmp_path, monkeypatch):
    asked = []

    def fit_missing(configs, jobs, epochs):
        asked.append(([config.run_id() for config in configs], jobs))
        raise InputError("nothing is trained here")

    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    monkeypatch.setattr(notebooks, "fit_missing", fit_missing)
    done = lficam("figures", "--only", "3", *arguments)
    assert asked == [([config.run_id() for config in experiment("fig3").configs()], jobs)]
    assert (done.returncode, done.stderr) == (2, "lficam: nothing is trained here\n")


def test_table_1_needs_no_training(lficam, tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    done = lficam("figures", "--only", "0")
    assert done.returncode == 0, done.stderr
    assert file_of(experiment("table1"), ".png").is_file()
    assert not (tmp_path / "runs").exists()


def test_it_is_installed_as_a_command_and_as_a_module():
    for program in (["-m", "lficam"], [Path(sys.executable).with_name("lficam")]):
        done = subprocess.run([sys.executable, *program, "figures", "--only", "7"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("lficam: unknown figure '7'")


def test_the_shell_completes_commands():
    asked = {"_LFICAM_COMPLETE": "complete_bash", "COMP_WORDS": "lficam ex", "COMP_CWORD": "1"}
    command = Path(sys.executable).with_name("lficam")
    done = subprocess.run([command], env=os.environ | asked, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["explain", "explorer", "export"], done.stderr


def test_only_one_training_has_several_processes(lficam, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = lficam("runs")
    assert done.returncode == 2
    assert done.stderr == "lficam: only `lficam train` runs in several processes: start `lficam runs` without a launcher\n"


def test_what_there_is_to_do_is_an_object_for_engines(lficam):
    done = lficam("runs", "--json")
    jobs = json.loads(done.stdout)
    assert {id: RunConfig(**config).run_id() for id, config in jobs["runs"].items()} == {id: id for id in jobs["runs"]}
    assert jobs["notebooks"]["00_architecture"] == []
    assert set().union(*jobs["notebooks"].values()) == set(jobs["runs"])
    assert set(jobs["notebooks"]["05_stability_stl10"]) == {
        config.run_id() for name in ("fig5", "extra1") for config in experiment(name).configs()
    }
    assert lficam("runs", "--json", "--verify").returncode == 2
