"""Does a map lie on the object? Metrics against a true mask, one number an image; higher is better.

Maps (N, 1, h, w) in [0, 1]; masks (N, 1, h, w) bool.
"""

import torch
from torch import Tensor

from lficam.errors import InputError
from lficam.model.cam import check_maps, resize_map


def pointing(cam: Tensor, mask: Tensor) -> Tensor:
    """Is the map's peak inside the mask? (N,) in [0, 1]; of several equal peaks, the share inside.

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016 (the pointing game).
    """
    _check(cam, mask)
    peak = cam == cam.amax((-2, -1), keepdim=True)
    return (peak & mask).sum((1, 2, 3)) / peak.sum((1, 2, 3))


def energy(cam: Tensor, mask: Tensor) -> Tensor:
    """Share of the map's sum that lies inside the mask: (N,) in [0, 1]; 0 for a map that is 0 everywhere.

    Source: Wang et al., "Score-CAM", CVPR workshops 2020 (the energy-based pointing game).
    """
    _check(cam, mask)
    total = cam.sum((1, 2, 3))
    inside = (cam * mask).sum((1, 2, 3))
    return torch.where(total > 0, inside / total.masked_fill(total == 0, 1), 0.0)


def localisation(cams: Tensor, masks: Tensor | None) -> dict[str, Tensor]:
    """Pointing and energy of maps (N, 1, u, v), brought to the size of the masks (N, 1, h, w); nothing without masks.

    NaN where a mask is False everywhere: it is not known where the object is, or it is not in the picture.
    """
    if masks is None or not masks.any():
        return {}
    maps = resize_map(cams, masks.shape[-2:])
    unknown = ~masks.flatten(1).any(1)
    scores = {"pointing": pointing(maps, masks), "energy": energy(maps, masks)}
    return {metric: values.masked_fill(unknown, torch.nan) for metric, values in scores.items()}


def _check(cam: Tensor, mask: Tensor) -> None:
    check_maps(cam, mask)
    if mask.dtype != torch.bool:
        raise InputError(f"expected masks of dtype torch.bool, got {mask.dtype}: compare with a threshold first")
