"""Trunks for ImageNet-size images, from timm: image (N, 3, 224, 224) -> features (N, K, u, v), in stages stem, layer1..layer4.

Any network of timm's modules `resnet` (ResNet, ResNeXt, SE-ResNet, ...), `densenet` and `senet` (`legacy_...`). With stem stride 1
the total stride is 16 (224 -> 14 x 14), which is how the LFI-CAM release gets its 14 x 14 maps; with 2, theirs, it is 32.
"""

import functools
import textwrap
from collections import OrderedDict
from itertools import takewhile
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from lficam.errors import InputError


@functools.cache
def timm_names() -> dict[str, str]:
    """Every name that `timm_trunk` can build, and the module of timm it comes from. Builds nothing."""
    import timm  # late: it costs a second, and the embedded figures never need it

    return {name: module for module in _SPLIT for name in timm.list_models(module=module)}


def has_weights(name: str) -> bool:
    """Whether timm has pretrained weights of one of `timm_names`. Asks no network."""
    from timm.models import is_model_pretrained

    return is_model_pretrained(name)


def timm_trunk(name: str, stem_stride: int, pretrained: bool) -> nn.Sequential:
    """Build one of `timm_names`; it has `.num_features`.

    Raises InputError if the pretrained weights cannot be had or do not fit.
    """
    network = _pretrained(name) if pretrained else _fresh(name)
    stages = nn.Sequential(_SPLIT[timm_names()[name]](network))
    first = next(layer for layer in stages.stem.modules() if isinstance(layer, nn.Conv2d))
    first.stride = (stem_stride, stem_stride)
    stages.num_features = network.num_features
    return stages


# --- from timm's network to named stages ----------------------------------------------------------------------------


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


# --- weights --------------------------------------------------------------------------------------------------------


def _fresh(name: str) -> nn.Module:
    import timm

    return timm.create_model(name, num_classes=0)


def _pretrained(name: str) -> nn.Module:
    import timm
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
    from safetensors import SafetensorError

    try:
        # With timm's own number of classes it loads strictly; with another, a missing weight would stay random, unsaid.
        return timm.create_model(name, pretrained=True)
    except (LocalEntryNotFoundError, HTTPError, URLError) as error:
        raise InputError(
            f"the pretrained weights of {name!r} could not be fetched from {_source(name)}: {_reason(error.__cause__ or error)}. "
            f"Connect to the network once, put them into {_cache(name)}, or leave pretrained out"
        ) from error
    except (SafetensorError, UnpicklingError, RuntimeError) as error:
        raise InputError(
            f"the pretrained weights of {name!r} in {_cache(name)} are damaged or another network's: {_reason(error)}. "
            "Delete them to have them fetched again, or leave pretrained out"
        ) from error


def _source(name: str) -> str:
    """A repository of the hub, or for the older ones an address."""
    from timm.models import get_pretrained_cfg

    weights = get_pretrained_cfg(name)
    return weights.hf_hub_id or weights.url


def _cache(name: str) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    source = _source(name)
    if "://" in source:
        return f"{torch.hub.get_dir()}/checkpoints/{source.rsplit('/', 1)[1]}"
    return f"{HF_HUB_CACHE}/models--{source.replace('/', '--')}"


def _reason(error: BaseException) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" ...").rstrip(".")
