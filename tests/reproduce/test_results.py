"""What trainings leave in the repository: the maps and answers of the run, read without it, and no pixel."""

import json
import shutil

import pandas as pd
import pytest
import torch
from helpers import few_digits as config
from pandas.testing import assert_frame_equal
from safetensors.torch import load_file

from lficam.data.samples import shuffled
from lficam.errors import InputError
from lficam.figures.folds import in_folds
from lficam.metrics.localisation import localisation
from lficam.paths import runs_dir
from lficam.reproduce import photographs
from lficam.reproduce.photographs import train_and_write
from lficam.reproduce.results import read_trainings, write_training, written
from lficam.training.fit import fit_or_load
from lficam.training.runs import load_record

pytestmark = pytest.mark.usefixtures("empty_store")


def equal(maps, others):
    return maps.keys() == others.keys() and all(torch.equal(maps[name], others[name]) for name in maps)


@pytest.mark.parametrize("method", ["lfi-cam", "abn", "plain"])
def test_what_is_written_is_what_the_run_keeps(method, tmp_path):
    run = fit_or_load(config(method=method))
    write_training(run, tmp_path / "left", epochs=None)
    shutil.rmtree(runs_dir())  # nothing of it is needed to read
    (training,) = read_trainings(tmp_path / "left")
    expected = {name: maps for name, maps in run.kept.maps.items() if name != "mean_features" or method == "plain"}
    assert equal(training.kept.maps, expected)
    on_objects = [name for name in training.kept.answers if " of " in name]
    assert bool(on_objects) == (method == "lfi-cam")
    assert_frame_equal(
        training.kept.answers.drop(columns=on_objects), run.kept.answers, check_dtype=False, check_like=True, atol=1e-6
    )
    assert {"pointing", "energy"} < set(training.kept.answers)
    assert list(training.epoch_maps) == [0, 1, 2, 3]
    assert (training.id, training.config, training.classes) == (run.id, run.config, run.classes)
    assert (training.history, training.metrics, training.environment) == (run.history, run.metrics, run.environment)


def test_what_its_masks_say_of_other_maps_is_kept(tmp_path):
    run = fit_or_load(config())
    write_training(run, tmp_path)
    (training,) = read_trainings(tmp_path)
    index = shuffled(len(run.dataset.test))
    masks = run.masks(index)
    found = localisation(run.explained.mean_features[index], masks)
    answers = training.kept.answers
    assert answers["energy of mean features, with FIN"].tolist() == pytest.approx(found["energy"].tolist(), abs=1e-4)
    assert answers["energy of a uniform map"].tolist() == pytest.approx(masks.float().mean((1, 2, 3)).tolist())


def test_the_maps_of_its_epochs_are_the_runs(tmp_path):
    run = fit_or_load(config())
    write_training(run, tmp_path / "left", epochs=None)
    write_training(run, tmp_path / "first")
    (training,), (of_first,) = read_trainings(tmp_path / "left"), read_trainings(tmp_path / "first")
    assert equal(training.epoch_maps, run.epoch_maps)
    assert list(of_first.epoch_maps) == [0]
    assert torch.equal(of_first.epoch_maps[0], run.epoch_maps[0])


def test_of_a_fold_the_true_classes_maps_of_all_training_images_are_written(tmp_path):
    first, second = (fit_or_load(config(method="plain", fold=f"{k}/3", seed=k, epochs=1)) for k in (1, 2))
    whole = fit_or_load(config(method="plain", epochs=1))
    for run in (first, second, whole):
        write_training(run, tmp_path)
    read = {training.id: training for training in read_trainings(tmp_path)}
    assert set(read) == written(tmp_path) == {first.id, second.id, whole.id}
    for run in (first, second):
        rows = (run.kept.answers["split"] == "train").tolist()
        assert sum(rows) == 36
        assert equal(read[run.id].kept.maps, {"cam_of_label": run.kept.maps["cam_of_label"][rows]})
        assert read[run.id].kept.answers["id"].tolist() == run.kept.answers["id"][rows].tolist()
        assert read[run.id].kept.answers["predicted"].tolist() == run.kept.answers["predicted"][rows].tolist()
    assert set(read[whole.id].kept.answers["split"]) == {"test"}


def test_a_folder_holds_one_data_set(tmp_path):
    write_training(fit_or_load(config(epochs=1)), tmp_path)
    with pytest.raises(InputError, match=r"test images are not the \d+ that .*images.csv names"):
        write_training(fit_or_load(config(epochs=1, max_classes=2)), tmp_path)
    assert len(read_trainings(tmp_path)) == 1


def test_a_folder_without_trainings_is_said(tmp_path):
    with pytest.raises(InputError, match=r"holds no trainings: expected runs\.json"):
        read_trainings(tmp_path)


def test_neither_pixels_nor_the_folder_of_the_data_are_written(tmp_path):
    write_training(fit_or_load(config(epochs=1)), tmp_path / "left")
    assert sorted(file.suffix for file in (tmp_path / "left").iterdir()) == [".csv", ".csv", ".json", ".safetensors"]
    (file,) = (tmp_path / "left").glob("*.safetensors")
    names = {"cam", "epoch 0", "predicted", "probability", "probability_of_label", "pointing", "energy"}
    names |= {
        f"{metric} of {name}"
        for metric in ("energy", "pointing")
        for name in ("mean features, with FIN", "a uniform map", "a centred blob")
    }
    assert set(load_file(file)) == names
    (record,) = json.loads((tmp_path / "left" / "runs.json").read_text()).values()
    assert "data" not in record["config"]


def test_a_short_table_says_what_differs_between_the_trainings(tmp_path):
    runs = [fit_or_load(config(epochs=1, method=method, lr=lr)) for method, lr in (("lfi-cam", 0.05), ("abn", 0.1))]
    for run in runs:
        write_training(run, tmp_path)
    table = pd.read_csv(tmp_path / "trainings.csv")
    assert table["id"].tolist() == [runs[1].id, runs[0].id]
    assert table["lr"].tolist() == [0.1, 0.05]
    assert table["test_accuracy"].tolist() == [run.metrics["test_accuracy"] for run in reversed(runs)]
    assert table["hardware"].str.contains("cores").all()


def test_five_folds_leave_out_another_part_each_and_have_a_seed_each():
    settings = [config(method=method, seed=k, lr=lr) for method in ("abn", "lfi-cam") for k, lr in ((1, 0.1), (2, 0.2))]
    found = in_folds(settings)
    for method in ("abn", "lfi-cam"):
        own = [one for one in found if one.method == method]
        assert [(one.fold, one.seed, one.lr) for one in own] == [(f"{k}/5", k, 0.1) for k in range(1, 6)]


def test_each_training_is_written_as_it_ends_and_what_is_there_is_not_trained_again(tmp_path, capsys):
    first, second = config(epochs=1), config(epochs=1, seed=1)
    train_and_write({"a row": [first]}, {first.run_id()}, {}, tmp_path / "left")
    shutil.rmtree(runs_dir() / first.run_id())
    train_and_write({"a row": [first, second]}, {first.run_id()}, {}, tmp_path / "left")
    assert "a row: 2 of 2" in capsys.readouterr().out
    assert written(tmp_path / "left" / "digits-stl10") == {first.run_id(), second.run_id()}
    assert not (runs_dir() / first.run_id()).exists()
    epochs = {training.id: list(training.epoch_maps) for training in read_trainings(tmp_path / "left" / "digits-stl10")}
    assert epochs == {first.run_id(): [0, 1], second.run_id(): [0]}


def test_a_run_stored_without_the_maps_of_its_epochs_is_trained_again(tmp_path):
    run = fit_or_load(config(epochs=1))
    (runs_dir() / run.id / "epochs.safetensors").unlink()
    train_and_write({"a row": [run.config]}, set(), {}, tmp_path)
    (training,) = read_trainings(tmp_path / "digits-stl10")
    assert list(training.epoch_maps) == [0]
    assert load_record(run.id).metrics["test_accuracy"] == run.metrics["test_accuracy"]


def test_the_trainings_on_photographs_are_those_of_the_profile_and_more(monkeypatch):
    for name in ("lficam.figures.experiments", "lficam.data.datasets"):
        monkeypatch.setattr(f"{name}.data_fingerprint", lambda name, folder: "there")
    rows = photographs.trainings()
    assert [len(configs) for configs in rows.values()] == [20, 20, 15, 15, 6, 6]
    for configs in rows.values():
        assert [one.seed for one in configs] == sorted(one.seed for one in configs)
    distinct = {one.model_dump_json() for configs in rows.values() for one in configs}
    assert len(distinct) == 20 + 16 + 15 + 15 + 5 + 5  # setting 1 has seed 1, Figure 1 shares with 4, 3 with the last row
