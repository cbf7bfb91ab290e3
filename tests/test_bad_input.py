"""Bad input, row by row: one line that names it, exit code 2 or InputError, and nothing that was stored has changed."""

import json
import os
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from helpers import command, flip_a_byte
from PIL import Image
from pydantic import ValidationError
from torch import nn

import lficam
from lficam.cli.maps import load_maps
from lficam.data.decoding import check_upload
from lficam.errors import InputError
from lficam.figures.experiments import comparison, experiment
from lficam.metrics.similarity import iou, iou_published
from lficam.metrics.stability import different_images, pairwise_stability
from lficam.model.cam import check_maps, resize_map
from lficam.model.saving import Savable
from lficam.paths import runs_dir
from lficam.sums import write_sums
from lficam.training.config import RunConfig, describe
from lficam.training.runs import load_record, load_run

# --- command line ------------------------------------------------------------------------------------------------------

LINES = [
    *[(["figures", "--profile", profile], profile or "''") for profile in ("huge", "", "../embedded", "Embedded", "x" * 5000)],
    *[(["figures", "--only", number], repr(number)) for number in ("7", "10", "", "-1", "1.5", "fig1", "one", "$x$")],
    *[
        (["figures", "--only", "1", "--set", pair], word)
        for pair, word in {
            "epochs": "key=value",
            "=2": "key=value",
            "epochs=": "epochs",
            "epochs=many": "'many'",
            "epochs=0": "'0'",
            "epochs=-3": "'-3'",
            "epochs=1e9": "epochs",
            "epochs=1.5": "'1.5'",
            "colour=red": "'colour'",
            "method=abn": "'method'",
            "dataset=stl10": "'dataset'",
            "trunk=vgg": "'vgg'",
            "trunk=": "unknown trunk ''",
            "lr=-1": "'-1'",
            "lr=nan": "'nan'",
            "lr=inf": "'inf'",
            "lr=1e300": "'1e300'",
            "batch_size=1": "'1'",
            "batch_size=999999999": "batch_size",
            "weight_decay=1e300": "'1e300'",
            "weight_decay=-1": "'-1'",
            "seed=-1": "'-1'",
            "seed=18446744073709551616": "seed",
            "image_size=64": "36 pixels",
            "image_size=20000": "image_size",
            "precision=float8": "'float8'",
            "augmentation=blur": "'blur'",
            "normalization=none": "'none'",
            "schedule=linear": "'linear'",
            "fold=6/5": "'6/5'",
            "fold=1/1": "'1/1'",
            "stem_stride=3": "stem_stride=3",
            "max_classes=1": "needs two",
            "weights=/nowhere.safetensors": "/nowhere.safetensors",
            "compile=perhaps": "'perhaps'",
        }.items()
    ],
    (["figures", "--only", "6", "--profile", "quick", "--set", "data=/nowhere"], "/nowhere"),
    (["figures", "--check", "--fresh"], "--check"),
    (["report", "--profile", "huge"], "'huge'"),
    (["report", "--set", "epochs=77"], "there is no figure"),
    (["compare", "cifar7"], "'cifar7'"),
    (["compare", ""], "''"),
    (["compare", "stl10", "--profile", "huge"], "'huge'"),
    (["data", "cifar7"], "'cifar7'"),
    (["data", "folder", "--folder", "/nowhere"], "/nowhere"),
    (["data", "--download"], "name a data set"),
    (["data", "--folder", "x"], "name a data set"),
    (["train", "nothing"], "'nothing'"),
    (["train", ""], "''"),
    (["train", "x" * 5000], "needs a run"),
    (["train", "../../etc/passwd"], "needs a run"),
    *[(["explain", "a.png", "--run", name], "no run") for name in ("nothing", "../x", "x" * 5000, "/dev/null", "a/b/c", "none.d")],
    (["explain", "nothing.png"], "nothing.png"),
    (["explain", "nowhere/"], "nowhere"),
    (["explain", "empty"], "empty"),
    (["explain", "text.png"], "text.png"),
    (["explain", "loop"], "loop"),
    (["explain", "a.png", "--method", "gradcam"], "'gradcam'"),
    (["explain", "a.png", "--method", "abn", "--run", "x"], "leave out --model"),
    (["export", "nothing", "a.onnx"], "no run"),
    (["export", "photographs", "a.txt"], "a.txt"),
    (["export", "photographs", "a"], "a"),
    (["stability", "photographs"], "two or more"),
    (["stability", "photographs", "photographs"], "two or more"),
    (["stability", "a.npy", "b.npy"], "a.npy"),
    (["stability", "good.npy", "nothing"], "no run"),
    (["stability", "good.npy", "words.txt"], "words.txt"),
    (["stability", "good.npy", "other.npy", "--output", "x.png"], ".csv"),
    (["stability", "good.npy", "other.npy", "--folder", "empty"], "leave it out"),
    (["stability", "good.npy", "three.npy"], "3 maps"),
    (["evaluate", "nothing"], "no run"),
    (["evaluate", "photographs", "--folder", "nowhere"], "nowhere"),
    (["evaluate", "photographs", "--folder", "empty"], "empty"),
    (["evaluate", "photographs", "--output", "x"], ".csv"),
]
# Refused by the parser of options, in a box of its own.
OPTIONS = [
    ["stability", "good.npy", "other.npy", "--size", "0"],
    ["stability", "good.npy", "other.npy", "--size", "20000"],
    ["stability", "good.npy", "other.npy", "--size", "big"],
    ["stability", "good.npy", "other.npy", "--images", "0"],
    ["evaluate", "photographs", "--images", "-1"],
    ["figures", "--jobs", "0"],
    ["figures", "--jobs", "100000"],
    ["explorer", "--port", "0"],
    ["explorer", "--port", "70000"],
    ["explain"],
    ["nothing"],
    ["figures", "--nothing"],
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder: some good files, some bad ones; a store and figures of its own."""
    for name in ("runs", "figures"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"LFICAM_{name.upper()}", str(tmp_path / name))
    (tmp_path / "runs" / "kept").mkdir()
    (tmp_path / "runs" / "kept" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "words.txt").write_text("words")
    os.symlink("loop", tmp_path / "loop")
    for name, count in (("good", 2), ("other", 2), ("three", 3)):
        np.save(tmp_path / f"{name}.npy", np.arange(count * 16.0).reshape(count, 4, 4))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything_in(folder):
    return {file: file.is_file() and file.read_bytes() for file in sorted(folder.rglob("*")) if ".locks" not in file.parts}


def short(arguments):
    return " ".join(arguments)[:60]


@pytest.mark.parametrize(("arguments", "word"), LINES, ids=lambda value: short(value) if isinstance(value, list) else "")
def test_on_the_command_line_it_is_one_line_and_exit_code_2(arguments, word, place, monkeypatch, capsys):
    before = everything_in(place)
    done = command(monkeypatch, capsys, *arguments)
    assert done.returncode == 2, done
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("lficam: ")
    assert word in line
    assert "Traceback" not in done.stdout + done.stderr
    assert everything_in(place) == before


@pytest.mark.parametrize("arguments", OPTIONS, ids=short)
def test_an_option_that_cannot_be_is_exit_code_2(arguments, place, monkeypatch, capsys):
    before = everything_in(place)
    done = command(monkeypatch, capsys, *arguments)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stdout + done.stderr
    assert everything_in(place) == before


# --- notebooks' parameters, and configurations ---------------------------------------------------------------------------

FIELDS = [
    ({"dataset": "nothing"}, "nothing"),
    ({"dataset": 3}, "dataset"),
    ({"dataset": None}, "dataset"),
    ({"dataset": "digits-stl10", "method": "cam"}, "cam"),
    ({"dataset": "digits-stl10", "method": None}, "method"),
    ({"dataset": "digits-stl10", "trunk": 18}, "trunk"),
    ({"dataset": "digits-stl10", "epochs": None}, "epochs"),
    ({"dataset": "digits-stl10", "epochs": True, "lr": "x"}, "lr"),
    ({"dataset": "digits-stl10", "epochs": 10**12}, "epochs"),
    ({"dataset": "digits-stl10", "seed": 2**32}, "seed"),
    ({"dataset": "digits-stl10", "seed": 0.5}, "seed"),
    ({"dataset": "digits-stl10", "batch_size": 2**40}, "batch_size"),
    ({"dataset": "digits-stl10", "weight_decay": float("inf")}, "weight_decay"),
    ({"dataset": "digits-stl10", "weight_decay": 1.8e308}, "weight_decay"),
    ({"dataset": "digits-stl10", "lr": 0}, "lr"),
    ({"dataset": "digits-stl10", "data": 5}, "data"),
    ({"dataset": "digits-stl10", "fold": "a/b"}, "fold"),
    ({"dataset": "digits-stl10", "fold": 2}, "fold"),
    ({"dataset": "digits-stl10", "max_per_class": -1}, "max_per_class"),
    ({"dataset": "digits-stl10", "out_stride": 0, "trunk": "resnet18"}, "out_stride"),
    ({"dataset": "digits-stl10", "pretrained": True, "trunk": "cifar_resnet8"}, "cifar_resnet8"),
    ({"dataset": "digits-stl10", "normalization": "weights"}, "there are none"),
    ({"dataset": "digits-stl10", "more": 1}, "more"),
    ({}, "dataset"),
]


@pytest.mark.parametrize(("fields", "word"), FIELDS, ids=lambda value: str(value)[:50])
def test_a_configuration_that_cannot_be_is_named_in_one_line(fields, word):
    with pytest.raises(ValidationError) as caught:
        RunConfig(**fields)
    assert word in describe(caught.value)
    assert "\n" not in describe(caught.value)


PARAMETERS = [
    (lambda: experiment("fig9"), "fig9"),
    (lambda: experiment(None), "None"),
    (lambda: experiment("fig1", "huge"), "huge"),
    (lambda: experiment("fig1", None), "None"),
    (lambda: experiment("fig1", "embedded", "epochs=2"), "expected a mapping"),
    (lambda: experiment("fig1", "embedded", ["epochs"]), "expected a mapping"),
    (lambda: experiment("fig1", "embedded", {"epochs": []}), "epochs"),
    (lambda: experiment("fig1", "embedded", {3: 4}), "3"),
    (lambda: experiment("fig5", "embedded", {"lr": 0.1}), "'lr'"),
    (lambda: experiment("extra9", "embedded", {"trunk": "resnet18"}), "'trunk'"),
    (lambda: comparison("nothing"), "nothing"),
    (lambda: comparison(""), "''"),
    (lambda: lficam.Explorer("huge") if hasattr(lficam, "Explorer") else experiment("fig1", "huge"), "huge"),
]


@pytest.mark.parametrize(("call", "word"), PARAMETERS, ids=range(len(PARAMETERS)))
def test_a_parameter_of_a_notebook_that_cannot_be_is_an_input_error(call, word):
    named(call, word)


def named(call, word):
    with pytest.raises(InputError) as caught:
        call()
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


# --- Python ------------------------------------------------------------------------------------------------------------


def small(**options):
    return lficam.LFICAM(nn.Conv2d(3, 4, 3), num_features=4, **({"num_classes": 2} | options))


ones = partial(torch.ones, 2, 1, 4, 4)
IDS = ["a", "b"]
CALLS = {
    "a trunk by name": (lambda: lficam.LFICAM("resnet18"), "'resnet18'"),
    "ABN of a name": (lambda: lficam.ABN("resnet18"), "'resnet18'"),
    "plain of a name": (lambda: lficam.Plain("resnet18"), "'resnet18'"),
    "no trunk": (lambda: lficam.LFICAM(None), "None"),
    "no classes": (lambda: small(num_classes=0), "num_classes=0"),
    "negative classes": (lambda: small(num_classes=-1), "num_classes=-1"),
    "half a class": (lambda: small(num_classes=2.5), "num_classes=2.5"),
    "named classes": (lambda: small(num_classes="ten"), "num_classes='ten'"),
    "fin in words": (lambda: small(fin="no"), "fin='no'"),
    "fin as a number": (lambda: small(fin=0), "fin=0"),
    "one stage for ABN": (lambda: lficam.ABN(nn.Conv2d(3, 4, 3)), "at least two stages"),
    "a trunk with its classifier": (lambda: lficam.LFICAM(nn.Sequential(nn.Flatten(), nn.LazyLinear(4))), "cannot be counted"),
    "an unknown trunk": (lambda: lficam.trunk("vgg"), "'vgg'"),
    "a trunk that is none": (lambda: lficam.trunk("resnet18", stem_stride=0), "stem_stride=0"),
    "a built-in name": (lambda: lficam.register_trunk("resnet18", nn.Identity), "'resnet18'"),
    "maps of rank 3": (lambda: iou(ones()[0], ones()[0]), "(1, 4, 4)"),
    "maps of two shapes": (lambda: iou(ones(), ones()[..., :2]), "(2, 1, 4, 2)"),
    "published IoU of rank 2": (lambda: iou_published(torch.ones(4, 4), torch.ones(4, 4)), "(4, 4)"),
    "maps with NaN": (lambda: iou(ones() * torch.nan, ones()), "NaN"),
    "infinite maps": (lambda: iou(ones(), ones() / 0), "infinity"),
    "no maps": (check_maps, "none"),
    "not one map": (lambda: iou(torch.ones(0, 1, 4, 4), torch.ones(0, 1, 4, 4)), "(0, 1, 4, 4)"),
    "maps without cells": (lambda: resize_map(torch.ones(2, 1, 0, 4), (4, 4)), "(2, 1, 0, 4)"),
    "size 0": (lambda: resize_map(ones(), (0, 4)), "(0, 4)"),
    "a negative size": (lambda: resize_map(ones(), (4, -1)), "(4, -1)"),
    "resizing rank 3": (lambda: resize_map(ones()[0], (4, 4)), "(1, 4, 4)"),
    "one setting": (lambda: pairwise_stability({"a": (IDS, ones())}), "at least two"),
    "no setting": (lambda: pairwise_stability({}), "at least two"),
    "other ids": (lambda: pairwise_stability({"a": (IDS, ones()), "b": (["a", "c"], ones())}), "c"),
    "repeated ids": (lambda: pairwise_stability({"a": (["a", "a"], ones()), "b": (IDS, ones())}), "a"),
    "too few ids": (lambda: pairwise_stability({"a": (["a"], ones()), "b": (IDS, ones())}), "a"),
    "an unknown metric": (lambda: pairwise_stability({"a": (IDS, ones()), "b": (IDS, ones())}, metrics=["dice"]), "'dice'"),
    "one source": (lambda: different_images(ones(), ["a", "a"]), "'a'"),
    "too few sources": (lambda: different_images(ones(), ["a"]), "1 sources"),
    "no partners": (lambda: different_images(ones(), IDS, partners=0), "partners=0"),
    "an unknown run": (lambda: lficam.load_run("nothing"), "'nothing'"),
    "a run with a path": (lambda: lficam.load_run("../x"), "'../x'"),
    "an unknown model": (lambda: lficam.load_pretrained("nothing"), "'nothing'"),
    "a model that is a file": (lambda: lficam.load_pretrained(__file__), "test_bad_input"),
    "a data set's name": (lambda: lficam.register_dataset("a/b", [], []), "'a/b'"),
    "a data set too small": (lambda: lficam.register_dataset("tests-small", [], [], image_size=4), "image_size=4"),
    "a data set's augmentation": (lambda: lficam.register_dataset("tests-blur", [], [], augmentation="blur"), "'blur'"),
    "an empty upload": (lambda: check_upload("x.png", b""), "x.png is empty"),
    "an upload that is none": (lambda: check_upload("x.png", b"words"), "x.png"),
    "an upload too large": (lambda: check_upload("x.png", bytes(21 * 10**6)), "20 MB"),
}


@pytest.mark.parametrize(("call", "word"), CALLS.values(), ids=CALLS)
def test_in_python_it_is_an_input_error(call, word):
    named(call, word)


# --- files with maps -----------------------------------------------------------------------------------------------------

ARRAYS = {
    "text": "words",
    "nothing": b"",
    "one number": np.float64(3),
    "a plane": np.zeros((4, 4)),
    "colours": np.zeros((2, 3, 4, 4)),
    "no maps": np.zeros((0, 4, 4)),
    "no cells": np.zeros((2, 0, 4)),
    "objects": np.array([{}, {}], object),
    "words": np.array([["a"] * 4] * 4),
    "complex": np.zeros((2, 4, 4), complex),
    "NaN": np.full((2, 4, 4), np.nan),
    "infinity": np.full((2, 4, 4), -np.inf),
    "dates": np.zeros((2, 4, 4), "datetime64[s]"),
    "a dictionary": {"maps": torch.zeros(2, 4, 4)},
    "other ids": {"ids": ["a"], "maps": torch.zeros(2, 4, 4)},
    "ids that are numbers": {"ids": [1, 2], "maps": torch.zeros(2, 4, 4)},
    "the same id twice": {"ids": ["a", "a"], "maps": torch.zeros(2, 4, 4)},
    "a list": [torch.zeros(4, 4)],
}


@pytest.mark.parametrize("content", ARRAYS.values(), ids=ARRAYS)
def test_a_file_without_maps_is_named(content, tmp_path):
    file = tmp_path / ("maps.npy" if isinstance(content, np.ndarray | np.generic | str | bytes) else "maps.pt")
    if isinstance(content, str | bytes):
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    elif file.suffix == ".npy":
        np.save(file, content, allow_pickle=True)
    else:
        torch.save(content, file)
    named(lambda: load_maps(file), "maps.")


# --- saved models and runs -----------------------------------------------------------------------------------------------


def edited(name, **changes):
    def damage(folder):
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return damage


def with_nan(folder):
    model = Savable.from_pretrained(folder)
    nn.init.constant_(model.fc.bias, torch.nan)
    model.save_pretrained(folder)


DAMAGES = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json"),
    "an empty config": (lambda folder: (folder / "config.json").write_text(""), "config.json"),
    "half a config": (lambda folder: (folder / "config.json").write_text('{"trunk"'), "config.json"),
    "a config that is a list": (lambda folder: (folder / "config.json").write_text("[1, 2]"), "a list"),
    "a config that is no text": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), "config.json"),
    "a config with another key": (edited("config.json", more=1), "'more'"),
    "a trunk that is a string": (edited("config.json", trunk="resnet18"), "'resnet18'"),
    "an unknown trunk": (edited("config.json", trunk={"name": "vgg"}), "'vgg'"),
    "another class": (edited("config.json", architecture="Transformer"), "'Transformer'"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    "half of the weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:999]),
        "",
    ),
    "weights that are none": (lambda folder: (folder / "model.safetensors").write_text("words"), ""),
    "weights that are NaN": (with_nan, "NaN"),
    "a folder without anything": (lambda folder: [file.unlink() for file in folder.iterdir()], "config.json"),
}


@pytest.mark.parametrize(("damage", "word"), DAMAGES.values(), ids=DAMAGES)
def test_a_saved_model_that_is_damaged_is_named(damage, word, tmp_path):
    from lficam.training.saved import load_trained

    lficam.LFICAM(lficam.trunk("cifar_resnet8"), num_classes=2).save_pretrained(tmp_path / "saved")
    damage(tmp_path / "saved")
    named(lambda: load_trained(str(tmp_path / "saved")), word or str(tmp_path / "saved"))


RECORDS = {
    "a mean in words": (edited("run.json", mean=["a", "b", "c"]), "run.json"),
    "too few classes": (edited("run.json", classes=["0"]), "run.json"),
    "classes that are a number": (edited("run.json", classes=3), "run.json"),
    "no accuracy": (edited("run.json", metrics={}), "run.json"),
    "another config": (edited("run.json", config={"dataset": "nothing"}), "run.json"),
    "a record that is a list": (lambda folder: (folder / "run.json").write_text("[]"), "run.json"),
    "half a record": (lambda folder: (folder / "run.json").write_text('{"config": {'), "run.json"),
    "weights that are none": (lambda folder: (folder / "model.safetensors").write_text("words"), "damaged"),
    "a config that is a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json"),
}


@pytest.fixture
def run(runs, tmp_path, monkeypatch):
    """The folder of a stored run with random weights, without checksums, as older versions stored them; in a store of its own."""

    id = runs["lfi-cam"][0]
    shutil.copytree(runs_dir() / id, tmp_path / "store" / id)
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "store"))
    return tmp_path / "store" / id


@pytest.mark.parametrize(("damage", "word"), RECORDS.values(), ids=RECORDS)
def test_a_run_without_checksums_that_is_damaged_is_named(damage, word, run):
    damage(run)
    named(lambda: load_run(run.name), word)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "run.json"])
@pytest.mark.parametrize("damage", ["a flipped bit", "cut short", "gone"])
def test_a_run_with_checksums_is_not_loaded_with_other_bytes(name, damage, run):
    write_sums(run)
    if damage == "a flipped bit":
        flip_a_byte(run / name)
    elif damage == "cut short":
        (run / name).write_bytes((run / name).read_bytes()[:-1])
    else:
        (run / name).unlink()
    named(lambda: load_run(run.name), "no run" if (damage, name) == ("gone", "run.json") else name)
    if name == "run.json" and damage != "gone":
        named(lambda: load_record(run.name), "lficam runs --repair")


def test_the_table_is_long_enough():
    rows = (LINES, OPTIONS, FIELDS, PARAMETERS, CALLS, ARRAYS, DAMAGES, RECORDS)
    assert sum(map(len, rows)) >= 200
