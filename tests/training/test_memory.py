"""The estimate of a training's memory, against what is counted by hand and what autograd keeps when it computes."""

from types import SimpleNamespace

import pytest
import torch
from helpers import few_digits
from torch import nn

from lficam.training import memory
from lficam.training.loop import Objective, build_model
from lficam.training.memory import estimate, warn_if_too_large


class Two(nn.Module):
    """3 x 3 convolution without bias, ReLU, mean, linear: 3 channels to 4, to 5 classes."""

    def __init__(self):
        super().__init__()
        self.features, self.fc = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Linear(4, 5)

    def explain(self, images):
        logits = self.fc(self.features(images).relu().mean((2, 3)))
        return SimpleNamespace(logits=logits, aux_logits=None)


def test_it_is_what_one_counts_by_hand(monkeypatch):
    monkeypatch.setattr(memory, "build_model", lambda config, classes: Two())
    found = estimate(few_digits(batch_size=8), 5)
    assert found.weights == 4 * 3 * (4 * 3 * 9 + 4 * 5 + 5)
    # An image: the input, the ReLU's output, the mean that the linear layer takes, log-probabilities, its label; and for the
    # loss the sum of weights, once a batch.
    image = 4 * (3 * 28**2 + 4 * 28**2 + 4 + 5) + 8
    assert found.activations == pytest.approx(8 * image, abs=4 * 8)
    assert found.total == found.weights + found.activations


@pytest.mark.parametrize("method", ["lfi-cam", "lfi-cam-without-fin", "abn", "plain"])
def test_activations_are_those_that_autograd_keeps(method):
    config, kept = few_digits(method=method, batch_size=6), {}
    objective = Objective(build_model(config, 3)).train()
    own = {parameter.data_ptr() for parameter in objective.parameters()}

    def keep(saved):
        if saved.untyped_storage().data_ptr() not in own:
            kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        objective(torch.randn(6, 3, config.image_size, config.image_size), torch.arange(6) % 3)
    assert estimate(config, 3).activations == pytest.approx(sum(map(len, kept.values())), rel=0.02)


def test_processes_share_the_batch_and_bfloat16_halves_what_is_kept():
    config = few_digits(batch_size=6)
    one = estimate(config, 3)
    assert estimate(config, 3, processes=2) == one._replace(activations=one.activations // 2)
    half = estimate(config.model_copy(update={"precision": "bfloat16"}), 3)
    assert half.activations == one.activations // 2
    assert half.weights == one.weights * 14 // 12


def test_it_warns_before_it_starts_where_that_is_more_than_the_gpu_has(monkeypatch, capsys):
    config = few_digits()
    needed = estimate(config, 3).total
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for there, words in ((needed, ""), (needed - 1, "lficam: run takes 0 GB or more by an estimate, and the GPU has 0 GB: if it")):
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda there=there: SimpleNamespace(total_memory=there))
        warn_if_too_large("run", config, 3)
        assert capsys.readouterr().err.startswith(words)
        assert bool(words) == (there < needed)


def test_of_somebodys_own_trunk_nothing_is_said(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(memory, "is_registered", lambda name: True)
    monkeypatch.setattr(memory, "build_model", None)  # it might not run without computing
    warn_if_too_large("run", few_digits(), 3)
    assert capsys.readouterr().err == ""
