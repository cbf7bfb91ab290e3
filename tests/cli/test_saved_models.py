"""A saved folder on the command line, in place of a run: the same answers."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import command
from PIL import Image
from torch import nn

from lficam.errors import InputError
from lficam.model.lfi_cam import LFICAM
from lficam.model.metadata import Metadata
from lficam.model.trunks import register_trunk, trunk
from lficam.paths import runs_dir
from lficam.training.runs import load_run
from lficam.training.saved import load_trained

FOLDER = "mine.v1"  # a dot does not make it a file


@pytest.fixture
def lficam(monkeypatch, capsys):
    return partial(command, monkeypatch, capsys)


@pytest.fixture
def run(runs, tmp_path, monkeypatch):
    """The id of a run in the store. In the current folder are the same model, saved, and three pictures."""
    monkeypatch.chdir(tmp_path)
    id = runs["lfi-cam"][0]
    load_run(id).model.save_pretrained(FOLDER)
    generator = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for name, size in (("a", (40, 30, 3)), ("b", (28, 28, 3)), ("c", (9, 60, 3))):
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(f"pictures/{name}.png")
    return id


def test_explain_says_the_same(run, lficam):
    said = [lficam("explain", "pictures/a.png", "pictures/c.png", "--model", name, "--output", name) for name in (run, FOLDER)]
    assert [done.returncode for done in said] == [0, 0], said
    assert said[0].stdout.replace(f"{run}/", "") == said[1].stdout.replace(f"{FOLDER}/", "")
    pixels = []
    for name in (run, FOLDER):
        with Image.open(f"{name}/a_cam.png") as picture:
            pixels.append(np.asarray(picture)[200:])  # below the titles, which name the model
    np.testing.assert_array_equal(*pixels)


def test_stability_of_a_model_and_its_copy_is_1(run, lficam):
    done = lficam("stability", run, FOLDER, "--folder", "pictures", "--output", "alike.csv")
    assert (done.returncode, done.stderr) == (0, "")
    table = pd.read_csv("alike.csv")
    assert set(table["id"]) == {"a.png", "b.png", "c.png"}
    np.testing.assert_allclose(table["value"], 1, atol=1e-6)


def test_evaluate_finds_the_same(run, lficam):
    for name in (run, FOLDER):
        done = lficam("evaluate", name, "--folder", "pictures", "--output", "judged.csv")
        assert (done.returncode, done.stderr) == (0, "")
        shutil.move("judged.csv", f"{name}.csv")
    pd.testing.assert_frame_equal(pd.read_csv(f"{run}.csv"), pd.read_csv(f"{FOLDER}.csv"))


def test_export_of_a_run_and_of_a_folder(run, lficam):
    for name in (run, FOLDER):
        done = lficam("export", name, "model.pt2")
        assert (done.returncode, done.stderr) == (0, "")
        first, *differences = done.stdout.splitlines()
        assert first == (
            "model.pt2: images (batch, channels, height, width), pixels 0 to 255 -> logits (batch, classes), "
            "cam (batch, 1, u, v) in 0 to 1"
        )
        assert differences == [
            f"largest difference from PyTorch, {batch} images of {size} pixels: logits 0, map 0"
            for size in (28, 60)
            for batch in (2, 3)
        ]
    assert "normalised ->" in lficam("export", FOLDER, "model.pt2", "--no-normalize").stdout


def test_a_model_that_does_not_say_what_it_takes(run, lficam):
    LFICAM(trunk("cifar_resnet8"), num_classes=2).save_pretrained("bare")
    done = lficam("explain", "pictures/a.png", "--model", "bare")
    assert done.returncode == 2
    assert done.stderr.startswith("lficam: bare does not say what its classes are and how its input is normalised")
    done = lficam("export", "bare", "bare.pt2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("bare does not say how its input is normalised, so normalisation is not inside\nbare.pt2: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stability", FOLDER, "RUN"], f"{FOLDER} has no test images"),
        (["evaluate", FOLDER], "give images with --folder"),
        (["evaluate", "nowhere"], "no run 'nowhere' in"),
        (["explain", "pictures/a.png", "--model", "pictures"], "pictures has no config.json and no model.safetensors"),
        (["export", FOLDER, "model.tar"], "ends in '.tar': expected .onnx or .pt2"),
        (["export", FOLDER, "nowhere/model.pt2"], "no folder nowhere"),
        (["export", "nothing", "model.pt2"], "no run 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments, words, run, lficam, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = lficam(*(run if argument == "RUN" else argument for argument in arguments))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_keeps_what_one_must_know_of_its_model(run):
    trained = load_trained(run)
    known = trained.metadata
    assert (known.classes, known.mean, known.std) == (trained.classes, trained.mean, trained.std)
    assert (known.image_size, known.augmentation) == (trained.config.image_size, trained.config.augmentation)
    assert load_trained(FOLDER).metadata == known
    shutil.copytree(runs_dir() / run, "old", ignore=shutil.ignore_patterns("run.json"))  # stored before metadata were
    with pytest.raises(InputError, match="old does not say"):
        load_trained("old")


def test_loading_a_model_draws_nothing_from_the_global_generator(run):
    before = torch.get_rng_state()
    load_trained(FOLDER)
    assert torch.equal(before, torch.get_rng_state())


def test_the_folder_of_a_run_is_the_run(run):
    assert load_trained(str(runs_dir() / run)).id == run


DAMAGES = {
    "weights cut off": ("model.safetensors", lambda content: content[: len(content) // 2]),
    "no config": ("config.json", lambda content: b"{"),
    "no classes": ("config.json", lambda content: content.replace(b'"std"', b'"deviation"')),
    "a wrong size": ("config.json", lambda content: content.replace(b'"image_size": 28', b'"image_size": "large"')),
    "other weights": ("config.json", lambda content: content.replace(b'"num_classes": 10', b'"num_classes": 9')),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_one_line(damage, run, lficam):
    file, change = DAMAGES[damage]
    content = Path(FOLDER, file).read_bytes()
    Path(FOLDER, file).write_bytes(change(content))
    assert Path(FOLDER, file).read_bytes() != content
    done = lficam("explain", "pictures/a.png", "--model", FOLDER)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"the model in {FOLDER} is damaged or of another version" in done.stderr


def test_a_model_of_grey_pictures_is_refused(run, lficam):
    register_trunk("tests_grey", lambda: nn.Conv2d(1, 4, 3))
    model = LFICAM(trunk("tests_grey"), num_features=4, num_classes=2)
    model.metadata = Metadata(classes=("a", "b"), mean=(0.5,), std=(0.5,), image_size=28)
    model.save_pretrained("grey")
    done = lficam("explain", "pictures/a.png", "--model", "grey")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "grey takes images of 1 channels: expected a model of three" in done.stderr
