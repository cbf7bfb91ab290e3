"""Trunks by name: the classifiers whose feature maps are weighed, as a sequence of named stages.

image (N, 3, h, w) -> features (N, K, u, v)

- CIFAR-size, 32 -> 8 x 8: `cifar_resnet110`, `cifar_wrn28_10`, ... (`lficam.model.cifar_trunks`).
- ImageNet-size, 224 -> 14 x 14: `resnet50`, `densenet121`, `convnext_tiny`, ..., from timm (`lficam.model.timm_trunks`).
- your own: `register_trunk`.
"""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from torch import nn

from lficam.errors import InputError
from lficam.model.cifar_trunks import CIFAR_FORMS, cifar_trunk, is_cifar_trunk
from lficam.model.features import count_features
from lficam.model.timm_trunks import OUT_STRIDE, has_stem_stride, timm_names, timm_trunk
from lficam.model.weights import has_weights

# Those that the tests train with every method. Other depths and timm's other networks of the same kinds go by name as well.
TRUNKS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d"),
    *("seresnet50", "legacy_senet154", "densenet121", "densenet161", "densenet169", "densenet201"),
    *("cifar_resnet20", "cifar_resnet32", "cifar_resnet44", "cifar_resnet56", "cifar_resnet110", "cifar_seresnet20"),
    *("cifar_seresnet110", "cifar_resnext29_8x64d", "cifar_wrn28_10", "cifar_densenet100_12"),
)


class _Registered(NamedTuple):
    build: Callable[[], nn.Module]
    version: int


_registered: dict[str, _Registered] = {}


def trunk(
    name: str, stem_stride: int = 1, pretrained: bool = False, out_stride: int | None = None, weights: str | Path | None = None
) -> nn.Module:
    """Build a trunk by name.

    name: one of `TRUNKS`, one like them, any network of timm (`timm.list_models()`), or a name given to `register_trunk`.
    stem_stride: stride of the first convolution of CIFAR trunks, ResNets, DenseNets and SENets. ImageNet networks use 2; 1 doubles
        the size of every feature map. Other networks have a stem of their own.
    pretrained: load timm's ImageNet weights; from the hub the first time, from its cache from then on.
    out_stride: pixels of the image a cell of the feature maps is wide, 16 or 32, for instance: the last stage of that stride ends
        the trunk. When left out 16, and of the networks whose stem stride can be chosen all stages.
    weights: a safetensors file with weights in timm's names, in place of timm's own.

    Returns a module with `.num_features` (K) and `.spec`, from which it can be built again: an `nn.Sequential` of named stages
    where the network is a chain of them.
    Raises InputError for an unknown name, an option that the trunk does not have, or weights that cannot be had.
    """
    check_trunk(name, stem_stride, pretrained, out_stride, weights)
    if name in _registered:
        stages = _registered[name].build()
        stages.num_features = count_features(stages)
    elif is_cifar_trunk(name):
        stages = cifar_trunk(name, stem_stride)
    else:
        stages = timm_trunk(name, stem_stride, pretrained, out_stride, None if weights is None else Path(weights).expanduser())
    # Its weights come from the saved model, so `pretrained` and `weights` are not part of it.
    stages.spec = {"name": name, "stem_stride": stem_stride} | ({"out_stride": out_stride} if out_stride else {})
    return stages


def register_trunk(name: str, build: Callable[[], nn.Module], version: int = 1) -> None:
    """Make a customised classifier usable by name in `trunk` and `RunConfig`.

    build: returns a new module, image (N, 3, h, w) -> features (N, K, u, v). ABN needs it to be an `nn.Sequential` of stages.
    version: part of every run's id; raise it when `build` changes, so that older runs are not taken for new ones.
    """
    if is_cifar_trunk(name) or name in timm_names():
        raise InputError(f"trunk name {name!r} is taken by a built-in trunk: choose another name")
    _registered[name] = _Registered(build, version)


def check_trunk(
    name: str, stem_stride: int = 1, pretrained: bool = False, out_stride: int | None = None, weights: str | Path | None = None
) -> None:
    """Raise InputError unless `trunk` can build this. Builds nothing, asks no network."""
    if name not in _registered and not is_cifar_trunk(name) and name not in timm_names():
        raise InputError(_unknown(name))
    if stem_stride < 1:
        raise InputError(f"stem_stride={stem_stride}: expected 1 or more, usually 1 or 2")
    if name in _registered and (pretrained or stem_stride != 1 or out_stride or weights):
        given = f"stem_stride={stem_stride}, pretrained={pretrained}, out_stride={out_stride}, weights={weights}"
        raise InputError(f"trunk {name!r} is registered without options, got {given}: put them into its build function")
    if is_cifar_trunk(name) and (out_stride or weights):
        raise InputError(f"trunk {name!r} has one size of its maps and no weights, got out_stride={out_stride}, weights={weights}")
    if name not in _registered and not is_cifar_trunk(name) and not has_stem_stride(name) and stem_stride != 1:
        raise InputError(f"trunk {name!r} has a stem of its own, got stem_stride={stem_stride}: choose out_stride instead")
    if pretrained and weights:
        raise InputError(f"pretrained=True and weights={str(weights)!r} are two sources of weights: give one")
    if pretrained and (is_cifar_trunk(name) or not has_weights(name)):
        raise InputError(f"there are no pretrained weights for {name!r}, got pretrained=True: leave it out")


def _unknown(name: str) -> str:
    close = get_close_matches(name.lower(), {*_registered, *TRUNKS, *timm_names()}, n=3)
    return (
        f"unknown trunk {name!r}{', did you mean ' + ' or '.join(close) + '?' if close else ':'} "
        f"expected {', '.join(CIFAR_FORMS)}, any network of timm such as resnet18, densenet121, convnext_tiny, "
        f"or a registered one ({', '.join(_registered) or 'none so far'})"
    )


def default_stem_stride(name: str, before_last_stage: bool) -> int:
    """The stem stride that gives a 14 x 14 map at 224 pixels with an ImageNet-size trunk; 1 for all others. Builds nothing.

    before_last_stage: whether the map is as large as the input of the last stage, as ABN's is, not as its output.
    """
    if not before_last_stage or name in _registered or is_cifar_trunk(name):
        return 1
    # In ResNet and SENet the last stage halves the map, so the usual stride 2 gives 14 x 14 before it; DenseNet's has no stride
    # of its own, so stride 2 would give 7 x 7 there.
    return 2 if timm_names().get(name) in ("resnet", "senet") else 1


def default_out_stride(name: str, before_last_stage: bool) -> int | None:
    """The stride of the last stage that gives a 14 x 14 map at 224 pixels; None where the stem stride decides. Builds nothing."""
    if name in _registered or is_cifar_trunk(name):  # first, since to ask timm takes a second
        return None
    if name not in timm_names() or has_stem_stride(name):
        return None
    return 2 * OUT_STRIDE if before_last_stage else OUT_STRIDE


def is_registered(name: str) -> bool:
    """Whether it is a trunk of `register_trunk`, which other processes do not know."""
    return name in _registered


def trunk_version(name: str) -> int:
    """The version a customised trunk was registered with; 0 for the built-in ones."""
    return _registered[name].version if name in _registered else 0
