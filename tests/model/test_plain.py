"""The plain network and its class activation maps."""

import pytest
import torch
from torch import nn
from torchcam.methods import CAM

from lficam.errors import InputError
from lficam.model.plain import Plain
from lficam.model.trunks import trunk

X = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Plain(trunk("cifar_resnet8"), num_classes=5).eval()


def test_by_hand():
    """Two channels of 1 x 2 cells: class 0 weighs them 1 and 0, class 1 weighs them -1 and 2."""
    model = Plain(nn.Identity(), num_features=2, num_classes=2)
    with torch.no_grad():
        model.fc.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 2.0]]))
        model.fc.bias.copy_(torch.tensor([0.5, 0.0]))
    features = torch.tensor([[[[4.0, 0.0]], [[1.0, 3.0]]]])
    e = model.explain(features)
    assert e.logits.tolist() == [[2.5, 2.0]]  # means 2 and 2
    assert e.cam.tolist() == [[[[1.0, 0.0]]]]  # class 0: 4, 0
    assert model.explain(features, torch.tensor([1])).cam.tolist() == [[[[0.0, 1.0]]]]  # -4 + 2, 0 + 6
    assert torch.equal(model(features), e.logits)
    assert torch.equal(e.features, features)
    assert e.importance is None
    assert e.aux_logits is None


def test_the_map_is_torchcams(model):
    classes = torch.tensor([0, 4, 2, 1])
    with CAM(model, "trunk", "fc") as method:
        logits = model(X)
        (expected,) = method(classes.tolist(), logits)
    torch.testing.assert_close(model.explain(X, classes).cam[:, 0], expected, atol=1e-5, rtol=0)


def test_left_out_the_class_is_the_predicted_one():
    torch.manual_seed(0)
    model = Plain(nn.Conv2d(3, 8, 3), num_classes=5)
    nn.init.normal_(model.fc.weight, std=9)
    nn.init.zeros_(model.fc.bias)  # else all are of the class with the highest
    nn.init.zeros_(model.trunk.bias)
    predicted = model(X).argmax(1)
    assert len(set(predicted.tolist())) > 1
    assert torch.equal(model.explain(X).cam, model.explain(X, predicted).cam)


def test_the_map_differs_between_classes(model):
    first, second = (model.explain(X, torch.full((4,), label)).cam for label in (0, 1))
    assert not torch.allclose(first, second, atol=0.1)


def test_its_cost_is_that_of_the_trunk_and_a_linear_layer(model):
    own = sum(parameter.numel() for parameter in model.parameters()) - sum(p.numel() for p in model.trunk.parameters())
    assert own == 64 * 5 + 5


def test_a_trunk_without_maps_is_refused():
    with pytest.raises(InputError, match=r"must return features \(N, K, u, v\)"):
        Plain(nn.Sequential(nn.Flatten(), nn.LazyLinear(8)), num_features=8)(X)
