import math

import pytest
import torch
from helpers import with_random_statistics
from torch import nn
from torch.nn import functional as F

import lficam
from lficam.errors import InputError
from lficam.metrics.baselines import BASELINES, baseline_maps, random_maps


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = with_random_statistics(lficam.LFICAM(lficam.trunk("cifar_resnet8"), num_classes=4)).eval()
    nn.init.normal_(model.fc.weight)  # else no gradient is large, and Score-CAM's weights are all 1/K
    return model


IMAGES = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(1))
CLASSES = torch.tensor([2, 0, 3])


def naive_min_max(plane):
    low, high = plane.min().item(), plane.max().item()
    return torch.zeros_like(plane) if low == high else (plane - low) / (high - low)


def features_and_gradient(model, image, label):
    """F (K, u, v) of one image (1, 3, h, w) and the gradient of a class logit with respect to it."""
    features = model.trunk(image).detach().requires_grad_()
    importance = model.importance(features, image)  # (1, K)
    cam = sum(importance[0, k] * features[0, k] for k in range(features.shape[1])).clamp(min=0)  # (u, v)
    cam = (cam - cam.min()) / (cam.max() - cam.min())
    logits = model.fc(((1 + cam) * features).mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits[0, label], features)
    return features[0].detach(), gradient[0]


def naive_grad_cam(model, image, label):
    features, gradient = features_and_gradient(model, image, label)
    weighted = sum(gradient[k].mean() * features[k] for k in range(len(features)))
    return naive_min_max(weighted.clamp(min=0))


def naive_layer_cam(model, image, label):
    features, gradient = features_and_gradient(model, image, label)
    weighted = sum(gradient[k].clamp(min=0) * features[k] for k in range(len(features)))
    return naive_min_max(weighted.clamp(min=0))


@torch.no_grad()
def naive_score_cam(model, image, label):
    features = model.trunk(image)[0]
    powers = []
    for plane in features:
        mask = F.interpolate(naive_min_max(plane)[None, None], image.shape[-2:], mode="bilinear", align_corners=False)
        powers.append(math.exp(model(mask * image)[0, label] - model(image)[0, label]))
    weighted = sum(power / sum(powers) * plane for power, plane in zip(powers, features, strict=True))
    return naive_min_max(weighted.clamp(min=0))


NAIVE = {"Grad-CAM": naive_grad_cam, "Score-CAM": naive_score_cam, "LayerCAM": naive_layer_cam}


@pytest.mark.parametrize("name", BASELINES)
def test_the_method_written_out(model, name):
    found = baseline_maps(name, model, IMAGES, CLASSES)
    assert (found.shape, found.dtype, found.device.type) == ((3, 1, 7, 7), torch.float32, "cpu")
    expected = torch.stack([NAIVE[name](model, IMAGES[n : n + 1], CLASSES[n].item())[None] for n in range(3)])
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.amax((2, 3)).unique().tolist() == [1]
    assert found.amin((2, 3)).unique().tolist() == [0]
    other = baseline_maps(name, model, IMAGES, CLASSES[[1, 2, 0]])  # the maps of other classes are others
    assert ((other - expected).abs().amax((1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize("name", BASELINES)
def test_maps_do_not_depend_on_the_batch_size(model, name):
    together = baseline_maps(name, model, IMAGES, CLASSES)
    for batch_size in (1, 2):
        assert torch.allclose(baseline_maps(name, model, IMAGES, CLASSES, batch_size), together, atol=1e-5)


@pytest.mark.parametrize("name", BASELINES)
def test_a_map_that_is_nowhere_positive_is_zero(model, name):
    class Dark(nn.Module):  # features that are all negative, and different
        def __init__(self, trunk):
            super().__init__()
            self.trunk = trunk

        def forward(self, x):
            return -1 - self.trunk(x)

    model.trunk = Dark(model.trunk)
    nn.init.ones_(model.fc.weight)  # the gradients of Grad-CAM and LayerCAM are positive
    assert torch.equal(baseline_maps(name, model, IMAGES, CLASSES), torch.zeros(3, 1, 7, 7))


@pytest.mark.parametrize("name", ["Grad-CAM", "LayerCAM"])
def test_tiny_gradients_give_the_same_map(model, name):
    expected = baseline_maps(name, model, IMAGES, CLASSES)
    with torch.no_grad():
        model.fc.weight *= 1e-9  # far below the 1e-8 that torchcam adds to a peak
    assert torch.allclose(baseline_maps(name, model, IMAGES, CLASSES), expected, atol=1e-4)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_the_model_comes_back_as_it_was(model, name, around):
    expected = baseline_maps(name, model, IMAGES, CLASSES)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    model.fc.eval()
    modes = [part.training for part in model.modules()]
    state = torch.get_rng_state()
    with around():
        images = IMAGES.clone()  # a tensor of inference mode, which autograd does not take
        found = baseline_maps(name, model, images, CLASSES)
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in model.modules())
    assert torch.equal(images, IMAGES)
    assert images.grad is None
    assert not images.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", BASELINES)
def test_a_frozen_model_has_the_same_maps(model, name):
    expected = baseline_maps(name, model, IMAGES, CLASSES)
    assert torch.equal(baseline_maps(name, model.requires_grad_(False), IMAGES, CLASSES), expected)


def test_hooks_are_gone_after_an_error(model):
    with pytest.raises(RuntimeError, match="Double"):
        baseline_maps("Score-CAM", model, IMAGES.double(), CLASSES)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_random_maps_are_uniform_and_the_first_of_a_seed_stay_the_same():
    noise = random_maps(200, 8)
    assert (noise.shape, noise.dtype) == ((200, 1, 8, 8), torch.float32)
    assert noise.amin((2, 3)).unique().tolist() == [0]
    assert noise.amax((2, 3)).unique().tolist() == [1]
    assert noise.mean().item() == pytest.approx(0.5, abs=0.01)  # its standard error is .0025
    shares = torch.histc(noise, 4, 0, 1) / noise.numel()
    assert (shares - 1 / 4).abs().max() < 0.02
    assert torch.equal(random_maps(7, 8), noise[:7])
    assert not torch.equal(random_maps(7, 8, seed=1), noise[:7])


def test_random_maps_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    random_maps(3, 4)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_explained_is_refused(model):
    abn = lficam.ABN(lficam.trunk("cifar_resnet8"), num_classes=4)
    for name, other, images, classes, message in [
        ("Grad-cam", model, IMAGES, CLASSES, "unknown method 'Grad-cam': expected Grad-CAM, Score-CAM, LayerCAM"),
        ("Grad-CAM", abn, IMAGES, CLASSES, "ABN does not call it .* pass an LFICAM"),
        ("Grad-CAM", nn.Flatten(), IMAGES, CLASSES, "Flatten does not"),
        ("LayerCAM", model, IMAGES[0], CLASSES, r"images are \(3, 28, 28\)"),
        ("LayerCAM", model, IMAGES, CLASSES[:2], r"classes are \(2,\)"),
        ("Score-CAM", model, IMAGES, CLASSES - 1, "class -1"),
        ("Score-CAM", model, IMAGES, CLASSES + 1, "class 4: the model has 4, expected 0 to 3"),
    ]:
        with pytest.raises(InputError, match=message):
            baseline_maps(name, other, images, classes)
