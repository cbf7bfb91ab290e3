"""The command line as a user calls it, in a process of its own where the exit code counts."""

import json
import subprocess
import sys

import pytest
from helpers import file_of
from PIL import Image

from lficam.cli import _spread
from lficam.experiments import experiment
from lficam.paths import figures_dir, runs_dir


def lficam(*arguments, cwd=None):
    command = [sys.executable, "-m", "lficam", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["figures", "--profile", "huge"], ["'huge'", "embedded, quick, paper"]),
        (["figures", "--only", "7"], ["'7'", "1 to 6"]),
        (["figures", "--only", "1", "--set", "epochs=many"], ["epochs", "'many'", "integer"]),
        (["figures", "--only", "1", "--set", "colour=red"], ["'colour'", "epochs"]),
        (["figures", "--set", "epochs"], ["'epochs'", "key=value"]),
        (["figures", "--only", "1", "--set", "trunk=vgg"], ["trunk", "'vgg'", "cifar_resnet"]),
        (["figures", "--only", "1", "--set", "lr=-1"], ["lr", "-1", "greater than 0"]),
        (["figures", "--only", "6", "--profile", "quick", "--set", "data=/nowhere"], ["/nowhere", "train/<class>"]),
        (["train", "nothing"], ["'nothing'", "lficam runs"]),
        (["explain", "nothing.png", "--run", "nothing"], ["'nothing'", "lficam runs"]),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, words):
    before = sorted(figures_dir().rglob("*"))
    done = lficam(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("lficam: ")
    assert all(word in done.stderr for word in words)
    assert sorted(figures_dir().rglob("*")) == before  # nothing half-written


def test_several_values_after_one_option():
    assert _spread(["figures", "--only", "5", "6", "--set", "a=1", "b=2", "--fresh"]) == (
        ["figures", "--only", "5", "--only", "6", "--set", "a=1", "--set", "b=2", "--fresh"]
    )
    assert _spread(["explain", "a.png", "b.png", "--run", "x"]) == ["explain", "a.png", "b.png", "--run", "x"]
    assert _spread(["runs", "--profile", "quick"]) == ["runs", "--profile", "quick"]


def test_figures_twice_is_up_to_date(outcome):
    done = lficam("figures")
    assert done.returncode == 0, done.stderr
    assert "up to date: table1, fig1, fig2, fig3, fig4, fig5, fig6" in done.stdout


def test_runs_lists_what_a_profile_needs_and_what_is_trained(outcome):
    done = lficam("runs")
    assert done.returncode == 0, done.stderr
    id = experiment("fig5").configs()[0].run_id()
    accuracy = json.loads((runs_dir() / id / "run.json").read_text())["metrics"]["test_accuracy"]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(id)]
    assert line.endswith(f"test accuracy {accuracy:.3f}")
    assert sum("not trained" in line for line in done.stdout.splitlines()) == 0


def test_train_of_a_trained_run_says_its_accuracy(outcome):
    id = experiment("fig6").configs()[-1].run_id()
    done = lficam("train", id)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{id}: test accuracy 0.")


def test_explain_draws_a_picture_of_each_image(outcome, tmp_path):
    run = experiment("fig3").configs()[1].run_id()
    for name, mode in (("a.png", "RGB"), ("b.jpg", "L")):
        Image.new(mode, (50, 30), 128).save(tmp_path / name)
    done = lficam("explain", "a.png", "b.jpg", "--run", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["a_cam.png", "b_cam.png"]
    assert all(Image.open(tmp_path / name).size[0] > 1000 for name in ("a_cam.png", "b_cam.png"))


@pytest.mark.parametrize("content", [b"not an image", b"\xff\xd8\xff\xe0\x00\x10JFIF"])
def test_explain_refuses_what_is_no_image_and_writes_nothing(outcome, tmp_path, content):
    run = experiment("fig3").configs()[1].run_id()
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(content)
    done = lficam("explain", "good.png", "bad.png", "--run", run, cwd=tmp_path)
    assert done.returncode == 2
    assert "bad.png" in done.stderr
    assert not list(tmp_path.glob("*_cam.png"))


def test_table_1_needs_no_training(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    done = lficam("figures", "--only", "0")
    assert done.returncode == 0, done.stderr
    assert file_of(experiment("table1"), ".png").is_file()
    assert not (tmp_path / "runs").exists()
