"""Trunks from timm: image (N, 3, 224, 224) -> features (N, K, 14, 14), or with a total stride of 32 (N, K, 7, 7).

- Networks of its modules `resnet` (ResNet, ResNeXt, SE-ResNet, ...), `densenet` and `senet` (`legacy_...`) as a whole, in stages
  stem, layer1..layer4. With stem stride 1 the total stride is 16, which is how the LFI-CAM release gets its 14 x 14 maps; with 2,
  theirs, it is 32.
- Any other network up to one of its stages, which the total stride chooses: in stages stage0, stage1, ... where it is a chain of
  them, else (Swin, ViT, ...) in one piece, through timm's `forward_intermediates`.
"""

import functools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lficam.errors import InputError
from lficam.model.weights import fresh_network, network_from_file, pretrained_network

OUT_STRIDE = 16  # of any other network, unless it is asked for another
CHECKED_AT = 64  # pixels of the image on which a chain of stages is compared with the network


@functools.cache
def timm_names() -> dict[str, str]:
    """Every name that `timm_trunk` can build, and its module of timm where that is in `_SPLIT`, else "". Builds nothing."""
    import timm  # late: it costs a second, and few of the embedded figures need it

    split = {name: module for module in _SPLIT for name in timm.list_models(module=module)}
    return dict.fromkeys(timm.list_models(), "") | split


def has_stem_stride(name: str) -> bool:
    """Whether the stride of its stem can be chosen."""
    return timm_names().get(name, "") in _SPLIT


def timm_trunk(
    name: str, stem_stride: int, pretrained: bool = False, out_stride: int | None = None, weights: Path | None = None
) -> nn.Module:
    """Build one of `timm_names`; it has `.num_features`.

    out_stride: of the last stage that is kept; all stages of a network whose stem stride can be chosen, else 16, when left out.
    pretrained, weights: timm's ImageNet weights, or those of a safetensors file.
    Raises InputError if the weights cannot be had or do not fit, or no stage has that stride.
    """
    network = _network(name, pretrained, weights)
    if not has_stem_stride(name):
        return _up_to(network, name, out_stride or OUT_STRIDE)
    stages = nn.Sequential(_SPLIT[timm_names()[name]](network))
    first = next(layer for layer in stages.stem.modules() if isinstance(layer, nn.Conv2d))
    first.stride = (stem_stride, stem_stride)
    stages.num_features = network.num_features
    return stages if out_stride is None else _cut(stages, name, out_stride)


def _network(name: str, pretrained: bool, weights: Path | None) -> nn.Module:
    if weights:
        return network_from_file(name, weights)
    return pretrained_network(name) if pretrained else fresh_network(name)


# --- any network of timm ----------------------------------------------------------------------------------------------


class Intermediate(nn.Module):
    """A network that is no chain of stages: image -> one of its feature maps, (N, K, u, v)."""

    def __init__(self, network: nn.Module, index: int):
        super().__init__()
        network.prune_intermediate_layers([index], prune_head=True)
        self.network, self.index = network, index

    def forward(self, x: Tensor) -> Tensor:
        return _intermediate(self.network, x, self.index)


def _intermediate(network: nn.Module, x: Tensor, index: int) -> Tensor:
    (features,) = network.forward_intermediates(x, indices=[index], output_fmt="NCHW", intermediates_only=True)
    return features


def _up_to(network: nn.Module, name: str, out_stride: int) -> nn.Module:
    points = getattr(network, "feature_info", None)
    if not points or not hasattr(network, "forward_intermediates"):
        raise InputError(f"trunk {name!r} gives no feature maps in timm {_timm_version()}: take another network")
    points = getattr(points, "info", points)
    strides = [point["reduction"] for point in points]
    _check_stride(name, out_stride, strides)
    index = len(strides) - 1 - strides[::-1].index(out_stride)
    stages = _chain(network, [point["module"] for point in points[: index + 1]])
    if stages is None or not _gives_the_same(stages, network, index):
        stages = Intermediate(network, index)
    stages.num_features = points[index]["num_chs"]
    return stages


def _chain(network: nn.Module, ends: Sequence[str]) -> nn.Sequential | None:
    """The network's parts in the order in which they stand, a stage up to each of the modules named; None if one is not there."""
    stages, stage = OrderedDict(), []
    for part, module in _parts(network, nested=any("." in end for end in ends)):
        stage.append(module)
        if part in ends:
            stages[f"stage{len(stages)}"] = nn.Sequential(*stage)
            stage = []
        if part == ends[-1]:
            return nn.Sequential(stages) if len(stages) == len(ends) else None
    return None


def _parts(network: nn.Module, nested: bool) -> Iterator[tuple[str, nn.Module]]:
    for name, part in network.named_children():
        if nested and isinstance(part, nn.Sequential):
            yield from ((f"{name}.{inner}", module) for inner, module in part.named_children())
        else:
            yield name, part


@torch.no_grad()
def _gives_the_same(stages: nn.Sequential, network: nn.Module, index: int) -> bool:
    """Whether the stages one after the other are what the network computes, on an image of noise."""
    like = next(network.parameters())
    x = torch.randn(1, 3, CHECKED_AT, CHECKED_AT, generator=torch.Generator().manual_seed(0)).to(like)
    training = network.training
    network.eval()
    try:
        expected, found = _intermediate(network, x, index), stages(x)
    except (AssertionError, RuntimeError, ValueError, TypeError):  # transformers take images of one size, and tokens
        return False
    finally:
        network.train(training)
    return expected.shape == found.shape and (expected.is_meta or torch.allclose(expected, found, rtol=1e-4, atol=1e-5))


def _cut(stages: nn.Sequential, name: str, out_stride: int) -> nn.Sequential:
    """The stages up to the last one of this total stride."""
    like = next(stages.parameters())
    x, strides, channels = torch.zeros(1, 3, CHECKED_AT, CHECKED_AT).to(like), [], []
    training = stages.training
    stages.eval()
    with torch.no_grad():
        for stage in stages:
            x = stage(x)
            strides.append(CHECKED_AT // x.shape[-1])
            channels.append(x.shape[1])
    stages.train(training)
    _check_stride(name, out_stride, strides)
    count = len(strides) - strides[::-1].index(out_stride)
    stages = stages[:count]
    stages.num_features = channels[count - 1]
    return stages


def _check_stride(name: str, out_stride: int, strides: Sequence[int]) -> None:
    if out_stride not in strides:
        expected = " or ".join(map(str, sorted(set(strides))))
        raise InputError(f"trunk {name!r} has no feature maps of stride {out_stride}: expected out_stride={expected}")


def _timm_version() -> str:
    from importlib.metadata import version

    return version("timm")


# --- networks whose stem stride can be chosen, in named stages -------------------------------------------------------


def _resnet_stages(network: Any) -> OrderedDict[str, nn.Module]:
    stem = nn.Sequential(network.conv1, network.bn1, network.act1, network.maxpool)
    return OrderedDict(stem=stem, **{f"layer{i}": network.get_submodule(f"layer{i}") for i in (1, 2, 3, 4)})


def _senet_stages(network: Any) -> OrderedDict[str, nn.Module]:
    stem = nn.Sequential(network.layer0, network.pool0)
    return OrderedDict(stem=stem, **{f"layer{i}": network.get_submodule(f"layer{i}") for i in (1, 2, 3, 4)})


def _densenet_stages(network: Any) -> OrderedDict[str, nn.Module]:
    """A dense block and the transition after it are a stage; the last one ends with the norm and its activation instead."""
    parts = dict(network.features.named_children())
    stem = takewhile(lambda part: part[0] != "denseblock1", parts.items())
    stages = OrderedDict(stem=nn.Sequential(OrderedDict(stem)))
    for i, end in enumerate(("transition1", "transition2", "transition3", "norm5"), start=1):
        stages[f"layer{i}"] = nn.Sequential(parts[f"denseblock{i}"], parts[end])
    return stages


_SPLIT = {"resnet": _resnet_stages, "densenet": _densenet_stages, "senet": _senet_stages}
