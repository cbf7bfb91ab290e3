"""LFICAM_TRACKER=tensorboard writes every epoch's record where `tensorboard --logdir <runs>/tensorboard` finds it."""

import pytest
from helpers import photographs
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lficam.errors import InputError
from lficam.paths import runs_dir
from lficam.progress import Progress
from lficam.training import loop
from lficam.training.config import RunConfig
from lficam.training.fit import fit_missing, fit_or_load
from lficam.training.runs import stored_ids


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("LFICAM_TRACKER", raising=False)


@pytest.fixture
def config(tmp_path):
    given = {"dataset": "folder", "data": str(photographs(tmp_path / "photographs")), "trunk": "cifar_resnet8", "image_size": 16}
    return RunConfig(**given, epochs=4, lr=0.01, batch_size=2, augmentation="none")


def curves(id):
    """What TensorBoard shows of a run: quantity -> [(epoch, value)]."""
    events = EventAccumulator(str(runs_dir() / "tensorboard" / id)).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_is_given_the_record_of_every_epoch(config, monkeypatch):
    monkeypatch.setenv("LFICAM_TRACKER", "tensorboard")
    run = fit_or_load(config)
    shown = curves(run.id)
    assert shown.keys() == {"epoch", "lr", "loss", "accuracy", "seconds"}
    for name, points in shown.items():
        assert [step for step, _ in points] == [1, 2, 3, 4]
        assert [value for _, value in points] == pytest.approx([record[name] for record in run.history], rel=1e-6)
    assert stored_ids() == [run.id]  # the folder "tensorboard" is no run


def test_a_resumed_training_goes_on_in_the_same_curves(config, monkeypatch):
    monkeypatch.setenv("LFICAM_TRACKER", "tensorboard")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Progress, "epoch", interrupt_in_epoch_3)
        fit_or_load(config)
    run = fit_or_load(config)
    assert curves(run.id)["loss"] == [(record["epoch"], pytest.approx(record["loss"], rel=1e-6)) for record in run.history]


def interrupt_in_epoch_3(self, id, record):
    if record["epoch"] == 3:
        raise KeyboardInterrupt


def test_the_settings_of_a_run_are_kept_with_its_curves(config, monkeypatch):
    monkeypatch.setenv("LFICAM_TRACKER", "tensorboard")
    run = fit_or_load(config)
    (file,) = (runs_dir() / "tensorboard" / run.id).rglob("hparams.yml")
    settings = file.read_text().splitlines()
    assert {"method: lfi-cam", "epochs: 4", "lr: 0.01", "trunk: cifar_resnet8"} <= set(settings)
    assert str(config.data) not in file.read_text()  # no path of this machine


def test_the_same_model_is_trained_with_and_without(config, monkeypatch, tmp_path):
    losses = []
    for name, tracker in (("without", ""), ("with", "tensorboard")):
        monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / name))
        monkeypatch.setenv("LFICAM_TRACKER", tracker)
        losses.append([record["loss"] for record in fit_or_load(config).history])
    assert losses[0] == losses[1]
    assert not list((tmp_path / "without").rglob("*tfevents*"))
    assert not (tmp_path / "without" / "tensorboard").exists()
    assert list((tmp_path / "with").rglob("*tfevents*"))


@pytest.mark.parametrize("tracker", ["wandb", "TensorBoard", "1"])
def test_another_tracker_is_refused_before_anything_is_trained(tracker, config, monkeypatch):
    monkeypatch.setenv("LFICAM_TRACKER", tracker)
    with pytest.raises(InputError, match=f"LFICAM_TRACKER='{tracker}': expected tensorboard") as caught:
        fit_or_load(config)
    assert "\n" not in str(caught.value)
    assert stored_ids() == []
    assert not (runs_dir() / "tensorboard").exists()


def test_tensorboard_must_be_installed(config, monkeypatch):
    monkeypatch.setenv("LFICAM_TRACKER", "tensorboard")
    monkeypatch.setattr("accelerate.utils.is_tensorboard_available", lambda: False)
    (error,) = fit_missing([config]).values()
    assert type(error) is InputError
    assert "pip install tensorboard" in str(error)
    assert stored_ids() == []
