"""What a trunk must return, and how many channels it has: found by looking at what it returns, not at what it says."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from lficam.errors import InputError

# Pixels a side of two black images. Of what comes back, the axis that keeps its length holds the channels.
PROBES = (64, 96)


def check_network(trunk: Any, num_classes: Any) -> None:
    """Raise InputError unless it can be a trunk, and a number of classes."""
    if not isinstance(trunk, nn.Module):
        raise InputError(f"trunk={trunk!r}: expected a module, such as lficam.trunk('resnet18')")
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
        raise InputError(f"num_classes={num_classes!r}: expected a whole number, 1 or more")


def count_features(trunk: nn.Module) -> int:
    """K of a trunk, image (N, c, h, w) -> features (N, K, u, v), found by two forward passes in evaluation mode.

    A trunk that takes images of one size alone cannot be asked; then its attribute `num_features` is taken.
    Raises InputError if what comes back is not (N, K, u, v), or the trunk can neither be asked nor says it.
    """
    size = PROBES[0]
    try:
        small = _probe(trunk, size)
        size = PROBES[1]
        large = _probe(trunk, size)
    except Exception as error:  # whatever somebody's own module raises
        known = getattr(trunk, "num_features", None)
        if isinstance(known, int):
            return known
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{type(trunk).__name__} does not take an image of {size} pixels ({why}), so its channels cannot be counted: "
            "pass num_features, the K of the features (N, K, u, v) that it returns"
        ) from error
    check_features(small, trunk)
    if small.shape[1] == large.shape[1]:
        return small.shape[1]
    if small.shape[-1] == large.shape[-1]:
        raise channels_last(small, trunk)
    raise InputError(
        f"{type(trunk).__name__} returned {tuple(small.shape)} for {PROBES[0]} and {tuple(large.shape)} for {PROBES[1]} pixels: "
        "expected features (N, K, u, v), whose K does not depend on the size of the image"
    )


@torch.no_grad()
def _probe(trunk: nn.Module, size: int) -> Any:
    """What the trunk returns for a black image; it comes back as it was."""
    modes = [(part, part.training) for part in trunk.modules()]
    like = next(trunk.parameters(), torch.zeros(0))  # the device and dtype that the trunk works in
    channels = next((part.in_channels for part in trunk.modules() if isinstance(part, nn.Conv2d)), 3)
    try:
        return trunk.eval()(torch.zeros(1, channels, size, size, device=like.device, dtype=like.dtype))
    finally:
        for part, training in modes:
            part.training = training


def check_features(features: Any, trunk: nn.Module, num_features: int | None = None) -> Tensor:
    """Return what a trunk returned if it is (N, K, u, v), with K = `num_features` where given; raise InputError otherwise."""
    if isinstance(features, fx.Proxy):  # torch.fx follows the code without values
        return features
    name = type(trunk).__name__
    if not isinstance(features, Tensor):
        advice = ": pass a module that returns one of them" if isinstance(features, list | tuple | dict) else ""
        raise InputError(f"a trunk must return features (N, K, u, v), {name} returned a {type(features).__name__}{advice}")
    if features.ndim != 4:
        raise InputError(
            f"a trunk must return features (N, K, u, v), {name} returned {tuple(features.shape)}: leave its pooling and its "
            "classifier out; of a transformer's tokens make a map first, as lficam.trunk does for those of timm"
        )
    if num_features is not None and features.shape[1] != num_features:
        if features.shape[-1] == num_features:
            raise channels_last(features, trunk)
        raise InputError(
            f"{name} returned features of shape {tuple(features.shape)}, expected (N, {num_features}, u, v): "
            "num_features is not the number of channels that it returns; leave it out, and they are counted"
        )
    return features


def channels_last(features: Tensor, trunk: nn.Module) -> InputError:
    """The error of a trunk that returns (N, u, v, K)."""
    return InputError(
        f"{type(trunk).__name__} returned features of shape {tuple(features.shape)}, its {features.shape[-1]} channels last: "
        "expected (N, K, u, v); pass nn.Sequential(trunk, torchvision.ops.Permute([0, 3, 1, 2]))"
    )
