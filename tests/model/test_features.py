"""What a trunk returns is looked at, and what it says of itself is not believed."""

import re

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.ops import Permute

from lficam.errors import InputError
from lficam.model.features import count_features
from lficam.model.lfi_cam import LFICAM


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


class FixedSize(nn.Module):
    """Takes images of 20 pixels alone, as many transformers do."""

    def __init__(self, **attributes):
        super().__init__()
        self.convolution = nn.Conv2d(3, 7, 3)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        assert x.shape[-1] == 20, f"Input height ({x.shape[-1]})\ndoesn't match model (20)"
        return self.convolution(x)


def test_a_trunk_that_cannot_be_asked_says_it_itself():
    module = FixedSize(num_features=7).train()
    assert count_features(module) == 7
    assert module.training
    assert LFICAM(module, num_classes=2)(torch.zeros(1, 3, 20, 20)).shape == (1, 2)


@pytest.mark.parametrize("attributes", [{}, {"num_features": [96, 192]}, {"num_features": None}])
def test_a_trunk_that_can_neither_be_asked_nor_says_it_needs_a_number(attributes):
    with pytest.raises(InputError, match=r"^FixedSize .* 64 pixels \(Input height \(64\) doesn't match .*pass num_features"):
        LFICAM(FixedSize(**attributes), num_classes=2)
    assert LFICAM(FixedSize(**attributes), num_features=7, num_classes=2)(torch.zeros(1, 3, 20, 20)).shape == (1, 2)


class ChannelsLast(nn.Module):
    """Features (N, u, v, K), as Swin's."""

    def __init__(self, channels):
        super().__init__()
        self.convolution = nn.Conv2d(3, channels, 4, stride=32)

    def forward(self, x):
        return self.convolution(x).permute(0, 2, 3, 1)


@pytest.mark.parametrize("channels", [1, 2, 7, 768])
def test_channels_that_come_last_are_found_and_what_is_advised_works(channels):
    with pytest.raises(InputError, match=rf"returned .*\(1, 2, 2, {channels}\), its {channels} channels last") as error:
        LFICAM(ChannelsLast(channels), num_classes=3)
    assert "num_features" not in str(error.value)
    trunk = nn.Sequential(ChannelsLast(channels), Permute([0, 3, 1, 2]))
    assert "nn.Sequential(trunk, torchvision.ops.Permute([0, 3, 1, 2]))" in str(error.value)
    assert LFICAM(trunk, num_classes=3).explain(torch.zeros(1, 3, 96, 64)).cam.shape == (1, 1, 3, 2)


def test_channels_that_come_last_are_found_in_the_forward_pass_too():
    model = LFICAM(ChannelsLast(9), num_features=9, num_classes=3)
    with pytest.raises(InputError, match=r"\(1, 7, 7, 9\), its 9 channels last: expected \(N, K, u, v\)"):
        model(torch.zeros(1, 3, 224, 224))


def test_no_error_advises_a_side_of_the_map():
    model = LFICAM(nn.Conv2d(3, 5, 3), num_features=8, num_classes=3)
    with pytest.raises(InputError) as error:
        model(torch.zeros(1, 3, 13, 13))
    assert str(error.value) == (
        "Conv2d returned features of shape (1, 5, 11, 11), expected (N, 8, u, v): num_features is not the number of channels that "
        "it returns; leave it out, and they are counted"
    )


def test_features_whose_channels_follow_the_size_of_the_image_are_refused():
    with pytest.raises(InputError, match="its 3 channels last"):
        count_features(Permute([0, 2, 3, 1]))
    with pytest.raises(InputError, match=r"returned \(1, 64, 3, 64\) for 64 and \(1, 96, 3, 96\) for 96 pixels"):
        count_features(Permute([0, 2, 1, 3]))


@pytest.mark.parametrize(("channels", "size"), [(1, 5), (9, 7)])
def test_maps_of_one_size_whatever_the_image_and_trunks_of_one_channel_are_counted(channels, size):
    assert count_features(nn.Sequential(nn.Conv2d(3, channels, 3), nn.AdaptiveAvgPool2d(size))) == channels


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_images_of_other_than_three_channels(channels):
    model = LFICAM(nn.Sequential(nn.Conv2d(channels, 6, 3), nn.ReLU()), num_classes=2).eval()
    x = torch.rand(2, channels, 12, 12)
    assert model.num_features == 6
    assert model.explain(x).cam.shape == (2, 1, 10, 10)
    other = x.clone()
    other[:, -1] += 1  # the last channel counts, also in the grey image that masks the features
    assert not torch.equal(model.explain(other).importance, model.explain(x).importance)


@pytest.mark.parametrize(
    ("build", "features"),
    [
        (lambda: timm.create_model("mobilenetv3_small_050", num_classes=0, global_pool=""), 1024),  # says 288
        (lambda: torchvision.models.swin_v2_t().features[:2], "channels last"),
        (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=0, global_pool="", dynamic_img_size=True), "(1, 17, 192)"),
        (lambda: timm.create_model("resnet10t", features_only=True), "returned a list: pass a module that returns one of them"),
    ],
)
def test_networks_as_their_users_have_them(build, features):
    if isinstance(features, int):
        assert count_features(build()) == features
    else:
        with pytest.raises(InputError, match=re.escape(features)):
            count_features(build())


@pytest.mark.parametrize("where", [{"device": "meta"}, {"dtype": torch.float64}, {"dtype": torch.bfloat16}])
def test_features_are_counted_where_the_module_is(where):
    assert count_features(nn.Conv2d(3, 7, 3).to(**where)) == 7


@pytest.mark.parametrize(
    ("module", "got"), [(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), r"\(1, 3\)"), (nn.Flatten(), r"\(1, 12288\)")]
)
def test_something_without_feature_maps_is_no_trunk(module, got):
    with pytest.raises(InputError, match=r"\(N, K, u, v\).*" + got):
        count_features(module)
