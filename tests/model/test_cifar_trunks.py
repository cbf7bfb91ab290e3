import subprocess
import sys

import pytest
import torch
from helpers import with_random_statistics
from torch import nn
from torch.nn import functional as F

from lficam.errors import InputError
from lficam.model.cifar_trunks import CIFAR_FORMS, cifar_trunk, is_cifar_trunk


def kinds(module, kind):
    return [layer for layer in module.modules() if isinstance(layer, kind)]


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(name, image_size=32):
    with torch.device("meta"):
        network = cifar_trunk(name, stem_stride=1)
        return network, network(torch.empty(1, 3, image_size, image_size))


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(f"cifar_resnet{depth}" for depth in (8, 14, 20, 26, 32, 38, 44, 56, 110)),
        *("cifar_seresnet8", "cifar_seresnet164", "cifar_resnext11_1x64d", "cifar_resnext29_16x64d"),
        "cifar_resnext11_4x4d_4c",
        *("cifar_wrn10_1", "cifar_wrn16_8", "cifar_wrn40_4", "cifar_densenet10_1", "cifar_densenet190_40"),
    ],
)
def test_depths_and_widths_of_the_papers_are_names(name):
    assert is_cifar_trunk(name)


@pytest.mark.parametrize(
    "name",
    [
        *(f"cifar_resnet{depth}" for depth in ("", "2", "7", "9", "18", "-8", "020", "20_1", "20008")),
        *("cifar_seresnet2", "cifar_seresnet21", "cifar_resnext29", "cifar_resnext29_8x64", "cifar_resnext28_8x64d"),
        *("cifar_resnext2_8x64d", "cifar_resnext29_0x64d", "cifar_wrn28", "cifar_wrn4_10", "cifar_wrn26_10", "cifar_wrn28_0"),
        *("cifar_densenet100", "cifar_densenet98_12", "cifar_densenet4_12", "resnet20", "cifar_resnet20 ", "Cifar_resnet20"),
    ],
)
def test_other_depths_and_spellings_are_not(name):
    assert not is_cifar_trunk(name)
    with pytest.raises(InputError, match=rf"unknown trunk '{name}'.*cifar_resnet<6n\+2>, .*cifar_densenet<6n\+4>_<growth>"):
        cifar_trunk(name, stem_stride=1)


def test_every_family_says_how_its_names_are_made():
    numbers = {
        "<6n+2>": "14",
        "<9n+2>": "20",
        "<6n+4>": "16",
        "<groups>": "2",
        "<width>": "3",
        "<k>": "2",
        "<growth>": "5",
        "<c>": "4",
    }
    for form in CIFAR_FORMS:
        name = form
        for placeholder, number in numbers.items():
            name = name.replace(placeholder, number)
        assert is_cifar_trunk(name), name


def test_importing_is_light():
    # That timm is not imported is the business of test_repository; torchvision takes longer than all of lficam.
    code = "import sys, lficam.model.cifar_trunks as c; c.cifar_trunk('cifar_resnet8', 1); print('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# --- known sizes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "num_features", "parameters"),
    [
        # Millions of parameters with a classifier for 10 classes, as the papers print them.
        ("cifar_wrn40_4", 256, 8.9),  # Zagoruyko and Komodakis 2016, table 5
        ("cifar_wrn16_8", 512, 11.0),
        ("cifar_wrn28_10", 640, 36.5),
        ("cifar_resnext29_8x64d", 1024, 34.4),  # Xie et al. 2017, table 7
        ("cifar_resnext29_16x64d", 1024, 68.1),
        ("cifar_densenet100_12", 342, 0.8),  # Huang et al. 2017, table 2
        ("cifar_densenet250_24", 1734, 15.3),
        ("cifar_densenet190_40", 2190, 25.6),
        ("cifar_resnet20", 64, 0.27),  # He et al. 2016, table 6; its shortcuts have no weights, here 2,560 + 96 x 2
        ("cifar_resnet32", 64, 0.46),
    ],
)
def test_parameters_as_in_the_papers(name, num_features, parameters):
    network, features = on_meta(name)
    assert network.num_features == num_features
    assert features.shape == (1, num_features, 8, 8)
    last_digit = 10.0 ** -len(str(parameters).split(".")[1])
    assert (size(network) + 10 * num_features + 10) / 1e6 == pytest.approx(parameters, abs=last_digit)


def conv_bn(channels_in, channels_out, kernel):
    return channels_in * channels_out * kernel**2 + 2 * channels_out


def test_parameters_of_cifar_resnet20_counted_by_hand():
    stem = conv_bn(3, 16, 3)
    layer1 = 6 * conv_bn(16, 16, 3)
    layer2 = conv_bn(16, 32, 3) + 5 * conv_bn(32, 32, 3) + conv_bn(16, 32, 1)
    layer3 = conv_bn(32, 64, 3) + 5 * conv_bn(64, 64, 3) + conv_bn(32, 64, 1)
    network, _ = on_meta("cifar_resnet20")
    assert [size(stage) for stage in network] == [stem, layer1, layer2, layer3]
    assert size(network) == 271_824


def test_squeeze_and_excitation_adds_two_small_layers_a_block():
    def added(name):
        plain, excited = on_meta(name)[0], on_meta(name.replace("resnet", "seresnet"))[0]
        return [size(b) - size(a) for a, b in zip(plain, excited, strict=True)]

    # C -> C/16 -> C with biases: 16 -> 1, 32 -> 2, 64 -> 4, three blocks each
    assert added("cifar_resnet20") == [0, 3 * (2 * 16 + 1 + 16), 3 * (2 * 64 + 2 + 32), 3 * (2 * 256 + 4 + 64)]
    # bottlenecks: 64 -> 4, 128 -> 8, 256 -> 16, 18 blocks each
    assert added("cifar_resnet110") == [0, 18 * (512 + 4 + 64), 18 * (2048 + 8 + 128), 18 * (8192 + 16 + 256)]


@pytest.mark.parametrize(
    ("depth", "blocks", "num_features", "convolutions_a_block"),
    [(8, 1, 64, 2), (14, 2, 64, 2), (20, 3, 64, 2), (38, 6, 64, 2), (44, 7, 256, 3), (110, 18, 256, 3)],
)
def test_residual_networks_use_bottlenecks_from_depth_44_on(depth, blocks, num_features, convolutions_a_block):
    network, features = on_meta(f"cifar_resnet{depth}")
    assert [len(stage) for stage in (network.layer1, network.layer2, network.layer3)] == [blocks] * 3
    # Basic blocks widen twice, bottlenecks three times (16 -> 64 in the first stage): so many shortcuts have a convolution.
    shortcuts = 3 if depth >= 44 else 2
    assert len(kinds(network, nn.Conv2d)) == 1 + 3 * blocks * convolutions_a_block + shortcuts
    assert features.shape == (1, num_features, 8, 8)
    assert network.num_features == num_features


SMALL = ["cifar_resnet8", "cifar_seresnet8", "cifar_resnext11_2x3d", "cifar_wrn10_2", "cifar_densenet16_4"]


@pytest.mark.parametrize("name", SMALL)
def test_stages_are_named_and_the_last_two_halve_the_map(name):
    with torch.device("meta"):
        for stem_stride in (1, 2):
            network = cifar_trunk(name, stem_stride)
            x, sides = torch.empty(1, 3, 32, 48), []
            for stage in network:
                x = stage(x)
                sides.append((x.shape[2] * stem_stride, x.shape[3] * stem_stride))
            # DenseNet's maps are halved at the end of a stage, the others' at the beginning of the next.
            halved = [(32, 48), (16, 24), (8, 12), (8, 12)] if "densenet" in name else [(32, 48), (32, 48), (16, 24), (8, 12)]
            assert sides == halved
            assert x.shape[1] == network.num_features
    assert [stage for stage, _ in network.named_children()] == ["stem", "layer1", "layer2", "layer3"]


# --- the networks written out ---------------------------------------------------------------------------------------


class Layers:
    """The convolutions and batch norms of a network, applied one after the other in the order in which they were built."""

    def __init__(self, network):
        self.left = kinds(network, nn.Conv2d | nn.BatchNorm2d)

    def conv(self, x, stride=1, groups=1):
        layer = self.left.pop(0)
        assert layer.bias is None
        weights, inputs = layer.weight.chunk(groups), x.chunk(groups, 1)
        padding = layer.weight.shape[-1] // 2
        return torch.cat([F.conv2d(i, w, stride=stride, padding=padding) for i, w in zip(inputs, weights, strict=True)], 1)

    def norm(self, x):
        layer = self.left.pop(0)
        values = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
        mean, variance, weight, bias = (value[:, None, None] for value in values)
        return (x - mean) / (variance + layer.eps).sqrt() * weight + bias

    def linear(self, x):
        layer = self.left.pop(0)
        return x @ layer.weight[:, :, 0, 0].T + layer.bias


def relu(x):
    return torch.where(x > 0, x, 0.0)


def resnet8(layers, x, excite=False):
    x = relu(layers.norm(layers.conv(x)))
    for stride in (1, 2, 2):
        y = relu(layers.norm(layers.conv(x, stride)))
        y = layers.norm(layers.conv(y))
        if excite:
            squeezed = y.mean((2, 3))
            gate = 1 / (1 + torch.exp(-layers.linear(relu(layers.linear(squeezed)))))
            y = y * gate[:, :, None, None]
        x = relu(y + (x if stride == 1 else layers.norm(layers.conv(x, stride))))
    return x


def seresnet8(layers, x):
    return resnet8(layers, x, excite=True)


def resnext11_2x3d(layers, x):
    x = relu(layers.norm(layers.conv(x)))
    for stride in (1, 2, 2):
        y = relu(layers.norm(layers.conv(x)))
        y = relu(layers.norm(layers.conv(y, stride, groups=2)))
        y = layers.norm(layers.conv(y))
        x = relu(y + layers.norm(layers.conv(x, stride)))
    return x


def wrn10_2(layers, x):
    x = layers.conv(x)
    for stride in (1, 2, 2):
        y = relu(layers.norm(x))
        z = relu(layers.norm(layers.conv(y, stride)))
        z = layers.conv(z)
        x = z + layers.conv(y, stride)
    return relu(layers.norm(x))


def densenet16_4(layers, x):
    x = layers.conv(x)
    for stage in (1, 2, 3):
        for _ in range(2):
            y = layers.conv(relu(layers.norm(x)))
            y = layers.conv(relu(layers.norm(y)))
            x = torch.cat([x, y], 1)
        x = relu(layers.norm(x))
        if stage < 3:
            x = layers.conv(x)
            x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    return x


@pytest.mark.parametrize("naive", [resnet8, seresnet8, resnext11_2x3d, wrn10_2, densenet16_4])
def test_features_equal_the_papers_network_written_out(naive):
    torch.manual_seed(0)
    network = with_random_statistics(cifar_trunk(f"cifar_{naive.__name__}", stem_stride=1)).double().eval()
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    layers = Layers(network)
    expected = naive(layers, x)
    assert not layers.left  # all were used
    assert expected.std() > 0.1
    features = network(x)
    assert features.shape == expected.shape
    assert torch.allclose(features, expected, rtol=1e-10, atol=1e-10)
    assert features.min() == 0  # the last layer is a ReLU


def test_a_wide_block_of_unchanged_shape_adds_its_input_itself():
    torch.manual_seed(0)
    block = with_random_statistics(cifar_trunk("cifar_wrn16_1", 1)).double().eval().layer1[0]  # 16 -> 16
    x = torch.randn(2, 16, 6, 5, dtype=torch.float64)
    layers = Layers(block)
    y = layers.conv(relu(layers.norm(x)))
    expected = layers.conv(relu(layers.norm(y))) + x
    assert not layers.left
    assert torch.allclose(block(x), expected, rtol=1e-10, atol=1e-10)


# --- weights --------------------------------------------------------------------------------------------------------


def test_fresh_weights_are_he_normal():
    torch.manual_seed(0)
    network = cifar_trunk("cifar_resnet20", 1)
    for convolution in kinds(network.layer3, nn.Conv2d):
        fan_out = convolution.out_channels * convolution.kernel_size[0] ** 2
        expected = (2 / fan_out) ** 0.5
        # The standard deviation of n normal numbers is known to 1 / sqrt(2 n); five of those.
        assert convolution.weight.std().item() == pytest.approx(expected, rel=5 / (2 * convolution.weight.numel()) ** 0.5)


def test_one_seed_gives_the_same_weights():
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(cifar_trunk("cifar_resnet8", 1).state_dict())
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())
    assert not torch.equal(networks[0]["stem.0.weight"], networks[2]["stem.0.weight"])


@pytest.mark.parametrize(
    ("name", "sums"), [("cifar_resnet8", (-0.1491, -3.488, -3.8716)), ("cifar_resnet110", (-0.2595, 2.0085, 13.2839))]
)
def test_a_seed_gives_the_weights_that_the_embedded_figures_were_trained_from(name, sums):
    torch.manual_seed(0)
    convolutions = kinds(cifar_trunk(name, 1), nn.Conv2d)
    found = [convolutions[i].weight.double().sum().item() for i in (0, -2, -1)]
    assert found == pytest.approx(sums, abs=1e-3)
