"""Class activation maps as tensors: normalisation, the weighted sum, resizing.

A map is (N, 1, u, v). N: batch, K: feature channels, (u, v): size of a feature map, (h, w): size of the image.
Source: Lee, Park, Oh, Kwak, "LFI-CAM: Learning Feature Importance for Better Visual Explanation", ICCV 2021, section 3.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import _register_namedtuple

from lficam.errors import InputError


class Explanation(NamedTuple):
    """What a model predicts for N images and where it looks.

    logits: (N, C) class scores before the softmax.
    cam: (N, 1, u, v) in [0, 1], the attention map; 1 is where the model looks most.
    importance: (N, K) weights of the feature channels, each row sums to 1; None for a model without such weights (ABN).
    features: (N, K, u, v) the trunk's feature maps that the attention multiplies.
    aux_logits: (N, C) class scores of a second head with its own loss (ABN's attention branch), else None.
    """

    logits: Tensor
    cam: Tensor
    importance: Tensor | None
    features: Tensor
    aux_logits: Tensor | None


# Without a name of its own torch.export cannot save a graph that returns it.
_register_namedtuple(Explanation, serialized_type_name="lficam.model.cam.Explanation")


def normalize_map(cam: Tensor) -> Tensor:
    """s(A): min-max normalise each (u, v) plane of (N, K, u, v) to [0, 1].

    A constant plane becomes 0, never NaN: a map with no peak says nothing.
    """
    return _min_max(cam)[0]


def normalize_channels(features: Tensor) -> Tensor:
    """s(F_k): min-max normalise each channel of (N, K, u, v) to [0, 1].

    A constant non-zero channel becomes 1 and a constant zero channel 0, as in the authors' release: a channel that is on
    everywhere masks nothing, one that is off everywhere masks all.
    """
    normalized, peak, flat = _min_max(features)
    return normalized.masked_fill(flat & (peak != 0), 1)


def _min_max(planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    floor = planes.amin((-2, -1), keepdim=True)  # (N, K, 1, 1)
    peak = planes.amax((-2, -1), keepdim=True)
    flat = peak == floor
    return (planes - floor) / (peak - floor).masked_fill(flat, 1), peak, flat


def class_activation_map(features: Tensor, importance: Tensor) -> Tensor:
    """A = s(ReLU(sum_k w_k F_k)): features (N, K, u, v), importance (N, K) -> (N, 1, u, v) in [0, 1]."""
    weighted = torch.einsum("nkuv,nk->nuv", features, importance)
    return normalize_map(weighted.relu().unsqueeze(1))


def mean_feature_map(features: Tensor) -> Tensor:
    """Pixel-wise mean over the channels of (N, K, u, v), normalised: (N, 1, u, v) in [0, 1]. Columns (b), (c) of Fig. 1."""
    return normalize_map(features.mean(1, keepdim=True))


def check_maps(*batches: Tensor) -> None:
    """Raises InputError unless all are maps (N, 1, h, w) of one shape, none of them 0, with finite values."""
    shapes = [tuple(batch.shape) for batch in batches]
    if len(set(shapes)) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 1 or 0 in shapes[0]:
        raise InputError(
            f"expected at least one map, all (N, 1, h, w) of one shape, got {' and '.join(map(str, shapes)) or 'none'}"
        )
    for batch in batches:
        if (bad := ~are_finite(batch)).any():
            raise InputError(f"map {int(bad.int().argmax())} of the batch holds NaN or infinity: expected values in [0, 1]")


def are_finite(cams: Tensor) -> Tensor:
    """Whether each of (N, ...) holds neither NaN nor infinity: (N,) bool. From its extremes, which needs no copy of all values."""
    if cams.numel() == 0:
        return cams.new_ones(len(cams), dtype=torch.bool)
    return cams.flatten(1).amin(1).isfinite() & cams.flatten(1).amax(1).isfinite()


def resize_map(cam: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring (N, 1, u, v) to `size` = (h, w), bilinearly, and normalise: the form in which maps are shown and compared.

    Normalised before as well, which changes nothing but keeps the rounding of a constant map from becoming a pattern.
    Raises InputError for something else than maps, or sides that are not 1 or more.
    """
    if cam.ndim != 4 or 0 in cam.shape[1:]:
        raise InputError(f"expected maps (N, 1, u, v), got {tuple(cam.shape)}")
    if len(size) != 2 or min(size) < 1:
        raise InputError(f"size={size}: expected (h, w), each 1 or more")
    return normalize_map(F.interpolate(normalize_map(cam.float()), size=size, mode="bilinear", align_corners=False))
