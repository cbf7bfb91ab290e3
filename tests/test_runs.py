import json
import select
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image

from lficam import paths, runs
from lficam.config import RunConfig
from lficam.errors import InputError
from lficam.lfi_cam import LFICAM
from lficam.paths import data_dir, runs_dir
from lficam.runs import fit_or_load, fit_or_load_all, is_stored, load_run, stored_ids

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

    real = runs.train
    monkeypatch.setattr(runs, "train", train)
    return models


def refuse(*arguments):
    raise AssertionError("trained again")


def everything_in(folder):
    """All files, but for the locks."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")


@pytest.mark.parametrize("method", ["lfi-cam", "lfi-cam-without-fin", "abn"])
def test_a_run_is_trained_once_and_then_loaded(method, config, trained, monkeypatch):
    first = fit_or_load(config(method=method))
    assert len(trained) == 1
    monkeypatch.setattr(runs, "train", refuse)
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
        patch.setattr(runs, "train", interrupt)
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
    assert [entry for entry in runs_dir().iterdir() if entry.name != ".locks"] == []
    assert fit_or_load(config()).id in stored_ids()


def test_an_interruption_keeps_the_runs_that_were_finished(config, trained, monkeypatch):
    configs = [config(seed=seed) for seed in range(3)]
    real = runs.train
    with monkeypatch.context() as patch:
        patch.setattr(runs, "train", lambda given, *rest: interrupt() if given.seed == 1 else real(given, *rest))
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
    monkeypatch.setattr(runs, "train", refuse)
    run = fit_or_load(config(data=str(moved)))
    assert run.config.data == str(moved)
    assert run.explained.ids == before.ids
    assert torch.equal(run.explained.cam, before.cam)


def test_a_run_is_found_after_its_data_has_moved_to_the_data_folder(config, photographs, monkeypatch):
    before = fit_or_load(config()).explained
    data_dir().mkdir()
    shutil.move(photographs, data_dir() / "folder")
    monkeypatch.setattr(runs, "train", refuse)
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
    from lficam.digits import RECIPES

    monkeypatch.setitem(RECIPES, "digits-catdog", RECIPES["digits-catdog"]._replace(train=24, test=10))
    given = RunConfig(dataset="digits-catdog", trunk="cifar_resnet8", epochs=1, batch_size=8, lr=0.01)
    run = fit_or_load(given)
    assert len(run.explained.ids) == 10
    assert run.explained.cam.shape == (10, 1, 7, 7)


def test_progress_says_which_run_epoch_and_loss(config, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # in a notebook it is a bar; pytest's plugins may import it
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
from lficam import paths, runs
from lficam.config import RunConfig

def train(*arguments):
    print("training", flush=True)
    select.select([sys.stdin], [], [], 60)
    return real(*arguments)

real, runs.train = runs.train, train
runs.fit_or_load(RunConfig(**json.loads(sys.argv[1])))
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
            monkeypatch.setattr(runs, "train", refuse)
            run = fit_or_load(given)
        finally:
            first.stdin.close()
    assert first.returncode == 0
    assert said == [f"waiting for the process that trains {given.run_id()}"]
    assert run.id == given.run_id()
    assert stored_ids() == [given.run_id()]
