"""Every advertised trunk with every method: shapes at full size without arithmetic, and one training step on small images."""

import pytest
import torch
from torch import nn

from lficam.model.methods import METHODS
from lficam.model.trunks import TRUNKS
from lficam.training.config import RunConfig
from lficam.training.loop import Objective, build_model

CLASSES = 5
# A batch norm takes away what the bias of the one before it adds, so this one has no gradient but rounding errors.
WITHOUT_EFFECT = "attention_branch.evidence.0.bias"

walk = pytest.mark.parametrize(
    ("name", "method"), [pytest.param(name, method, id=f"{name}-{method}") for name in TRUNKS for method in METHODS]
)


def build(name, method):
    """As a training builds it when the stem stride is left out."""
    return build_model(RunConfig(dataset="catdog", trunk=name, method=method), CLASSES)


def map_size(name, method):
    if not name.startswith("cifar_"):
        return 14  # at 224 pixels, for every method
    # ABN's is that of the stage before the last; DenseNet's last stage does not halve it.
    return 16 if method == "abn" and "densenet" not in name else 8


@walk
def test_shapes(name, method):
    size = 32 if name.startswith("cifar_") else 224
    side = map_size(name, method)
    with torch.device("meta"):
        model = build(name, method)
        e = model.explain(torch.empty(2, 3, size, size))
    stages = ["stem", "layer1", "layer2", "layer3"] + ["layer4"] * (size == 224)
    assert [stage for stage, _ in model.trunk.named_children()] == stages
    features = model.trunk.num_features
    assert e.logits.shape == (2, CLASSES)
    assert e.cam.shape == (2, 1, side, side)
    assert e.features.shape[2:] == (side, side)
    if method == "abn":
        assert e.aux_logits.shape == (2, CLASSES)
    else:
        assert e.aux_logits is None
        assert e.features.shape[1] == features
    if method.startswith("lfi-cam"):
        assert e.importance.shape == (2, features)
    else:
        assert e.importance is None


@walk
def test_one_step_reaches_every_parameter(name, method, monkeypatch):
    torch.manual_seed(0)
    objective = Objective(build(name, method)).train()
    for layer in objective.modules():
        if isinstance(layer, nn.BatchNorm2d):
            # timm starts the last norm of a residual block at zero, which keeps gradients from what lies before it.
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    size = 32 if name.startswith("cifar_") else 64
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)  # in one step, reordering the FIN's weights saves nothing
    loss, _ = objective(torch.randn(2, 3, size, size), torch.tensor([3, 1]))
    loss.backward()
    assert torch.isfinite(loss)
    for parameter_name, parameter in objective.model.named_parameters():
        assert parameter.grad is not None, parameter_name
        norm = parameter.grad.norm()
        assert torch.isfinite(norm), parameter_name
        assert norm > 0 or parameter_name == WITHOUT_EFFECT, parameter_name
