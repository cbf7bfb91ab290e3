"""Trunks: the classifiers whose feature maps are weighed, as a sequence of named stages.

image (N, 3, h, w) -> features (N, K, u, v)

- `cifar_resnet20`, `cifar_resnet110`, ...: the CIFAR residual networks of He et al. 2016 (depth 6n+2, 32 -> 8x8), with
  bottleneck blocks from depth 44 on, as in the LFI-CAM release.
- `resnet18`, `resnet50`, `resnext50_32x4d`, `seresnet50`, ...: any residual network of timm. With `stem_stride=1` the total
  stride is 16 (224 -> 14x14), which is how the release gets its 14x14 maps.
- your own: `register_trunk`.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lficam.errors import InputError


class _Registered(NamedTuple):
    build: Callable[[], nn.Module]
    version: int


_registered: dict[str, _Registered] = {}


def trunk(name: str, stem_stride: int = 1, pretrained: bool = False) -> nn.Module:
    """Build a trunk by name.

    name: `cifar_resnet<depth>`, a residual network of timm, or a name given to `register_trunk`.
    stem_stride: stride of the first convolution. ImageNet networks use 2; 1 doubles the size of every feature map.
    pretrained: load timm's ImageNet weights (from the hub, so this one needs a network).

    Returns an `nn.Sequential` of named stages with `.num_features` (K) and `.spec`, from which it can be built again.
    Raises InputError for an unknown name or an option that the trunk does not have.
    """
    check_trunk(name, stem_stride, pretrained)
    if name in _registered:
        stages = _registered[name].build()
        if not hasattr(stages, "num_features"):
            stages.num_features = count_features(stages)
    elif depth := _cifar_depth(name):
        stages = _cifar_resnet(depth, stem_stride)
    else:
        stages = _timm_resnet(name, stem_stride, pretrained)
    stages.spec = {"name": name, "stem_stride": stem_stride}  # weights come from a checkpoint, so `pretrained` is not part of it
    return stages


def register_trunk(name: str, build: Callable[[], nn.Module], version: int = 1) -> None:
    """Make a customised classifier usable by name in `trunk` and `RunConfig`.

    build: returns a new module, image (N, 3, h, w) -> features (N, K, u, v). ABN needs it to be an `nn.Sequential` of stages.
    version: part of every run's id; raise it when `build` changes, so that older runs are not taken for new ones.
    """
    if _cifar_depth(name) or name in _timm_names():
        raise InputError(f"trunk name {name!r} is taken by a built-in trunk: choose another name")
    _registered[name] = _Registered(build, version)


def check_trunk(name: str, stem_stride: int = 1, pretrained: bool = False) -> None:
    """Raise InputError unless `trunk` can build this. Builds nothing."""
    if name not in _registered and not _cifar_depth(name) and name not in _timm_names():
        raise InputError(
            f"unknown trunk {name!r}: expected cifar_resnet<6n+2> (8, 14, 20, ... 110), a residual network of timm such as "
            f"resnet18, resnet50, resnext50_32x4d, or a registered one ({', '.join(_registered) or 'none so far'})"
        )
    if name in _registered and (pretrained or stem_stride != 1):
        raise InputError(
            f"trunk {name!r} is registered without options, got stem_stride={stem_stride}, pretrained={pretrained}: "
            "put them into its build function"
        )
    if _cifar_depth(name) and pretrained:
        raise InputError(f"there are no pretrained weights for {name!r}, got pretrained=True: leave it out")


def is_imagenet_size(name: str) -> bool:
    """Whether it is one of timm's, whose stem has stride 2 unless asked otherwise."""
    return name not in _registered and not _cifar_depth(name)


def trunk_version(name: str) -> int:
    """The version a customised trunk was registered with; 0 for the built-in ones."""
    return _registered[name].version if name in _registered else 0


@torch.no_grad()
def count_features(module: nn.Module, size: int = 64) -> int:
    """K of a module image -> (N, K, u, v), found by one forward pass of a black image of `size` pixels.

    Raises InputError if what comes back is not (N, K, u, v).
    """
    modes = [(part, part.training) for part in module.modules()]
    like = next(module.parameters(), torch.zeros(0))  # the device and dtype that the trunk works in
    try:
        features = module.eval()(torch.zeros(1, 3, size, size, device=like.device, dtype=like.dtype))
    finally:
        for part, training in modes:
            part.training = training
    return check_features(features, module).shape[1]


def check_features(features: Any, module: nn.Module) -> Tensor:
    """Return what a trunk returned if it is (N, K, u, v); raise InputError otherwise."""
    if not isinstance(features, Tensor) or features.ndim != 4:
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise InputError(f"a trunk must return features (N, K, u, v), {type(module).__name__} returned {got}")
    return features


def initialize(module: nn.Module) -> None:
    """Fresh weights for every layer inside, as in He et al. 2016: He-normal (fan out) convolutions, batch norms at identity."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


# --- CIFAR-size residual networks -----------------------------------------------------------------------------------


def _cifar_depth(name: str) -> int | None:
    match = re.fullmatch(r"cifar_resnet(\d{1,4})", name)
    depth = int(match[1]) if match else 0
    return depth if depth >= 8 and (depth - 2) % 6 == 0 else None


class _Residual(nn.Module):
    """relu(block(x) + shortcut(x))."""

    def __init__(self, block: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.block, self.shortcut = block, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.block(x) + self.shortcut(x))


def _conv_bn(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    ]


def _residual(channels_in: int, width: int, stride: int, bottleneck: bool) -> _Residual:
    channels_out = width * 4 if bottleneck else width
    if bottleneck:
        block = [
            *_conv_bn(channels_in, width, 1),
            nn.ReLU(),
            *_conv_bn(width, width, 3, stride),
            nn.ReLU(),
            *_conv_bn(width, channels_out, 1),
        ]
    else:
        block = [*_conv_bn(channels_in, width, 3, stride), nn.ReLU(), *_conv_bn(width, width, 3)]
    same = stride == 1 and channels_in == channels_out
    shortcut = nn.Identity() if same else nn.Sequential(*_conv_bn(channels_in, channels_out, 1, stride))
    return _Residual(nn.Sequential(*block), shortcut)


def _cifar_resnet(depth: int, stem_stride: int) -> nn.Sequential:
    bottleneck = depth >= 44
    blocks = (depth - 2) // 6
    stages = OrderedDict(stem=nn.Sequential(*_conv_bn(3, 16, 3, stem_stride), nn.ReLU()))
    channels = 16
    for i, width in enumerate((16, 32, 64)):
        stage = []
        for j in range(blocks):
            stage.append(_residual(channels, width, 2 if i > 0 and j == 0 else 1, bottleneck))
            channels = width * 4 if bottleneck else width
        stages[f"layer{i + 1}"] = nn.Sequential(*stage)
    network = nn.Sequential(stages)
    initialize(network)
    network.num_features = channels
    return network


# --- ImageNet-size residual networks, from timm ---------------------------------------------------------------------


def _timm_names() -> frozenset[str]:
    import timm  # late: it costs a second, and the embedded figures never need it

    return frozenset(timm.list_models(module="resnet"))


def _timm_resnet(name: str, stem_stride: int, pretrained: bool) -> nn.Sequential:
    import timm

    network: Any = timm.create_model(name, pretrained=pretrained, num_classes=0)
    first = next(m for m in network.conv1.modules() if isinstance(m, nn.Conv2d))
    first.stride = (stem_stride, stem_stride)
    stages = nn.Sequential(
        OrderedDict(
            stem=nn.Sequential(network.conv1, network.bn1, network.act1, network.maxpool),
            layer1=network.layer1,
            layer2=network.layer2,
            layer3=network.layer3,
            layer4=network.layer4,
        )
    )
    stages.num_features = network.num_features
    return stages
