import re

import pytest
import torch
from torch import nn

from lficam.errors import InputError
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import TRUNKS, check_trunk, default_stem_stride, register_trunk, trunk, trunk_version


def kinds(module, kind):
    return [layer for layer in module.modules() if isinstance(layer, kind)]


IMAGENET, CIFAR = TRUNKS[:13], TRUNKS[13:]


def test_the_advertised_names():
    asked_for = {f"resnet{depth}" for depth in (18, 34, 50, 101, 152)} | {f"densenet{depth}" for depth in (121, 161, 169, 201)}
    asked_for |= {"resnext50_32x4d", "resnext101_32x8d", "seresnet50", "legacy_senet154"}
    assert asked_for == set(IMAGENET)
    families = {re.match("cifar_([a-z]+)[0-9]+", name)[1] for name in CIFAR}
    assert families == {"resnet", "seresnet", "resnext", "wrn", "densenet"}
    for name in TRUNKS:
        check_trunk(name)  # raises nothing


# One of each family, the smallest there is.
FAMILIES = [
    *("resnet18", "seresnet18", "resnext50_32x4d", "densenet121", "legacy_seresnet18"),
    *("cifar_resnet8", "cifar_seresnet8", "cifar_resnext11_2x3d", "cifar_wrn10_1", "cifar_densenet10_4"),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trunk_is_stages_with_a_spec_from_which_it_can_be_built_again(name):
    with torch.device("meta"):
        network = trunk(name, stem_stride=2)
        again = trunk(**network.spec)
    assert network.spec == {"name": name, "stem_stride": 2}
    assert isinstance(again, nn.Sequential)
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes
    assert again.num_features == network.num_features
    strides = [[layer.stride for layer in kinds(it, nn.Conv2d)] for it in (network, again)]
    assert strides[0] == strides[1]
    assert strides[0][0] == (2, 2)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_model_comes_back_with_its_trunk(name, tmp_path):
    torch.manual_seed(0)
    model = LFICAM(trunk(name, stem_stride=2), num_classes=3, fin=False).eval()
    model.save_pretrained(tmp_path)
    back = LFICAM.from_pretrained(tmp_path)
    assert back.trunk.spec == {"name": name, "stem_stride": 2}
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.explain(x).cam, back.explain(x).cam)
        assert torch.equal(model(x), back(x))


def test_a_registered_trunk_is_usable_by_name():
    register_trunk("tests_trunk", lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 9, 3)), version=4)
    network = trunk("tests_trunk")
    assert network.num_features == 9
    assert network.spec == {"name": "tests_trunk", "stem_stride": 1}
    assert trunk("tests_trunk") is not network
    assert trunk_version("tests_trunk") == 4
    assert LFICAM(network, num_classes=2).explain(torch.zeros(1, 3, 16, 16)).importance.shape == (1, 9)


def test_a_registered_trunk_may_know_its_own_number_of_features():
    def build():
        network = nn.Conv2d(3, 5, 3)
        network.num_features = 5
        return network

    register_trunk("tests_knows", build)
    assert trunk("tests_knows").num_features == 5
    assert trunk_version("tests_knows") == 1


def test_the_number_of_features_of_a_registered_trunk_is_counted_whatever_it_says():
    def build():
        network = nn.Conv2d(3, 5, 3)
        network.num_features = 960
        return network

    register_trunk("tests_lies", build)
    assert trunk("tests_lies").num_features == 5


def test_a_registered_trunk_can_be_replaced():
    for channels in (4, 6):
        register_trunk("tests_replaced", lambda channels=channels: nn.Conv2d(3, channels, 3), version=channels)
    assert trunk("tests_replaced").num_features == 6
    assert trunk_version("tests_replaced") == 6


@pytest.mark.parametrize("options", [{"stem_stride": 2}, {"pretrained": True}, {"out_stride": 16}, {"weights": "a.safetensors"}])
def test_a_registered_trunk_takes_no_options(options):
    register_trunk("tests_plain", lambda: nn.Conv2d(3, 5, 3))
    with pytest.raises(InputError, match=r"tests_plain.*" + next(iter(options))):
        trunk("tests_plain", **options)


@pytest.mark.parametrize("name", ["cifar_resnet20", "resnet18", "resnext50_32x4d"])
def test_a_built_in_name_cannot_be_registered(name):
    with pytest.raises(InputError, match=rf"'{name}' is taken"):
        register_trunk(name, lambda: nn.Conv2d(3, 5, 3))
    assert trunk_version(name) == 0


@pytest.mark.parametrize("name", ["resnet19", "vit_enormous", "", "ResNet18"])
def test_an_unknown_name_is_named(name):
    for ask in (trunk, check_trunk):
        with pytest.raises(InputError, match=rf"unknown trunk '{name}'.*cifar_resnet.*resnet18.*registered"):
            ask(name)


def test_there_are_no_pretrained_cifar_networks():
    with pytest.raises(InputError, match=r"'cifar_resnet20'.*pretrained=True"):
        trunk("cifar_resnet20", pretrained=True)


@pytest.mark.parametrize("stem_stride", [0, -1])
def test_a_stem_stride_is_positive(stem_stride):
    with pytest.raises(InputError, match=rf"stem_stride={stem_stride}: expected 1 or more"):
        trunk("resnet18", stem_stride=stem_stride)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet19", "resnet18"),
        ("ResNet50", "resnet50"),
        ("DenseNet-121", "densenet121"),
        ("senet154_legacy", "senet154"),
        ("cifar_resnet22", "cifar_resnet20"),
        ("cifar_wrn_28_10", "cifar_wrn28_10"),
        ("test_triunk", "tests_trunk"),
    ],
)
def test_an_unknown_name_brings_up_close_ones(name, meant):
    register_trunk("tests_trunk", lambda: nn.Conv2d(3, 5, 3))
    with pytest.raises(InputError, match=rf"^unknown trunk '{name}', did you mean [^?]*\b{meant}\b[^?]*\? expected ") as error:
        check_trunk(name)
    assert "\n" not in str(error.value)


def test_a_name_close_to_nothing_brings_up_nothing():
    with pytest.raises(InputError, match=r"^unknown trunk 'zzz': expected cifar_resnet<"):
        check_trunk("zzz")


def test_default_stem_strides():
    register_trunk("tests_trunk", lambda: nn.Conv2d(3, 5, 3))
    for name in (*TRUNKS, "tests_trunk", "there_is_no_such_trunk", ""):
        assert default_stem_stride(name, before_last_stage=False) == 1
        halves = name in IMAGENET and not name.startswith("densenet")
        assert default_stem_stride(name, before_last_stage=True) == (2 if halves else 1), name
