"""Trunks for 32 x 32 images: image (N, 3, 32, 32) -> features (N, K, 8, 8), in stages stem, layer1, layer2, layer3.

- `cifar_resnet<6n+2>`: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2; bottleneck blocks from
  depth 44 on, as in the LFI-CAM release.
- `cifar_seresnet<6n+2>`: the same blocks with squeeze and excitation, reduction 16. Hu et al., "Squeeze-and-Excitation
  Networks", CVPR 2018.
- `cifar_resnext<9n+2>_<groups>x<width>d`: Xie et al., "Aggregated Residual Transformations", CVPR 2017, section 5.3. Its stem has
  64 channels and K is 1024; with `_<c>c` behind the name, c and 16 c.
- `cifar_wrn<6n+4>_<k>`: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016; blocks with pre-activation, no dropout.
- `cifar_densenet<6n+4>_<growth>`: DenseNet-BC of Huang et al., "Densely Connected Convolutional Networks", CVPR 2017;
  compression 1/2, bottleneck 4 x growth, no dropout.

n is the number of blocks (DenseNet: layers) of a stage. Layers and stages are in the order of their papers.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lficam.errors import InputError
from lficam.model.initialization import initialize

Block = Callable[[int, int, int], tuple[nn.Module, int]]  # channels in, width, stride -> block, channels out


def cifar_trunk(name: str, stem_stride: int) -> nn.Sequential:
    """Build one of `CIFAR_FORMS` with fresh weights; it has `.num_features`. Raises InputError for any other name."""
    parsed = _parse(name)
    if parsed is None:
        raise InputError(f"unknown trunk {name!r}: expected {', '.join(CIFAR_FORMS)}")
    family, numbers = parsed
    network = family.build(stem_stride, *numbers)
    initialize(network)
    return network


def is_cifar_trunk(name: str) -> bool:
    """Whether `cifar_trunk` can build it. Builds nothing."""
    return _parse(name) is not None


# --- residual networks ----------------------------------------------------------------------------------------------


class _Residual(nn.Module):
    """relu(block(x) + shortcut(x))."""

    def __init__(self, block: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.block, self.shortcut = block, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.block(x) + self.shortcut(x))


class _PreActivated(nn.Module):
    """y = relu(norm(x)); block(y) + x, or block(y) + shortcut(y) where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(channels_in), nn.ReLU())
        self.block = nn.Sequential(
            *_conv_bn(channels_in, channels_out, 3, stride), nn.ReLU(), _convolution(channels_out, channels_out, 3)
        )
        same = stride == 1 and channels_in == channels_out
        self.shortcut = None if same else _convolution(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activate(x)
        return self.block(y) + (x if self.shortcut is None else self.shortcut(y))


def _convolution(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def _conv_bn(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [_convolution(channels_in, channels_out, kernel, stride, groups), nn.BatchNorm2d(channels_out)]


def _residual(block: list[nn.Module], channels_in: int, channels_out: int, stride: int) -> _Residual:
    same = stride == 1 and channels_in == channels_out
    shortcut = nn.Identity() if same else nn.Sequential(*_conv_bn(channels_in, channels_out, 1, stride))
    return _Residual(nn.Sequential(*block), shortcut)


def _basic(channels_in: int, width: int, stride: int) -> list[nn.Module]:
    return [*_conv_bn(channels_in, width, 3, stride), nn.ReLU(), *_conv_bn(width, width, 3)]


def _bottleneck(channels_in: int, width: int, channels_out: int, stride: int, groups: int = 1) -> list[nn.Module]:
    return [
        *_conv_bn(channels_in, width, 1),
        nn.ReLU(),
        *_conv_bn(width, width, 3, stride, groups),
        nn.ReLU(),
        *_conv_bn(width, channels_out, 1),
    ]


def _squeeze_excitation(channels: int) -> nn.Module:
    from torchvision.ops import SqueezeExcitation  # late: it costs a second, and few of the embedded figures need it

    return SqueezeExcitation(channels, max(1, channels // 16))


def _stack(stem: nn.Module, channels: int, widths: tuple[int, ...], blocks: int, build: Block) -> nn.Sequential:
    """A stem with `channels` and, for each width, a stage of so many blocks; each stage but the first halves the map."""
    stages = OrderedDict(stem=stem)
    for i, width in enumerate(widths):
        stage = []
        for j in range(blocks):
            block, channels = build(channels, width, 2 if i > 0 and j == 0 else 1)
            stage.append(block)
        stages[f"layer{i + 1}"] = nn.Sequential(*stage)
    network = nn.Sequential(stages)
    network.num_features = channels
    return network


def _resnet(stem_stride: int, blocks: int, excite: bool = False) -> nn.Sequential:
    bottleneck = blocks >= 7  # depth 44

    def build(channels: int, width: int, stride: int) -> tuple[nn.Module, int]:
        channels_out = width * 4 if bottleneck else width
        layers = _bottleneck(channels, width, channels_out, stride) if bottleneck else _basic(channels, width, stride)
        if excite:
            layers.append(_squeeze_excitation(channels_out))
        return _residual(layers, channels, channels_out, stride), channels_out

    stem = nn.Sequential(*_conv_bn(3, 16, 3, stem_stride), nn.ReLU())
    return _stack(stem, 16, (16, 32, 64), blocks, build)


def _seresnet(stem_stride: int, blocks: int) -> nn.Sequential:
    return _resnet(stem_stride, blocks, excite=True)


def _resnext(stem_stride: int, blocks: int, groups: int, group_width: int, first: int = 64) -> nn.Sequential:
    def build(channels: int, width: int, stride: int) -> tuple[nn.Module, int]:
        inner = groups * group_width * (width // first)  # the groups are as many in every stage, and twice as wide in the next
        return _residual(_bottleneck(channels, inner, width * 4, stride, groups), channels, width * 4, stride), width * 4

    stem = nn.Sequential(*_conv_bn(3, first, 3, stem_stride), nn.ReLU())
    return _stack(stem, first, (first, 2 * first, 4 * first), blocks, build)


def _wide_resnet(stem_stride: int, blocks: int, widening: int) -> nn.Sequential:
    def build(channels: int, width: int, stride: int) -> tuple[nn.Module, int]:
        return _PreActivated(channels, width, stride), width

    widths = (16 * widening, 32 * widening, 64 * widening)
    network = _stack(nn.Sequential(_convolution(3, 16, 3, stem_stride)), 16, widths, blocks, build)
    network.layer3.extend([nn.BatchNorm2d(network.num_features), nn.ReLU()])  # the last block ends without activation
    return network


# --- densely connected networks -------------------------------------------------------------------------------------


def _densenet(stem_stride: int, layers: int, growth: int) -> nn.Sequential:
    from timm.models.densenet import DenseBlock, DenseTransition  # late: it costs a second

    channels = 2 * growth
    stages = OrderedDict(stem=nn.Sequential(_convolution(3, channels, 3, stem_stride)))
    for i in (1, 2, 3):
        block = DenseBlock(layers, channels, bn_size=4, growth_rate=growth)
        channels += layers * growth
        if i < 3:
            stages[f"layer{i}"] = nn.Sequential(block, DenseTransition(channels, channels // 2))
            channels //= 2
        else:  # the transition before the last block belongs to the stage before
            stages[f"layer{i}"] = nn.Sequential(block, nn.BatchNorm2d(channels), nn.ReLU())
    network = nn.Sequential(stages)
    network.num_features = channels
    return network


# --- names ----------------------------------------------------------------------------------------------------------


class _Family(NamedTuple):
    """Networks that differ in numbers: the pattern's first group is the depth, `period` n + `rest` with n > 0 blocks a stage."""

    pattern: str
    period: int
    rest: int
    build: Callable[..., nn.Sequential]  # stem stride, n, the pattern's other numbers


_NUMBER = r"([1-9]\d{0,3})"
_FAMILIES = {
    "cifar_resnet<6n+2>": _Family(rf"cifar_resnet{_NUMBER}", 6, 2, _resnet),
    "cifar_seresnet<6n+2>": _Family(rf"cifar_seresnet{_NUMBER}", 6, 2, _seresnet),
    "cifar_resnext<9n+2>_<groups>x<width>d": _Family(rf"cifar_resnext{_NUMBER}_{_NUMBER}x{_NUMBER}d", 9, 2, _resnext),
    "cifar_resnext<9n+2>_<groups>x<width>d_<c>c": _Family(
        rf"cifar_resnext{_NUMBER}_{_NUMBER}x{_NUMBER}d_{_NUMBER}c", 9, 2, _resnext
    ),
    "cifar_wrn<6n+4>_<k>": _Family(rf"cifar_wrn{_NUMBER}_{_NUMBER}", 6, 4, _wide_resnet),
    "cifar_densenet<6n+4>_<growth>": _Family(rf"cifar_densenet{_NUMBER}_{_NUMBER}", 6, 4, _densenet),
}
CIFAR_FORMS = tuple(_FAMILIES)  # how the names are made, for people


def _parse(name: str) -> tuple[_Family, list[int]] | None:
    """The family and what its `build` takes beside the stem stride; None for a name or a depth that there is not."""
    for family in _FAMILIES.values():
        if match := re.fullmatch(family.pattern, name):
            depth, *others = (int(number) for number in match.groups())
            blocks, remainder = divmod(depth - family.rest, family.period)
            return (family, [blocks, *others]) if blocks > 0 and remainder == 0 else None
    return None
