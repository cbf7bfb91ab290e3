import gc
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import nn

from lficam import paths
from lficam.cli.explain_images import column_of, explain_files
from lficam.data import datasets
from lficam.data.augmentation import AUGMENTATIONS
from lficam.data.files import ImageFiles
from lficam.data.samples import Dataset, Samples
from lficam.errors import InputError
from lficam.model.devices import cpu_threads
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import register_trunk
from lficam.paths import data_dir, runs_dir
from lficam.progress import Progress
from lficam.training import fit, loop
from lficam.training.config import RunConfig
from lficam.training.fit import fit_missing, fit_or_load, fit_or_load_all, unfinished
from lficam.training.runs import Run, is_stored, load_run, stored_ids

X = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """An empty store and an empty data folder."""
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LFICAM_DATA", str(tmp_path / "data"))


@pytest.fixture
def photographs(tmp_path):
    """Two plain classes in a folder that is not where data sets usually lie."""
    root = tmp_path / "photographs"
    for split, count in (("train", 6), ("test", 3)):
        for name, colour in (("cat", 200), ("dog", 40)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (20 + i, 20), (colour, 10 * i, 99)).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture
def config(photographs):
    def make(**fields):
        given = {"dataset": "folder", "data": str(photographs), "trunk": "cifar_resnet8", "image_size": 16}
        return RunConfig(**(given | {"epochs": 1, "lr": 0.01, "batch_size": 6, "augmentation": "none"} | fields))

    return make


@pytest.fixture
def trained(monkeypatch):
    """The models that are trained in a test, in order."""
    models = []

    def train(*arguments):
        models.append(result := real(*arguments))
        return result

    real = fit.train
    monkeypatch.setattr(fit, "train", train)
    return models


@pytest.fixture
def lines(monkeypatch):
    """Progress is printed, not drawn."""
    monkeypatch.setattr("lficam.progress.bars_can_be_drawn", lambda: False)


def refuse(*arguments):
    raise AssertionError("trained again")


def everything_in(folder):
    """All files and folders, but for the locks and the lists of what is wrong with which image."""
    entries = (entry.relative_to(folder) for entry in folder.rglob("*"))
    return sorted(entry.as_posix() for entry in entries if entry.parts[0] not in (".locks", ".checked"))


@pytest.mark.parametrize("method", ["lfi-cam", "lfi-cam-without-fin", "abn"])
def test_a_run_is_trained_once_and_then_loaded(method, config, trained, monkeypatch):
    first = fit_or_load(config(method=method))
    assert len(trained) == 1
    monkeypatch.setattr(fit, "train", refuse)
    again = fit_or_load(config(method=method))
    model, history = trained[0]
    model.to(memory_format=torch.contiguous_format)  # trained in channels_last, where sums round differently
    for run in (first, again):
        assert type(run.model) is type(model)
        assert run.history == history
        for got, expected in zip(run.model.explain(X), model.explain(X), strict=True):
            assert (got is None and expected is None) or torch.equal(got, expected)
    assert not again.model.training
    assert (again.id, again.config, again.history, again.metrics) == (first.id, first.config, first.history, first.metrics)
    assert again.environment == first.environment


def test_the_stored_numbers_are_those_of_the_model(config):
    run = fit_or_load(config(epochs=2))
    assert run.id == config(epochs=2).run_id()
    assert run.metrics["test_accuracy"] == run.explained.accuracy(run.dataset.test.labels)
    assert run.metrics["train_accuracy"] == run.history[-1]["accuracy"]
    assert [record["epoch"] for record in run.history] == [1, 2]
    assert {"torch", "lficam"} <= run.environment["packages"].keys()


def test_explanations_are_of_the_test_images(config):
    run = fit_or_load(config())
    assert run.explained.ids == run.dataset.test.ids == tuple(f"test/{name}/{i}.png" for name in ("cat", "dog") for i in range(3))
    assert run.explained.cam.shape == (6, 1, 4, 4)
    assert run.explained is run.explained  # computed once


def test_runs_come_in_the_order_they_were_asked_for(config, trained):
    second, first = config(seed=2), config(seed=1)
    stored = fit_or_load(first)
    assert [run.id for run in fit_or_load_all([second, first, second])] == [second.run_id(), stored.id, second.run_id()]
    assert len(trained) == 2
    assert fit_or_load_all([]) == []


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_an_interrupted_training_leaves_nothing(config, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fit, "train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit_or_load(config())
    assert stored_ids() == []
    assert everything_in(runs_dir()) == []
    assert fit_or_load(config()).id == config().run_id()


def test_an_interruption_in_writing_leaves_nothing(config, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(LFICAM, "save_pretrained", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit_or_load(config())
    assert stored_ids() == []
    assert everything_in(runs_dir()) == []
    assert fit_or_load(config()).id in stored_ids()


def test_an_interruption_keeps_the_runs_that_were_finished(config, trained, monkeypatch):
    configs = [config(seed=seed) for seed in range(3)]
    real = fit.train
    with monkeypatch.context() as patch:
        patch.setattr(fit, "train", lambda given, *rest: interrupt() if given.seed == 1 else real(given, *rest))
        with pytest.raises(KeyboardInterrupt):
            fit_or_load_all(configs)
    assert stored_ids() == [configs[0].run_id()]
    fit_or_load_all(configs)
    assert len(trained) == 3
    assert stored_ids() == sorted(given.run_id() for given in configs)


def test_an_unfinished_folder_is_no_run(config, trained):
    id = config().run_id()
    (runs_dir() / id).mkdir(parents=True)
    (runs_dir() / id / "config.json").write_text("{}")  # what an older, killed program may have left
    assert not is_stored(id)
    assert stored_ids() == []
    assert fit_or_load(config()).id == id
    assert stored_ids() == [id]


def test_an_unknown_run_is_named():
    with pytest.raises(InputError, match=r"no run 'digits_lfi-cam_0123456789'"):
        load_run("digits_lfi-cam_0123456789")
    assert stored_ids() == []


def test_a_run_can_be_loaded_by_its_id(config):
    run = fit_or_load(config(seed=4))
    loaded = load_run(run.id)
    assert torch.equal(loaded.model(X), run.model(X))
    assert loaded.config == run.config
    assert torch.equal(loaded.explained.cam, run.explained.cam)


def test_a_run_is_found_after_its_data_has_moved(config, photographs, tmp_path, monkeypatch):
    before = fit_or_load(config()).explained
    moved = photographs.rename(tmp_path / "moved")
    monkeypatch.setattr(fit, "train", refuse)
    run = fit_or_load(config(data=str(moved)))
    assert run.config.data == str(moved)
    assert run.explained.ids == before.ids
    assert torch.equal(run.explained.cam, before.cam)


def test_a_run_is_found_after_its_data_has_moved_to_the_data_folder(config, photographs, monkeypatch):
    before = fit_or_load(config()).explained
    data_dir().mkdir()
    shutil.move(photographs, data_dir() / "folder")
    monkeypatch.setattr(fit, "train", refuse)
    run = fit_or_load(config(data=None))
    assert run.config == config(data=None)
    assert torch.equal(run.explained.cam, before.cam)


def test_changed_data_is_another_run_on_the_changed_data(config, photographs, trained):
    fit_or_load(config())
    Image.new("RGB", (20, 20)).save(photographs / "test" / "cat" / "new.png")
    run = fit_or_load(config())
    assert len(trained) == 2
    assert "test/cat/new.png" in run.explained.ids


def test_the_embedded_digits_need_no_folder(monkeypatch):
    from lficam.data.digits import RECIPES

    monkeypatch.setitem(RECIPES, "digits-catdog", RECIPES["digits-catdog"]._replace(train=24, test=10))
    given = RunConfig(dataset="digits-catdog", trunk="cifar_resnet8", epochs=1, batch_size=8, lr=0.01)
    run = fit_or_load(given)
    assert len(run.explained.ids) == 10
    assert run.explained.cam.shape == (10, 1, 7, 7)


def test_progress_says_which_run_epoch_and_loss(config, capsys, lines):
    fit_or_load_all([config(seed=seed, epochs=2) for seed in range(2)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" accuracy")[0].partition(" loss")[0] for line in lines] == [
        f"run {i + 1} of 2 {config(seed=i, epochs=2).run_id()} epoch {epoch}/2" for i in range(2) for epoch in (1, 2)
    ]
    assert all(" loss " in line and " left " in line for line in lines)


def test_the_files_say_how_the_run_came_about(config):
    run = fit_or_load(config())
    assert {"config.json", "model.safetensors", "run.json"} <= {file.name for file in (runs_dir() / run.id).iterdir()}
    record = json.loads((runs_dir() / run.id / "run.json").read_text())
    assert RunConfig(**record["config"]) == run.config
    assert record["history"] == run.history


# Says when it is about to train, and waits until it is told to, or until the other process must have failed.
FIRST_PROCESS = """
import json, select, sys
from lficam import paths
from lficam.training import fit
from lficam.training.config import RunConfig

def train(*arguments):
    print("training", flush=True)
    select.select([sys.stdin], [], [], 60)
    return real(*arguments)

real, fit.train = fit.train, train
fit.fit_or_load(RunConfig(**json.loads(sys.argv[1])))
"""


def test_a_second_process_waits_and_loads(config, monkeypatch):
    given = config()
    first = subprocess.Popen(
        [sys.executable, "-c", FIRST_PROCESS, given.model_dump_json()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with first:
        try:
            assert select.select([first.stdout], [], [], 60)[0]
            assert first.stdout.readline() == "training\n"
            assert not is_stored(given.run_id())
            said = []

            def tell(line, **options):
                """This process waits, and says so: now the other one may train."""
                said.append(line)
                first.stdin.write("go\n")
                first.stdin.flush()

            monkeypatch.setattr(paths, "print", tell, raising=False)
            monkeypatch.setattr(fit, "train", refuse)
            run = fit_or_load(given)
        finally:
            first.stdin.close()
    assert first.returncode == 0
    assert said == [f"waiting for the process that trains {given.run_id()}"]
    assert run.id == given.run_id()
    assert stored_ids() == [given.run_id()]


def without_seconds(run):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.history]


def same_run(got, expected):
    """That two runs of one config are the same to the last bit, but for the time they took."""
    assert (got.id, got.config, got.data, got.classes) == (expected.id, expected.config, expected.data, expected.classes)
    assert (got.mean, got.std) == (expected.mean, expected.std)
    state = got.model.state_dict()
    assert [name for name, value in expected.model.state_dict().items() if not torch.equal(value, state[name])] == []
    assert without_seconds(got) == without_seconds(expected)
    for key in ("test_accuracy", "train_accuracy"):
        assert got.metrics[key] == expected.metrics[key]


@pytest.mark.parametrize("method", ["lfi-cam", "lfi-cam-without-fin", "abn"])
def test_an_interrupted_run_goes_on_where_it_stopped(method, config, lines, tmp_path, capsys, monkeypatch):
    given = config(method=method, epochs=4, batch_size=5, augmentation="crop-flip")
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "uninterrupted"))
    expected = fit_or_load(given)
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "interrupted"))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "epoch", lambda self, id, record: interrupt() if record["epoch"] == 3 else None)
        with pytest.raises(KeyboardInterrupt):
            fit_or_load(given)
    assert stored_ids() == []
    folder = f".unfinished/{given.run_id()}"
    assert everything_in(runs_dir()) == [".unfinished", folder, f"{folder}/before.safetensors", f"{folder}/state.safetensors"]
    capsys.readouterr()
    run = fit_or_load(given)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(" loss")[0] for line in said] == [f"run 1 of 1 {given.run_id()} epoch {epoch}/4" for epoch in (3, 4)]
    same_run(run, expected)
    assert run.metrics["seconds"] == round(sum(record["seconds"] for record in run.history), 1)
    assert not (runs_dir() / folder).exists()
    assert stored_ids() == [given.run_id()]


def test_a_damaged_checkpoint_is_set_aside_and_the_run_trained_from_the_beginning(config, capsys):
    given = config(seed=1)
    file = runs_dir() / ".unfinished" / given.run_id() / "state.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half a ch")
    assert fit.fit_missing([given]) == {}
    assert f"{file} is damaged" in capsys.readouterr().err
    assert stored_ids() == [given.run_id()]
    assert everything_in(runs_dir() / ".unfinished") == []


def test_a_full_disk_while_a_run_is_stored_is_one_line_and_the_training_is_not_lost(config, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(fit, "keep_maps", lambda *arguments: full_disk())
        with pytest.raises(OSError, match=rf"^{config().run_id()} cannot be stored .*: the next call goes on"):
            fit_or_load(config())
    assert stored_ids() == []
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_epoch", lambda *arguments: pytest.fail("an epoch was trained again"))
        fit_or_load(config())


def full_disk():
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


# Says when its fourth epoch has ended, before that epoch's checkpoint, and waits to be killed.
KILLED_PROCESS = """
import json, sys, time
import torch
from lficam.training import fit
from lficam.training import loop
from lficam.training.config import RunConfig
from lficam.progress import Progress

def epoch(self, id, record):
    if record["epoch"] == 4:
        print("fourth epoch", flush=True)
        time.sleep(60)

torch.set_num_threads(1)
loop.CHECKPOINT_SECONDS = 0
Progress.epoch = epoch
fit.fit_or_load(RunConfig(**json.loads(sys.argv[1])))
"""


def test_a_killed_process_loses_the_epoch_under_way_only(config, lines, tmp_path, capsys, monkeypatch):
    given = config(epochs=6, batch_size=5, augmentation="crop-flip")
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "uninterrupted"))
    expected = fit_or_load(given)
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "killed"))
    process = subprocess.Popen([sys.executable, "-c", KILLED_PROCESS, given.model_dump_json()], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert select.select([process.stdout], [], [], 60)[0]
            assert process.stdout.readline() == "fourth epoch\n"
        finally:
            os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert stored_ids() == []
    capsys.readouterr()
    run = fit_or_load(given)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(" loss")[0].rpartition(" ")[2] for line in said] == ["4/6", "5/6", "6/6"]
    same_run(run, expected)
    assert everything_in(runs_dir() / ".unfinished") == []


def test_a_run_says_how_much_data_it_had_and_what_could_not_be_read(config, photographs):
    assert fit_or_load(config()).data == {"train": 12, "test": 6, "unreadable": {}}
    few = fit_or_load(config(max_per_class=2))
    assert few.data == {"train": 4, "test": 6, "unreadable": {}}  # the test images of a class all stay
    assert (len(few.dataset.train), len(few.explained.ids)) == (4, 6)
    (photographs / "train" / "cat" / "broken.png").write_text("no image")
    run = fit_or_load(config())
    assert (run.data["train"], run.data["test"]) == (12, 6)
    ((id, why),) = run.data["unreadable"].items()
    assert id == "train/cat/broken.png"
    assert "cannot identify image" in why
    assert load_run(run.id).data == run.data


def test_a_run_can_be_normalised_as_the_release_does(config):
    assert fit_or_load(config()).mean == (0.485, 0.456, 0.406)
    run = fit_or_load(config(normalization="release"))
    assert (run.mean, run.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert load_run(run.id).dataset.mean == run.mean


def test_a_loaded_run_is_of_the_same_types_as_its_data(config):
    run = fit_or_load(config())
    assert (run.classes, run.mean, run.std) == (run.dataset.classes, run.dataset.mean, run.dataset.std)
    assert run.classes == ("cat", "dog")


def test_too_little_gpu_memory_is_said_with_what_helps(config, monkeypatch):
    def train(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of ...")

    monkeypatch.setattr(fit, "train", train)
    expected = rf"^{config().run_id()}: CUDA out of memory\. Batches of 6 images of 16 pixels do not fit: use a smaller"
    with pytest.raises(InputError, match=expected):
        fit_or_load(config())
    assert stored_ids() == []


def test_an_interruption_after_the_last_epoch_loses_nothing(config, lines, capsys, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(fit, "explain_samples", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit_or_load(config(epochs=2))
    assert "epoch 2/2" in capsys.readouterr().out
    run = fit_or_load(config(epochs=2))
    assert "epoch" not in capsys.readouterr().out
    assert [record["epoch"] for record in run.history] == [1, 2]
    assert run.metrics["test_accuracy"] == run.explained.accuracy(run.dataset.test.labels)


# --- a run that fails -----------------------------------------------------------------------------------------------


def full(*arguments):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of ...")


def only_the_first(call, monkeypatch, owner, name):
    """Put `call` in place of owner.name for one call."""
    real, calls = getattr(owner, name), [call]
    monkeypatch.setattr(owner, name, lambda *arguments, **options: (calls.pop() if calls else real)(*arguments, **options))


def unreadable(*arguments):
    try:
        raise OSError("image file is truncated")
    except OSError as error:
        raise InputError("cannot read the image") from error


@pytest.mark.parametrize("failure", ["loss", "memory in training", "memory in testing", "image in testing"])
def test_a_run_that_fails_leaves_nothing_in_memory_and_the_others_are_trained(failure, config, monkeypatch):
    bad, good = config(seed=1, lr=1e30 if failure == "loss" else 0.01), config(seed=2)
    models, left = [], []
    real = loop.build_model

    def build_model(*arguments):
        gc.collect()
        left.append([model for model in models if model() is not None])  # there must be room before the next is built
        models.append(weakref.ref(model := real(*arguments)))
        return model

    monkeypatch.setattr(loop, "build_model", build_model)
    if failure == "memory in training":
        only_the_first(full, monkeypatch, loop.Objective, "forward")
    elif failure == "memory in testing":
        only_the_first(full, monkeypatch, fit, "explain_samples")
    elif failure == "image in testing":
        only_the_first(unreadable, monkeypatch, fit, "explain_samples")
    failed = fit_missing([bad, good])
    gc.collect()
    assert len(models) == 2
    assert left == [[], []]
    assert [model() for model in models] == [None, None]
    assert stored_ids() == [good.run_id()]
    ((id, error),) = failed.items()
    assert id == bad.run_id()
    assert type(error) is (FloatingPointError if failure == "loss" else InputError)
    if failure != "image in testing":  # the image's own path is said there
        assert id in str(error)
    assert ("CUDA out of memory" in str(error)) is failure.startswith("memory")
    assert "\n" not in str(error)


def test_a_loss_that_is_not_finite_names_its_run(config):
    with pytest.raises(FloatingPointError, match=rf"^{config(lr=1e30).run_id()}: the loss is nan in epoch 1, with lr=1e\+30"):
        fit_or_load(config(lr=1e30))


# --- trunks of one's own --------------------------------------------------------------------------------------------


def with_dropout():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)))


def test_a_run_with_dropout_is_the_same_again_interrupted_or_not(config, lines, tmp_path, monkeypatch):
    register_trunk("tests_runs_dropout", with_dropout)
    given = config(trunk="tests_runs_dropout", epochs=4, batch_size=5, augmentation="crop-flip")
    found = []
    for name, seed in (("first", 1), ("again", 2), ("interrupted", 3)):
        monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / name))
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        if name == "interrupted":
            monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
            with monkeypatch.context() as patch:
                patch.setattr(Progress, "epoch", lambda self, id, record: interrupt() if record["epoch"] == 3 else None)
                with pytest.raises(KeyboardInterrupt):
                    fit_or_load(given)
            assert torch.equal(torch.get_rng_state(), state)
            assert (unfinished(given.run_id()) / "state.safetensors").is_file()
            torch.manual_seed(4)  # another process
            state = torch.get_rng_state()
        found.append(fit_or_load(given))
        assert torch.equal(torch.get_rng_state(), state)
    same_run(found[1], found[0])
    same_run(found[2], found[0])


def test_a_run_of_so_many_threads_is_the_same_bits_on_any_number_of_cores(config):
    given, found = config(threads=1, augmentation="crop-flip", epochs=3), []
    for cores in (1, 2):
        with cpu_threads(cores):
            found.append(fit_or_load(given))
            assert torch.get_num_threads() == cores
        shutil.rmtree(runs_dir() / given.run_id())
    assert [run.environment["threads"] for run in found] == [1, 1]
    same_run(*found)


@pytest.mark.parametrize(("main", "jobs"), [(SimpleNamespace(__file__="script.py"), 1), (SimpleNamespace(), 4)])
def test_a_notebook_trains_side_by_side_and_a_script_does_not(main, jobs, config, monkeypatch):
    """A process beside a script runs it again from its top; a notebook has none."""

    def fit_in_workers(work, configs, jobs, on_epoch):
        at_once.append(jobs)
        interrupt()

    def here(*arguments, **options):
        at_once.append(1)
        interrupt()

    at_once = []
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(fit, "fit_in_workers", fit_in_workers)
    monkeypatch.setattr(fit, "_fit", here)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    with pytest.raises(KeyboardInterrupt):
        fit_or_load_all([config(seed=seed, threads=1) for seed in range(5)])
    assert at_once == [jobs]


def test_a_registered_trunk_is_trained_in_the_process_that_knows_it(config, monkeypatch):
    register_trunk("tests_runs_registered", with_dropout)
    configs = [config(trunk="tests_runs_registered"), other := config()]
    elsewhere, failed = [], {"another": ValueError()}
    monkeypatch.setattr(fit, "fit_in_workers", lambda work, configs, *rest: elsewhere.append(list(configs)) or dict(failed))
    assert fit_missing(configs, jobs=2) == failed
    assert elsewhere == [[other.run_id()]]
    assert stored_ids() == [configs[0].run_id()]
    assert fit_missing(configs[:1], jobs=2) == {}  # what is in the store needs no training
    assert fit_missing([config(trunk="tests_runs_registered", seed=1)], jobs=2) == {}  # and these alone need no worker
    assert len(elsewhere) == 1


# --- what is looked at ----------------------------------------------------------------------------------------------


def test_what_is_stored_of_unreadable_images_has_no_path(config, photographs, tmp_path):
    for name in ("broken.png", "it's.jpg"):
        (photographs / "test" / "dog" / name).write_text("no image")
    data_dir().mkdir()
    shutil.move(photographs, data_dir() / "folder")
    run = fit_or_load(config(data=None))
    assert run.data["unreadable"] == {f"test/dog/{name}": "cannot identify image file it" for name in ("broken.png", "it's.jpg")}
    assert str(tmp_path) not in (runs_dir() / run.id / "run.json").read_text()


@pytest.fixture
def given_to_networks(monkeypatch):
    """The batches that LFI-CAM is asked to explain in a test."""
    batches, real = [], LFICAM.explain
    monkeypatch.setattr(LFICAM, "explain", lambda self, images: (batches.append(images.clone()), real(self, images))[1])
    return batches


def smooth(width, height, number):
    """Brighter to the right and to the bottom, each number in its own colours."""
    across, down = np.meshgrid(np.linspace(0, 150, width), np.linspace(0, 150, height))
    return np.stack([across + 20 * number, down + 10 * number, 250 - across], 2).round().astype(np.uint8)


@pytest.fixture
def landscapes(tmp_path):
    """Two classes of smooth images, wide and upright, with names of their own."""
    for split in ("train", "test"):
        for k, kind in enumerate(("cat", "dog")):
            for i in range(2):
                file = tmp_path / "landscapes" / split / kind / f"{kind} {i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(smooth(*((72, 48), (40, 60))[i], 2 * k + i)).save(file)
    return tmp_path / "landscapes"


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_image_of_ones_own_is_seen_as_in_the_evaluation(
    augmentation, streamed, config, landscapes, given_to_networks, tmp_path, monkeypatch
):
    if streamed:
        monkeypatch.setattr(datasets, "MEMORY_LIMIT", 0)
    datasets._load.cache_clear()
    run = fit_or_load(config(data=str(landscapes), augmentation=augmentation, image_size=28, batch_size=4))
    assert isinstance(run.dataset.test, ImageFiles) is streamed
    given_to_networks.clear()
    probabilities = run.explained.probabilities
    (evaluated,) = given_to_networks
    files = [landscapes / id for id in run.dataset.test.ids]
    results = list(explain_files(files, [column_of(run.id)], tmp_path / "pictures"))
    own = torch.cat(given_to_networks[1:])
    assert evaluated.std() > 0.3
    if streamed:  # resampled once, not twice, for a test crop
        assert (own - evaluated).abs().max() < 4 / 255 / min(run.std)
    else:
        assert torch.equal(own, evaluated)
        found = [max(answer.probabilities.values()) for result in results for answer in result.answers]
        assert found == pytest.approx(probabilities.amax(1).tolist(), rel=1e-5)
    datasets._load.cache_clear()


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_image_of_ones_own_is_seen_as_one_of_a_data_set_of_small_images(
    augmentation, config, given_to_networks, tmp_path, monkeypatch
):
    """As CIFAR, kept at its own 32 pixels, for networks of another size."""
    pixels = np.stack([smooth(32, 32, number) for number in range(4)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    samples = Samples(tuple("abcd"), images, torch.tensor([0, 0, 1, 1]), torch.full((4, 2), 32.0))
    dataset = Dataset("small", ("a", "b"), (0.5,) * 3, (0.25,) * 3, samples, samples)
    monkeypatch.setattr("lficam.training.runs.load_dataset", lambda *arguments, **options: dataset)
    files = [tmp_path / f"{i}.png" for i in range(4)]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    run = fit_or_load(config(augmentation=augmentation, image_size=64, batch_size=4))
    given_to_networks.clear()
    assert run.explained.ids == tuple("abcd")
    (evaluated,) = given_to_networks
    list(explain_files(files, [column_of(run.id)], tmp_path / "pictures"))
    own = torch.cat(given_to_networks[1:])
    assert evaluated.shape == own.shape == (4, 3, 64, 64)
    assert (own - evaluated).abs().max() < 1.5 / 255 / 0.25  # to the very border


def test_an_untrained_network_has_learned_nothing_and_uses_every_branch():
    """timm's residual branches start switched off, by norms of weight 0."""
    config = RunConfig(dataset="folder", trunk="resnet18", method="lfi-cam", seed=3)
    about = {"history": [], "metrics": {}, "environment": {}, "data": {}, "mean": (0, 0, 0), "std": (1, 1, 1)}
    run = Run(id="a", config=config, model=None, classes=("cat", "dog"), **about)
    state = torch.random.get_rng_state()
    networks = [run.untrained(number) for number in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [network.state_dict() for network in networks]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["trunk.layer4.0.conv1.weight"], weights[2]["trunk.layer4.0.conv1.weight"])
    norms = [layer for layer in networks[0].modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in norms)
    assert not networks[0].training
