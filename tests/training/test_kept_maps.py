"""What a run keeps beside its model: the same maps that the model gives, also of its epochs; the training stays as it is."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import few_digits as config
from helpers import write_image
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from lficam.data.augmentation import normalize
from lficam.data.datasets import load_dataset
from lficam.data.samples import held_out, shuffled, without_fold
from lficam.errors import InputError
from lficam.metrics.localisation import localisation
from lficam.model.methods import METHODS
from lficam.model.plain import Plain
from lficam.paths import runs_dir
from lficam.training import fit, kept_maps, loop
from lficam.training.config import RunConfig
from lficam.training.fit import fit_missing, fit_or_load, fit_or_load_all, unfinished
from lficam.training.kept_maps import kept_epochs, with_averaged_norms
from lficam.training.loop import build_model, train
from lficam.training.runs import dataset_of, load_run

pytestmark = pytest.mark.usefixtures("empty_store")


def files_of(id):
    return {
        file.name: file.read_bytes() for file in (runs_dir() / id).iterdir() if file.name in ("maps.safetensors", "answers.csv")
    }


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [(1, [0, 1]), (2, [0, 1, 2]), (8, [0, 1, 2, 4, 8]), (10, [0, 1, 2, 4, 8, 10]), (40, [0, 1, 2, 4, 8, 16, 32, 40])],
)
def test_epochs_are_kept_in_powers_of_two_and_the_last(epochs, kept):
    assert kept_epochs(epochs) == kept


@pytest.mark.parametrize("method", METHODS)
def test_the_maps_are_the_models(method):
    run = fit_or_load(config(method=method))
    chosen = shuffled(len(run.dataset.test))[: kept_maps.FINAL_IMAGES]
    kept, explained = run.kept, run.explained
    assert set(kept.maps) == {"cam", "mean_features"} | ({"cam_of_label"} if method == "plain" else set())
    for name, expected in (("cam", explained.cam), ("mean_features", explained.mean_features)):
        assert kept.maps[name].shape == expected[chosen].shape
        np.testing.assert_allclose(kept.maps[name], expected[chosen], atol=0.51 / 65535)
    answers = kept.answers
    assert answers["id"].tolist() == [run.dataset.test.ids[i] for i in chosen]
    assert answers["label"].tolist() == [run.classes[run.dataset.test.labels[i]] for i in chosen]
    probabilities, labels = explained.probabilities[chosen], run.dataset.test.labels[chosen]
    assert answers["predicted"].tolist() == [run.classes[label] for label in probabilities.argmax(1)]
    np.testing.assert_allclose(answers["probability"], probabilities.max(1).values, atol=1e-6)
    np.testing.assert_allclose(answers["probability_of_label"], probabilities[torch.arange(len(labels)), labels], atol=1e-6)
    for metric, values in localisation(explained.cam[chosen], run.masks(chosen)).items():
        np.testing.assert_allclose(answers[metric], values, atol=1e-6)
    assert set(answers["split"]) == {"test"}


def test_a_plain_network_keeps_the_maps_of_the_true_class_too():
    run = fit_or_load(config(method="plain", epochs=1))
    chosen = shuffled(len(run.dataset.test))
    with torch.no_grad():
        expected = run.model.explain(run.inputs(chosen), run.dataset.test.labels[chosen]).cam
    np.testing.assert_allclose(run.kept.maps["cam_of_label"], expected, atol=1e-4)
    wrong = torch.tensor((run.kept.answers["label"] != run.kept.answers["predicted"]).tolist())
    assert wrong.any()
    assert torch.equal(run.kept.maps["cam"][~wrong], run.kept.maps["cam_of_label"][~wrong])
    assert not torch.allclose(run.kept.maps["cam"][wrong], run.kept.maps["cam_of_label"][wrong], atol=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_keeping_them_changes_no_training_by_a_bit(method):
    given = config(method=method)
    dataset = dataset_of(given)
    seen = []
    watched, history = train(given, dataset, lambda record: None, None, lambda epoch, model: seen.append(epoch))
    run = fit_or_load(given)
    assert seen == [0, 1, 2, 3]
    alone, alone_history = train(given, dataset, lambda record: None)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name]), name
        assert torch.equal(value, watched.state_dict()[name]), name
    assert [record["loss"] for record in run.history] == [record["loss"] for record in alone_history]
    assert [record["loss"] for record in history] == [record["loss"] for record in alone_history]


def test_the_epochs_are_those_of_the_training():
    given = config(epochs=4)
    run = fit_or_load(given)
    shown = shuffled(len(run.dataset.test))[: kept_maps.EPOCH_IMAGES]
    assert list(run.epoch_maps) == [0, 1, 2, 4]
    inputs = run.inputs(shown)
    models = {}
    train(
        given,
        run.dataset,
        lambda record: None,
        None,
        lambda epoch, model: models.update({epoch: model.state_dict() | {}}) or keep(models, epoch),
    )
    for epoch in (1, 2, 4):
        again = build_model(given, 3)
        again.load_state_dict(models[epoch])
        with torch.no_grad():
            expected = again.eval().explain(inputs).cam
        np.testing.assert_allclose(run.epoch_maps[epoch], expected, atol=0.51 / 255 + 1e-3)
    np.testing.assert_allclose(run.epoch_maps[4], run.kept.maps["cam"][: len(shown)], atol=0.51 / 255 + 1e-4)
    assert (run.epoch_maps[0] - run.epoch_maps[4]).abs().mean() > 0.01


def keep(models, epoch):
    models[epoch] = {name: value.clone() for name, value in models[epoch].items()}


def test_the_norms_of_an_untrained_network_are_averaged_by_hand():
    """Batches of two images: the mean of the batches' own means and variances; one image alone does not count."""
    norm = nn.BatchNorm2d(1)
    model = Plain(nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), norm, nn.Dropout(0.5)), num_features=1, num_classes=2)
    nn.init.ones_(model.trunk[0].weight)
    first, second = torch.tensor([1.0, 3.0, 5.0, 7.0]).view(2, 1, 1, 2), torch.tensor([10.0, 30.0]).view(2, 1, 1, 1)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    averaged = with_averaged_norms(model, [first, second, torch.full((1, 1, 1, 1), 99.0)])
    assert averaged.trunk[1].running_mean.item() == pytest.approx((4 + 20) / 2)
    assert averaged.trunk[1].running_var.item() == pytest.approx((20 / 3 + 200) / 2)  # unbiased
    assert not any(part.training for part in averaged.modules())
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_epoch_0_is_the_untrained_network_with_averaged_norms():
    given = config(epochs=1)
    run = fit_or_load(given)
    data = run.dataset
    crops = data.train.crops(given.image_size, given.augmentation, kept_maps.NORM_BATCH, torch.device("cpu"))
    untrained = with_averaged_norms(build_model(given, 3), (normalize(images, data.mean, data.std) for images in crops))
    shown = shuffled(len(data.test))[: kept_maps.EPOCH_IMAGES]
    with torch.no_grad():
        expected = untrained.explain(run.inputs(shown)).cam
    np.testing.assert_allclose(run.epoch_maps[0], expected, atol=0.51 / 255 + 1e-4)


def test_a_resumed_run_keeps_the_same(monkeypatch):
    given = config(epochs=4)
    whole = fit_or_load(given)
    expected = files_of(whole.id) | {"epochs": load_file(runs_dir() / whole.id / "epochs.safetensors")}
    shutil.rmtree(runs_dir() / whole.id)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    real = fit.EpochMaps.__call__

    def killed(self, epoch, model):
        real(self, epoch, model)
        if epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit.EpochMaps, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            fit_or_load(given)
    assert (unfinished(whole.id) / "state.safetensors").is_file()
    fit_or_load(given)
    epochs = load_file(runs_dir() / whole.id / "epochs.safetensors")
    assert files_of(whole.id) == {name: expected[name] for name in ("maps.safetensors", "answers.csv")}
    assert epochs.keys() == expected["epochs"].keys()
    assert all(torch.equal(levels, expected["epochs"][epoch]) for epoch, levels in epochs.items())
    assert not unfinished(whole.id).exists()


def test_a_run_stored_without_them_gets_the_final_ones_on_first_need(monkeypatch):
    id = fit_or_load(config(method="plain")).id
    expected = files_of(id)
    for name in (*expected, "epochs.safetensors"):
        (runs_dir() / id / name).unlink()
    monkeypatch.setattr(fit, "train", None)  # nothing is trained
    kept = load_run(id).kept
    assert files_of(id) == expected
    pd.testing.assert_frame_equal(kept.answers, load_run(id).kept.answers)
    with pytest.raises(InputError, match="has no maps of its epochs"):
        _ = load_run(id).epoch_maps


def test_only_those_without_their_epochs_are_trained_again():
    first, second = config(epochs=1), config(epochs=1, seed=1)
    fit_or_load_all([first, second])
    (runs_dir() / first.run_id() / "epochs.safetensors").unlink()
    assert fit.missing([first, second]) == {}
    assert list(fit.missing([first, second], epochs=True)) == [first.run_id()]
    before = (runs_dir() / second.run_id() / "run.json").stat().st_mtime_ns
    assert fit_missing([first, second], epochs=True) == {}
    assert list(load_run(first.run_id()).epoch_maps) == [0, 1]
    assert (runs_dir() / second.run_id() / "run.json").stat().st_mtime_ns == before


def test_a_fold_is_left_out_of_the_training_and_its_maps_are_kept_too(monkeypatch):
    given = config(fold="2/5", epochs=1)
    seen = []
    real = loop._train_epoch
    monkeypatch.setattr(loop, "_train_epoch", lambda *arguments: seen.append(arguments[4]) or real(*arguments))
    run = fit_or_load(given)
    images = len(run.dataset.train)
    assert seen == [images - len(held_out(images, "2/5"))] == [run.data["train"]]
    answers = run.kept.answers
    of_train = answers[answers["split"] == "train"]
    assert of_train["id"].tolist() == list(run.dataset.train.ids)
    assert (answers["split"] == "test").sum() == len(run.dataset.test)
    expected = run.explain(run.dataset.train)
    np.testing.assert_allclose(run.kept.maps["cam"][-images:], expected.cam, atol=1e-4)


def test_five_folds_are_all_the_images_once():
    parts = [held_out(23, f"{k}/5") for k in range(1, 6)]
    assert sorted(i for part in parts for i in part) == list(range(23))
    assert {len(part) for part in parts} == {4, 5}


def test_what_is_left_is_the_rest_in_order():
    samples = dataset_of(config()).train
    rest = without_fold(samples, "1/3")
    out = {samples.ids[i] for i in held_out(len(samples), "1/3")}
    assert list(rest.ids) == [id for id in samples.ids if id not in out]
    assert without_fold(samples, None) is samples


@pytest.mark.parametrize("fold", ["0/5", "6/5", "1/1", "2", "a/b", "1/5/2", "-1/5", ""])
def test_what_is_no_fold_is_refused(fold):
    with pytest.raises(ValueError, match='expected "k/n", such as "2/5"'):
        config(fold=fold)


def test_a_fold_is_part_of_the_id_and_none_is_not():
    assert config(fold="02/5").run_id() == config(fold="2/5").run_id() != config(fold="1/5").run_id()
    assert config().run_id() == config(fold=None).run_id()


def test_norms_that_have_statistics_keep_them():
    """Those of a pretrained trunk."""
    old, new = nn.BatchNorm2d(1), nn.BatchNorm2d(1)
    old.running_mean.fill_(7)
    old.num_batches_tracked.fill_(100)
    averaged = with_averaged_norms(Plain(nn.Sequential(old, new), num_features=1, num_classes=2), [torch.rand(4, 1, 2, 2)])
    assert averaged.trunk[0].running_mean.item() == 7
    assert averaged.trunk[1].running_mean.item() != 0


def test_the_checkpoint_of_an_older_version_is_not_gone_on_with(monkeypatch):
    """It kept no maps of the epochs before."""
    given = config(epochs=4)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)

    def interrupt(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(given, dataset_of(given), interrupt, unfinished(given.run_id()))
    assert list(fit_or_load(given).epoch_maps) == [0, 1, 2, 4]
    assert len(load_run(given.run_id()).history) == 4


def test_masks_that_change_change_what_is_kept(tmp_path):
    """Of a folder of photographs whose masks come later."""
    for split in ("train", "test"):
        for kind in ("cat", "dog"):
            for i in range(3):
                write_image(tmp_path / "photos" / split / kind / f"{i}.png")
    given = RunConfig(dataset="folder", data=str(tmp_path / "photos"), trunk="cifar_resnet8", image_size=16, epochs=1, batch_size=4)
    run = fit_or_load(given)
    assert "energy" not in run.kept.answers
    mask = Image.new("L", (40, 40), 1)
    (tmp_path / "photos/masks/test/cat").mkdir(parents=True)
    mask.save(tmp_path / "photos/masks/test/cat/1.png")
    load_dataset.__globals__["_load"].cache_clear()  # as in another process
    answers = replace(load_run(run.id), config=given).kept.answers.set_index("id")
    assert answers.loc["test/cat/1.png", "energy"] == 1
    assert answers["energy"].notna().sum() == 1
