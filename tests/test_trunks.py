import pytest
import torch
from torch import nn

from lficam.errors import InputError
from lficam.lfi_cam import LFICAM
from lficam.trunks import check_trunk, count_features, is_imagenet_size, register_trunk, trunk, trunk_version


def kinds(module, kind):
    return [layer for layer in module.modules() if isinstance(layer, kind)]


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("depth", [8, 14, 20, 26, 32, 38, 44, 56, 110])
def test_cifar_depths_are_6n_plus_2(depth):
    check_trunk(f"cifar_resnet{depth}")  # raises nothing


@pytest.mark.parametrize(
    "name", ["cifar_resnet2", "cifar_resnet7", "cifar_resnet9", "cifar_resnet18", "cifar_resnet", "cifar_resnet-8"]
)
def test_other_cifar_depths_are_unknown(name):
    with pytest.raises(InputError, match=rf"unknown trunk '{name}'.*6n\+2"):
        trunk(name)


@pytest.mark.parametrize(
    ("depth", "blocks", "num_features", "convolutions_a_block"),
    [(8, 1, 64, 2), (14, 2, 64, 2), (20, 3, 64, 2), (38, 6, 64, 2), (44, 7, 256, 3), (110, 18, 256, 3)],
)
def test_cifar_networks_use_bottlenecks_from_depth_44_on(depth, blocks, num_features, convolutions_a_block):
    with torch.device("meta"):
        network = trunk(f"cifar_resnet{depth}")
        features = network(torch.empty(1, 3, 32, 32))
    assert [len(stage) for stage in (network.layer1, network.layer2, network.layer3)] == [blocks] * 3
    # Basic blocks widen twice, bottlenecks three times (16 -> 64 in the first stage): so many shortcuts have a convolution.
    shortcuts = 3 if depth >= 44 else 2
    assert len(kinds(network, nn.Conv2d)) == 1 + 3 * blocks * convolutions_a_block + shortcuts
    assert features.shape == (1, num_features, 8, 8)
    assert network.num_features == num_features


def test_parameters_of_cifar_resnet20_counted_by_hand():
    def conv_bn(channels_in, channels_out, kernel):
        return channels_in * channels_out * kernel**2 + 2 * channels_out

    stem = conv_bn(3, 16, 3)
    layer1 = 6 * conv_bn(16, 16, 3)
    layer2 = conv_bn(16, 32, 3) + 5 * conv_bn(32, 32, 3) + conv_bn(16, 32, 1)
    layer3 = conv_bn(32, 64, 3) + 5 * conv_bn(64, 64, 3) + conv_bn(32, 64, 1)
    network = trunk("cifar_resnet20")
    assert [size(stage) for stage in network] == [stem, layer1, layer2, layer3]
    assert size(network) == 271_824


def test_features_are_not_negative_and_halve_twice():
    torch.manual_seed(0)
    network = trunk("cifar_resnet8").eval()
    features = network(torch.randn(2, 3, 32, 48))
    assert features.shape == (2, 64, 8, 12)
    assert features.min() == 0  # the last layer is a ReLU
    assert trunk("cifar_resnet8", stem_stride=2)(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 4, 4)


@pytest.mark.parametrize(("stem_stride", "side"), [(1, 14), (2, 7)])
@pytest.mark.parametrize(
    ("name", "num_features"), [("resnet18", 512), ("resnet50", 2048), ("resnext50_32x4d", 2048), ("resnet50d", 2048)]
)
def test_the_stem_stride_sets_the_size_of_the_map(name, num_features, stem_stride, side):
    with torch.device("meta"):
        network = trunk(name, stem_stride=stem_stride)
        features = network(torch.empty(1, 3, 224, 224))
    assert features.shape == (1, num_features, side, side)
    assert network.num_features == num_features
    assert network.spec == {"name": name, "stem_stride": stem_stride}


def test_a_trunk_can_be_built_again_from_its_spec():
    with torch.device("meta"):
        for network in (trunk("cifar_resnet14", stem_stride=2), trunk("resnet18", stem_stride=2)):
            again = trunk(**network.spec)
            assert isinstance(again, nn.Sequential)
            assert {name: value.shape for name, value in again.state_dict().items()} == {
                name: value.shape for name, value in network.state_dict().items()
            }
            assert kinds(again, nn.Conv2d)[0].stride == kinds(network, nn.Conv2d)[0].stride == (2, 2)


def test_stages_are_named():
    assert [name for name, _ in trunk("cifar_resnet8").named_children()] == ["stem", "layer1", "layer2", "layer3"]


def test_fresh_weights_are_he_normal():
    torch.manual_seed(0)
    network = trunk("cifar_resnet20")
    for convolution in kinds(network.layer3, nn.Conv2d):
        fan_out = convolution.out_channels * convolution.kernel_size[0] ** 2
        expected = (2 / fan_out) ** 0.5
        # The standard deviation of n normal numbers is known to 1 / sqrt(2 n); five of those.
        assert convolution.weight.std().item() == pytest.approx(expected, rel=5 / (2 * convolution.weight.numel()) ** 0.5)


def test_one_seed_gives_the_same_weights():
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(trunk("cifar_resnet8").state_dict())
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())
    assert not torch.equal(networks[0]["stem.0.weight"], networks[2]["stem.0.weight"])


def test_a_registered_trunk_is_usable_by_name():
    register_trunk("tests_trunk", lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 9, 3)), version=4)
    network = trunk("tests_trunk")
    assert network.num_features == 9
    assert network.spec == {"name": "tests_trunk", "stem_stride": 1}
    assert trunk("tests_trunk") is not network
    assert trunk_version("tests_trunk") == 4
    assert not is_imagenet_size("tests_trunk")
    assert LFICAM(network, num_classes=2).explain(torch.zeros(1, 3, 16, 16)).importance.shape == (1, 9)


def test_a_registered_trunk_may_know_its_own_number_of_features():
    def build():
        network = nn.Conv2d(3, 5, 3)
        network.num_features = 5
        return network

    register_trunk("tests_knows", build)
    assert trunk("tests_knows").num_features == 5
    assert trunk_version("tests_knows") == 1


def test_a_registered_trunk_can_be_replaced():
    for channels in (4, 6):
        register_trunk("tests_replaced", lambda channels=channels: nn.Conv2d(3, channels, 3), version=channels)
    assert trunk("tests_replaced").num_features == 6
    assert trunk_version("tests_replaced") == 6


@pytest.mark.parametrize("options", [{"stem_stride": 2}, {"pretrained": True}])
def test_a_registered_trunk_takes_no_options(options):
    register_trunk("tests_plain", lambda: nn.Conv2d(3, 5, 3))
    with pytest.raises(InputError, match=r"tests_plain.*" + next(iter(options))):
        trunk("tests_plain", **options)


@pytest.mark.parametrize("name", ["cifar_resnet20", "resnet18", "resnext50_32x4d"])
def test_a_built_in_name_cannot_be_registered(name):
    with pytest.raises(InputError, match=rf"'{name}' is taken"):
        register_trunk(name, lambda: nn.Conv2d(3, 5, 3))
    assert trunk_version(name) == 0


@pytest.mark.parametrize("name", ["resnet19", "vit_base_patch16_224", "", "ResNet18"])
def test_an_unknown_name_is_named(name):
    for ask in (trunk, check_trunk):
        with pytest.raises(InputError, match=rf"unknown trunk '{name}'.*cifar_resnet.*resnet18.*registered"):
            ask(name)


def test_there_are_no_pretrained_cifar_networks():
    with pytest.raises(InputError, match=r"'cifar_resnet20'.*pretrained=True"):
        trunk("cifar_resnet20", pretrained=True)


def test_imagenet_size_trunks():
    assert not is_imagenet_size("cifar_resnet110")
    assert is_imagenet_size("resnet18")


@pytest.mark.parametrize("training", [True, False])
def test_counting_features_changes_nothing(training):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7)).train(training)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert count_features(module) == 7
    assert module.training is training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_counting_features_keeps_a_frozen_part_frozen():
    module = nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7)).train()
    module[1].eval()
    count_features(module)
    assert [part.training for part in module] == [True, False]


def test_counting_features_restores_the_mode_of_a_module_that_fails():
    module = nn.Sequential(nn.Conv2d(4, 7, 3)).train()
    with pytest.raises(Exception):  # noqa: B017, PT011  whatever torch says about 3 channels instead of 4
        count_features(module)
    assert module.training


@pytest.mark.parametrize("where", [{"device": "meta"}, {"dtype": torch.float64}, {"dtype": torch.bfloat16}])
def test_features_are_counted_where_the_module_is(where):
    assert count_features(nn.Conv2d(3, 7, 3).to(**where)) == 7


@pytest.mark.parametrize(
    ("module", "got"), [(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), r"\(1, 3\)"), (nn.Flatten(), r"\(1, 12288\)")]
)
def test_something_without_feature_maps_is_no_trunk(module, got):
    with pytest.raises(InputError, match=r"\(N, K, u, v\).*" + got):
        count_features(module)
