import pytest
import torch
from helpers import with_random_statistics
from torch import nn
from torch.nn import functional as F

from lficam.errors import InputError
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import trunk


def layers(module):
    """Convolutions and batch norms in the order in which they are applied; a shortcut's come last."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]


def norm(x, layer):
    mean, variance, weight, bias = (
        values.view(1, -1, 1, 1) for values in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / (variance + layer.eps).sqrt() * weight + bias


def relu(x):
    return torch.where(x > 0, x, 0.0)


def mean_over_pixels(x):
    return x.flatten(2).sum(2) / (x.shape[2] * x.shape[3])


def residual(x, module, stride):
    """The one basic block of a stage of ResNet-8."""
    first, first_norm, second, second_norm, *shortcut = layers(module)
    y = relu(norm(F.conv2d(x, first.weight, stride=stride, padding=1), first_norm))
    y = norm(F.conv2d(y, second.weight, padding=1), second_norm)
    if shortcut:
        x = norm(F.conv2d(x, shortcut[0].weight, stride=stride), shortcut[1])
    return relu(y + x)


def naive_explain(model, x):
    """The paper's section 3 for ResNet-8: logits, cam, features, aux_logits, raw attention."""
    stem, layer1, layer2, layer3 = model.trunk
    stem_convolution, stem_norm = layers(stem)
    features = relu(norm(F.conv2d(x, stem_convolution.weight, padding=1), stem_norm))
    features = residual(residual(features, layer1, 1), layer2, 2)
    branch = model.attention_branch
    evidence = residual(features, branch.stage, 1)
    first_norm, convolution, second_norm = layers(branch.evidence)
    evidence = relu(norm(F.conv2d(norm(evidence, first_norm), convolution.weight), second_norm))
    aux_logits = mean_over_pixels(F.conv2d(evidence, branch.scores.weight))
    convolution, attention_norm = layers(branch.attention)
    raw = 1 / (1 + torch.exp(-norm(F.conv2d(evidence, convolution.weight, padding=1), attention_norm)))
    perceived = residual((1 + raw) * features, layer3, 2)
    logits = mean_over_pixels(perceived) @ model.fc.weight.T + model.fc.bias
    cam = torch.stack([(one - one.min()) / (one.max() - one.min()) for one in raw])
    return logits, cam, features, aux_logits, raw


@pytest.fixture
def small():
    torch.manual_seed(0)
    model = with_random_statistics(ABN(trunk("cifar_resnet8"), num_features=64, num_classes=5)).double().eval()
    return model, torch.randn(3, 3, 16, 24, dtype=torch.float64)


def test_explain_equals_the_method_written_out(small):
    model, x = small
    e = model.explain(x)
    logits, cam, features, aux_logits, raw = naive_explain(model, x)
    assert raw.amax() - raw.amin() > 0.1  # else the attention would not matter
    for got, expected in ((e.logits, logits), (e.cam, cam), (e.features, features), (e.aux_logits, aux_logits)):
        assert got.shape == expected.shape
        assert torch.allclose(got, expected, rtol=1e-11, atol=1e-12)
    assert e.importance is None


def test_gradients_equal_those_of_the_method_written_out(small):
    model, x = small
    x.requires_grad_()
    parameters = [x, *model.parameters()]
    labels, weight = torch.tensor([4, 0, 2]), torch.randn(3, 1, 8, 12, dtype=torch.float64)

    def gradients(logits, cam, aux_logits):
        loss = F.cross_entropy(logits, labels) + F.cross_entropy(aux_logits, labels) + (cam * weight).sum()
        return torch.autograd.grad(loss, parameters)

    e = model.explain(x)
    logits, cam, _, aux_logits, _ = naive_explain(model, x)
    for got, expected in zip(gradients(e.logits, e.cam, e.aux_logits), gradients(logits, cam, aux_logits), strict=True):
        assert expected.abs().max() > 0
        assert torch.allclose(got, expected, rtol=1e-8, atol=1e-11)


def test_the_raw_attention_multiplies_the_features_not_the_normalised_map(small):
    model, x = small
    # Without weights the attention is sigmoid(0) = 1/2 everywhere: a map with no peak, but features times 3/2.
    nn.init.zeros_(model.attention_branch.attention[0].weight)
    attention_norm = next(layer for layer in model.attention_branch.attention if isinstance(layer, nn.BatchNorm2d))
    nn.init.zeros_(attention_norm.bias)
    attention_norm.running_mean.zero_()
    e = model.explain(x)
    assert torch.equal(e.cam, torch.zeros(3, 1, 8, 12, dtype=torch.float64))
    assert torch.allclose(e.logits, model.fc(model.trunk[-1](1.5 * e.features).mean((2, 3))), atol=1e-12)


def test_forward_returns_the_logits_of_explain(small):
    model, x = small
    assert torch.equal(model(x), model.explain(x).logits)


def test_the_attention_branch_is_a_copy_with_stride_one():
    base = trunk("cifar_resnet8")
    model = ABN(base, num_classes=5)
    own = {parameter.data_ptr() for parameter in model.attention_branch.parameters()}
    assert not own & {parameter.data_ptr() for parameter in base.parameters()}
    assert [layer.stride for layer in layers(model.attention_branch.stage) if isinstance(layer, nn.Conv2d)] == [(1, 1)] * 3
    # The trunk keeps its own stride in its last stage.
    assert [layer.stride for layer in layers(base[-1]) if isinstance(layer, nn.Conv2d)] == [(2, 2), (1, 1), (2, 2)]
    x = torch.zeros(2, 3, 32, 32)
    assert model.explain(x).cam.shape == (2, 1, 16, 16)
    assert base(x).shape == (2, 64, 8, 8)


def test_training_the_attention_branch_leaves_the_last_stage_alone():
    torch.manual_seed(0)
    model = ABN(trunk("cifar_resnet8"), num_classes=5)
    F.cross_entropy(model.explain(torch.randn(5, 3, 16, 16)).aux_logits, torch.arange(5)).backward()
    assert all(parameter.grad is None for parameter in model.trunk[-1].parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in model.attention_branch.stage.parameters())


def test_every_parameter_gets_a_finite_gradient_in_training():
    torch.manual_seed(0)
    model = ABN(trunk("cifar_resnet8"), num_classes=4).train()
    labels = torch.arange(8) % 4
    e = model.explain(torch.randn(8, 3, 16, 16))
    (F.cross_entropy(e.logits, labels) + F.cross_entropy(e.aux_logits, labels)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_image_gives_no_nan(value):
    torch.manual_seed(0)
    model = ABN(trunk("cifar_resnet8"), num_classes=4)
    for mode in (True, False):
        e = model.train(mode).explain(torch.full((2, 3, 16, 16), value))
        assert all(torch.isfinite(part).all() for part in e if part is not None)


def test_bfloat16_autocast_gives_no_nan():
    torch.manual_seed(0)
    model = ABN(trunk("cifar_resnet8"), num_classes=4)
    with torch.autocast("cpu", torch.bfloat16):
        e = model.explain(torch.randn(4, 3, 16, 16))
    assert all(torch.isfinite(part).all() for part in e if part is not None)


# Every kind of layer that carries a stride, in timm's networks: basic and bottleneck blocks, stems deep and pooled by strided
# convolution, shortcuts with average pools or 3x3 convolutions, anti-aliasing by average pools and blurs, each with attention
# inside the blocks or without, and blocks pruned to odd widths.
@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "resnet50", "resnet50d", "resnet10t", "resnet50s", "resnet50_gn", "resnetaa34d", "resnetaa50"),
        *("resnetblur18", "resnetblur50d", "resnetrs50", "senet154", "seresnetaa50d", "seresnextaa101d_32x8d"),
        *("ecaresnetlight", "ecaresnet50d_pruned", "ecaresnext26t_32x4d", "wide_resnet50_2", "test_resnet"),
        *("legacy_senet154", "legacy_seresnet18", "legacy_seresnext26_32x4d"),
    ],
)
def test_imagenet_size_attention_is_14_by_14(name):
    with torch.device("meta"):
        base = trunk(name, stem_stride=2)
        model = ABN(base, num_classes=1000)
        x = torch.empty(1, 3, 224, 224)
        e = model.explain(x)
        assert e.cam.shape == (1, 1, 14, 14)
        assert e.features.shape[2:] == (14, 14)
        assert (e.logits.shape, e.aux_logits.shape) == ((1, 1000), (1, 1000))
        assert base(x).shape == (1, base.num_features, 7, 7)


@pytest.mark.parametrize("name", ["densenet121", "densenetblur121d", "densenet264d"])
def test_the_attention_of_densenet_is_as_large_as_its_features(name):
    """Its last stage has no stride, so stem stride 1 is what gives 14 x 14."""
    with torch.device("meta"):
        model = ABN(trunk(name, stem_stride=1), num_classes=1000)
        x = torch.empty(1, 3, 224, 224)
        e = model.explain(x)
        assert e.cam.shape == (1, 1, 14, 14)
        assert model.trunk(x).shape == (1, model.trunk.num_features, 14, 14)


# Layers beside convolutions and batch norms: excitation with biases, group norms, one-dimensional convolutions (ECA).
@pytest.mark.parametrize("name", ["cifar_resnet8", "cifar_seresnet8", "cifar_densenet10_4", "resnet50_gn", "ecaresnext26t_32x4d"])
def test_the_attention_branch_starts_afresh_from_a_trained_trunk(name):
    torch.manual_seed(0)
    base = trunk(name)
    with torch.no_grad():
        for values in [*base.parameters(), *base.buffers()]:
            values.fill_(7)
    branch = ABN(base, num_classes=5).attention_branch
    for key, values in branch.state_dict().items():
        assert not (values == 7).any(), key
        if key.endswith("running_var"):
            assert (values == 1).all(), key
    assert all((values == 7).all() for values in base.state_dict().values())


class Unstaged(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize("unstaged", [Unstaged(), nn.Conv2d(3, 8, 3), nn.Sequential(nn.Conv2d(3, 8, 3))])
def test_a_trunk_without_stages_is_refused(unstaged):
    with pytest.raises(InputError, match=r"nn\.Sequential.*" + type(unstaged).__name__ + r".*LFICAM"):
        ABN(unstaged, num_features=3, num_classes=2)


def test_a_staged_trunk_of_ones_own():
    torch.manual_seed(0)
    stages = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU()))
    model = ABN(stages, num_classes=2)
    e = model.explain(torch.randn(2, 3, 16, 16))
    assert e.cam.shape == (2, 1, 8, 8)
    assert e.logits.shape == (2, 2)
    assert model.fc.in_features == 6


def test_both_methods_number_the_features_alike():
    base = trunk("cifar_resnet8")
    assert ABN(base, num_classes=2).fc.in_features == LFICAM(base, num_classes=2).fc.in_features == base.num_features == 64
