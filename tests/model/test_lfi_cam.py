import copy
import math
import pickle

import pytest
import torch
from helpers import with_random_statistics
from torch import fx, nn
from torch.nn import functional as F
from torchcam.methods import GradCAM

from lficam.errors import InputError
from lficam.model.abn import ABN
from lficam.model.cam import Explanation
from lficam.model.lfi_cam import LFICAM, FeatureImportanceNetwork
from lficam.model.trunks import trunk


def signed_trunk(channels=5):
    """Ends without a ReLU, so that no two feature values are equal and every minimum and maximum is at one place."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2, padding=1), nn.Tanh(), nn.Conv2d(6, channels, 3, padding=1))


def naive_min_max(plane, constant_is_on):
    """s() of a plane given as a list of rows of scalar tensors."""
    values = [value for row in plane for value in row]
    low = high = values[0]
    for value in values:
        low = value if value < low else low
        high = value if value > high else high
    if high == low:
        return [[value * 0 + float(constant_is_on and high != 0) for value in row] for row in plane]
    return [[(value - low) / (high - low) for value in row] for row in plane]


def naive_bilinear(image, u, v):
    h, w = len(image), len(image[0])
    rows = []
    for i in range(u):
        y = max((i + 0.5) * h / u - 0.5, 0)
        top = math.floor(y)
        bottom = min(top + 1, h - 1)
        row = []
        for j in range(v):
            x = max((j + 0.5) * w / v - 0.5, 0)
            left = math.floor(x)
            right = min(left + 1, w - 1)
            row.append(
                image[top][left] * (1 - (y - top)) * (1 - (x - left))
                + image[top][right] * (1 - (y - top)) * (x - left)
                + image[bottom][left] * (y - top) * (1 - (x - left))
                + image[bottom][right] * (y - top) * (x - left)
            )
        rows.append(row)
    return rows


def naive_batch_norm(x, layer):
    mean, variance, weight, bias = (
        values.view(1, -1, 1, 1) for values in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / (variance + layer.eps).sqrt() * weight + bias


def scalars(plane):
    return [[plane[i, j] for j in range(plane.shape[1])] for i in range(plane.shape[0])]


def stack(planes):
    """Nested lists of scalar tensors, any depth, as one tensor."""
    return torch.stack([stack(plane) for plane in planes]) if isinstance(planes, list) else planes


def naive_explain(model, x):
    """The method as section 3 of the paper states it, one pixel at a time: logits, cam, importance, features."""
    features = model.trunk(x)
    N, K, u, v = features.shape  # noqa: N806
    masked = []
    for n in range(N):
        grey = [[(x[n, 0, i, j] + x[n, 1, i, j] + x[n, 2, i, j]) / 3 for j in range(x.shape[3])] for i in range(x.shape[2])]
        grey = naive_bilinear(grey, u, v)
        channels = []
        for k in range(K):
            normalized = naive_min_max(scalars(features[n, k]), constant_is_on=True)
            channels.append([[normalized[i][j] * grey[i][j] for j in range(v)] for i in range(u)])
        masked.append(channels)
    hidden = stack(masked)
    convolutions = [layer for layer in model.fin.modules() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in model.fin.modules() if isinstance(layer, nn.BatchNorm2d)]
    for convolution, norm in zip(convolutions, norms, strict=True):
        hidden = naive_batch_norm(F.conv2d(hidden, convolution.weight, padding=1), norm)
        hidden = torch.where(hidden > 0, hidden, 0.0)
    logits, cams, importances = [], [], []
    for n in range(N):
        pooled = [sum(hidden[n, k, i, j] for i in range(u) for j in range(v)) / (u * v) for k in range(K)]
        powers = [value.exp() for value in pooled]
        importance = [power / sum(powers) for power in powers]
        weighted = [[sum(importance[k] * features[n, k, i, j] for k in range(K)) for j in range(v)] for i in range(u)]
        positive = [[value if value > 0 else value * 0 for value in row] for row in weighted]
        cam = naive_min_max(positive, constant_is_on=False)
        attended = [sum((1 + cam[i][j]) * features[n, k, i, j] for i in range(u) for j in range(v)) / (u * v) for k in range(K)]
        logits.append(
            [model.fc.bias[c] + sum(model.fc.weight[c, k] * attended[k] for k in range(K)) for c in range(model.fc.out_features)]
        )
        cams.append([cam])
        importances.append(importance)
    return stack(logits), stack(cams), stack(importances), features


@pytest.fixture
def small():
    """A model in double precision and evaluation mode, and two images whose size no stride divides."""
    torch.manual_seed(0)
    model = with_random_statistics(LFICAM(signed_trunk(), num_features=5, num_classes=3)).double().eval()
    return model, torch.randn(2, 3, 9, 12, dtype=torch.float64)


def test_explain_equals_the_method_written_out(small):
    model, x = small
    e = model.explain(x)
    logits, cam, importance, features = naive_explain(model, x)
    assert e.cam.shape == (2, 1, 5, 6)
    assert 0.1 < (cam > 0).double().mean() < 0.9  # the ReLU cuts some of the map, else the test would not see it
    assert importance.std() > 1e-3  # nor a FIN that answers 1/K
    for got, expected in zip(e, (logits, cam, importance, features, None), strict=True):
        assert (got is None and expected is None) or torch.allclose(got, expected, rtol=1e-11, atol=1e-13)


def test_gradients_equal_those_of_the_method_written_out(small):
    model, x = small
    x.requires_grad_()
    parameters = [x, *model.parameters()]
    weights = torch.randn(2, 1, 5, 6, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)

    def gradients(logits, cam, importance):
        loss = F.cross_entropy(logits, torch.tensor([2, 0])) + (cam * weights[0]).sum() + (importance * weights[1]).sum()
        return torch.autograd.grad(loss, parameters)

    e = model.explain(x)
    for got, expected in zip(gradients(e.logits, e.cam, e.importance), gradients(*naive_explain(model, x)[:3]), strict=True):
        assert expected.abs().max() > 0
        assert torch.allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_explain_of_the_written_out_method_without_fin(small):
    model, x = small
    plain = LFICAM(model.trunk, num_features=5, num_classes=3, fin=False).double().eval()
    features = plain.trunk(x)
    positive = features.mean(1, keepdim=True).clamp(min=0)
    cam = (positive - positive.amin((2, 3), keepdim=True)) / (
        positive.amax((2, 3), keepdim=True) - positive.amin((2, 3), keepdim=True)
    )
    logits = (features + cam * features).mean((2, 3)) @ plain.fc.weight.T + plain.fc.bias
    assert torch.allclose(plain.explain(x).cam, cam, atol=1e-12)
    assert torch.allclose(plain.explain(x).logits, logits, atol=1e-12)


def test_attend_with_the_models_own_importance_is_explain():
    torch.manual_seed(0)
    model = with_random_statistics(LFICAM(trunk("cifar_resnet8"), num_classes=4)).eval()
    x = torch.randn(3, 3, 16, 16)
    features = model.features(x)
    parts = zip(model.attend(features, model.importance(features, x)), model.explain(x), strict=True)
    assert all((got is None and expected is None) or torch.equal(got, expected) for got, expected in parts)


def test_attend_with_another_importance_is_the_method_written_out(small):
    model, x = small
    features = model.trunk(x)
    importance = torch.tensor([[0.1, 0.4, 0.0, 0.2, 0.3], [1.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    e = model.attend(features, importance)
    for n in range(2):
        positive = sum(importance[n, k] * features[n, k] for k in range(5)).clamp(min=0)
        cam = (positive - positive.min()) / (positive.max() - positive.min())
        pooled = torch.stack([((1 + cam) * features[n, k]).mean() for k in range(5)])
        assert torch.allclose(e.cam[n, 0], cam, atol=1e-12)
        assert torch.allclose(e.logits[n], model.fc.weight @ pooled + model.fc.bias, atol=1e-12)
    assert torch.equal(e.importance, importance)
    assert torch.equal(e.features, features)
    assert (e.cam - model.explain(x).cam).abs().max() > 0.1


@pytest.mark.parametrize("channels", [5, 64, 100])
def test_without_fin_every_channel_counts_one_kth_whatever_the_image(channels):
    model = LFICAM(nn.Conv2d(3, channels, 3), num_features=channels, num_classes=2, fin=False)
    for x in (torch.zeros(2, 3, 8, 8), torch.randn(2, 3, 8, 8), torch.full((2, 3, 8, 8), 50.0)):
        assert torch.equal(model.explain(x).importance, torch.full((2, channels), 1 / channels))
    assert sum(parameter.numel() for parameter in model.parameters()) == 27 * channels + channels + 2 * channels + 2


@pytest.mark.parametrize("fin", [True, False])
def test_forward_returns_the_logits_of_explain(fin):
    torch.manual_seed(0)
    model = LFICAM(signed_trunk(), num_features=5, num_classes=3, fin=fin).eval()
    x = torch.randn(4, 3, 16, 16)
    assert torch.equal(model(x), model.explain(x).logits)


def test_the_network_is_table_1():
    layers = list(FeatureImportanceNetwork(6))
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 4
    for convolution in layers[::3]:
        assert (convolution.in_channels, convolution.out_channels) == (6, 6)
        assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((3, 3), (1, 1), (1, 1))
        assert convolution.dilation == (1, 1)
        assert convolution.groups == 1
        assert convolution.bias is None


def test_imagenet_size_shapes_and_parameters():
    with torch.device("meta"):
        model = LFICAM(trunk("resnet50"), num_classes=1000)
        e = model.explain(torch.empty(1, 3, 224, 224))
    assert e.cam.shape == (1, 1, 14, 14)
    assert e.features.shape == (1, 2048, 14, 14)
    assert e.importance.shape == (1, 2048)
    assert e.logits.shape == (1, 1000)
    # Table 1: 4 x (a 3x3 convolution without bias, weight and bias of its batch norm)
    assert sum(parameter.numel() for parameter in model.fin.parameters()) == 4 * (2048 * 2048 * 9 + 2 * 2048)


def test_no_device_is_named_anywhere():
    model = LFICAM(trunk("cifar_resnet8"), num_classes=4).to("meta")
    e = model.explain(torch.empty(2, 3, 32, 32, device="meta"))
    assert {value.device.type for value in e if value is not None} == {"meta"}


@pytest.mark.parametrize(("size", "expected"), [((32, 32), (8, 8)), ((40, 56), (10, 14)), ((33, 9), (9, 3)), ((64, 16), (16, 4))])
def test_any_image_size(size, expected):
    torch.manual_seed(0)
    model = LFICAM(trunk("cifar_resnet8"), num_classes=4).eval()
    e = model.explain(torch.randn(2, 3, *size))
    assert e.cam.shape == (2, 1, *expected)
    assert torch.equal(e.cam.amin((1, 2, 3)), torch.zeros(2))
    assert torch.equal(e.cam.amax((1, 2, 3)), torch.ones(2))
    assert torch.allclose(e.importance.sum(1), torch.ones(2))


@pytest.mark.parametrize("fin", [True, False])
def test_every_parameter_gets_a_finite_gradient_in_training(fin):
    torch.manual_seed(0)
    model = LFICAM(trunk("cifar_resnet8"), num_classes=4, fin=fin).train()  # this trunk ends with a ReLU: ties at zero
    x = torch.randn(8, 3, 16, 16, requires_grad=True)
    F.cross_entropy(model(x), torch.arange(8) % 4).backward()
    for name, parameter in [*model.named_parameters(), ("x", x)]:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_wrong_number_of_features_names_the_shape():
    model = LFICAM(signed_trunk(5), num_features=7, num_classes=3)
    with pytest.raises(InputError, match=r"\(2, 5, 4, 4\).*7"):
        model(torch.zeros(2, 3, 8, 8))


class Pooled(nn.Module):
    """Returns (N, K), as a whole classifier does, and not feature maps."""

    def forward(self, x):
        return x.mean((2, 3))


class Pyramid(nn.Module):
    """Returns a list of feature maps, as timm's features_only does."""

    def forward(self, x):
        return [x, x[..., ::2, ::2]]


@pytest.mark.parametrize("broken", [Pooled(), Pyramid()])
def test_a_trunk_that_returns_no_feature_maps_is_refused(broken):
    with pytest.raises(InputError, match=r"\(N, "):
        LFICAM(broken, num_features=3, num_classes=2)(torch.zeros(2, 3, 8, 8))
    with pytest.raises(InputError, match=r"\(N, "):
        LFICAM(broken, num_classes=2)


def test_the_number_of_features_is_found_when_left_out():
    model = LFICAM(signed_trunk(11), num_classes=3)
    assert model.num_features == 11
    assert model.explain(torch.zeros(1, 3, 8, 8)).importance.shape == (1, 11)


class Customised(nn.Module):
    """A classifier's body with a skip connection and no stages."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        x = self.first(x).relu()
        return x + self.second(x)


def test_any_module_is_a_trunk():
    torch.manual_seed(0)
    model = with_random_statistics(LFICAM(Customised(), num_classes=3)).double().eval()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    for got, expected in zip(model.explain(x)[:4], naive_explain(model, x), strict=True):
        assert torch.allclose(got, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_autocast_gives_no_nan(fin, training):
    torch.manual_seed(0)
    model = LFICAM(trunk("cifar_resnet8"), num_classes=4, fin=fin).train(training)
    x = torch.cat([torch.randn(3, 3, 16, 16), torch.zeros(1, 3, 16, 16)])
    with torch.autocast("cpu", torch.bfloat16):
        e = model.explain(x)
        loss = F.cross_entropy(e.logits, torch.arange(4))
    loss.backward()
    assert all(torch.isfinite(value).all() for value in e if value is not None)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert torch.allclose(e.importance.float().sum(1), torch.ones(4), atol=1e-2)


@pytest.mark.parametrize("value", [0.0, 1.0, -2.1])
@pytest.mark.parametrize("training", [True, False])
def test_a_constant_image_gives_no_nan(value, training):
    torch.manual_seed(0)
    model = LFICAM(trunk("cifar_resnet8"), num_classes=4).train(training)
    e = model.explain(torch.full((2, 3, 16, 16), value))
    e.logits.sum().backward()
    assert all(torch.isfinite(part).all() for part in e if part is not None)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_a_trunk_that_is_off_everywhere_gives_a_zero_map_and_the_bias():
    silent = nn.Conv2d(3, 5, 3)
    nn.init.zeros_(silent.weight)
    nn.init.zeros_(silent.bias)
    model = LFICAM(silent, num_classes=3).eval()
    e = model.explain(torch.randn(2, 3, 8, 8))
    assert torch.equal(e.cam, torch.zeros(2, 1, 6, 6))
    assert torch.equal(e.logits, model.fc.bias.expand(2, 3))


def test_the_map_of_an_image_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    model = LFICAM(trunk("cifar_resnet8"), num_classes=4).double().eval()
    x = torch.randn(5, 3, 16, 16, dtype=torch.float64)
    alone = torch.cat([model.explain(x[i : i + 1]).cam for i in range(5)])
    assert torch.allclose(model.explain(x).cam, alone, atol=1e-12)


# What other tools do with a model -------------------------------------------------------------------------------------


def untrained(kind, **options):
    torch.manual_seed(0)
    return with_random_statistics(kind(trunk("cifar_resnet8"), num_classes=3, **options)).eval()


MODELS = [(LFICAM, {}), (LFICAM, {"fin": False}), (ABN, {})]


@pytest.mark.parametrize(("kind", "options"), MODELS)
def test_a_traced_a_copied_and_a_pickled_model_say_the_same(kind, options):
    model, x = untrained(kind, **options), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(fx.symbolic_trace(model)(x), expected)
        assert torch.equal(copy.deepcopy(model)(x), expected)
        assert torch.equal(pickle.loads(pickle.dumps(model))(x), expected)


class Explain(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.explain(x)


@pytest.mark.parametrize(("kind", "options"), MODELS)
def test_an_explanation_survives_torch_export(kind, options, tmp_path):
    model, x = untrained(kind, **options), torch.rand(2, 3, 32, 32)
    torch.export.save(torch.export.export(Explain(model), (x,)), tmp_path / "model.pt2")
    e = torch.export.load(tmp_path / "model.pt2").module()(x)
    assert type(e) is Explanation
    for found, expected in zip(e, model.explain(x), strict=True):
        assert (found is None) == (expected is None)
        if found is not None:
            assert torch.allclose(found, expected, atol=1e-6)


def test_torchcam_looks_at_the_attended_features_by_itself():
    model = untrained(LFICAM)
    with GradCAM(model) as by_itself:
        assert by_itself.target_names == ["attended"]


def test_attended_features_are_a_module_without_weights():
    model = untrained(LFICAM)
    seen = []
    model.attended.register_forward_hook(lambda module, inputs, output: seen.append(output))
    e = model.explain(torch.rand(2, 3, 32, 32))
    assert torch.equal(seen[0], (1 + e.cam) * e.features)
    assert not [name for name in model.state_dict() if name.startswith("attended")]
