"""Do two models look at the same place? Metrics between maps of the same image, one number an image.

Maps (N, 1, h, w) in [0, 1]; "on" means value > threshold; higher is more alike.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lficam.cam import check_maps, normalize_map, resize_map
from lficam.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

THRESHOLD = 100 / 255  # of the published stability figure
CHUNK = 512  # images resized at a time: five settings of 224 x 224 maps take half a gigabyte


def iou(a: Tensor, b: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Intersection over union of the "on" areas of maps a, b (N, 1, h, w): (N,) in [0, 1]. Two empty areas: 0.

    Raises InputError for maps of different shapes, or that are not finite.
    """
    check_maps(a, b)
    on_a, on_b = a > threshold, b > threshold
    shared = (on_a & on_b).sum((1, 2, 3))
    either = (on_a | on_b).sum((1, 2, 3))
    return torch.where(either > 0, shared / either.clamp(min=1), 0.0)


def iou_published(a: Tensor, b: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """The stability of the authors' release, to compare with its published numbers: (N,) in [0, 1].

    It is not an intersection over union of the image. It takes one for every image row and averages them, counts a row that is
    empty in both maps as 1, and stores the map as floor(256 A) in 8 bits, so that the peak itself (256) wraps to 0.
    """
    check_maps(a, b)
    on_a, on_b = (torch.floor(256 * cam).remainder(256) > round(255 * threshold) for cam in (a, b))
    shared = (on_a & on_b).sum(3)  # (N, 1, h)
    either = (on_a | on_b).sum(3)
    rows = torch.where(either > 0, shared / either.clamp(min=1), 1.0)
    return rows.mean((1, 2))


METRICS = {"iou": iou, "iou_published": iou_published}


def pairwise_stability(
    maps: Mapping[str, tuple[Sequence[str], Tensor]], size: tuple[int, int] | None = None, threshold: float = THRESHOLD
) -> "pd.DataFrame":
    """Compare the maps of every two settings, image by image.

    maps: setting -> (ids of N samples, maps (N, 1, u, v)). Maps are paired by id, whatever their order.
    size: (h, w) of the images, to which maps are resized before they are compared; their own size when left out.

    Returns one row a pair, image and metric: columns a, b, id, metric, value.
    Raises InputError for fewer than two settings, repeated ids, or settings with different ids or map sizes.
    """
    import pandas as pd

    if len(maps) < 2:
        raise InputError(f"stability compares settings, got {len(maps)} ({', '.join(maps)}): give at least two")
    aligned = _align(maps, size)
    ids = next(iter(maps.values()))[0]
    frames = []
    for start in range(0, len(ids), CHUNK):
        chunk = slice(start, start + CHUNK)
        shown = {s: normalize_map(cams[chunk]) if size is None else resize_map(cams[chunk], size) for s, cams in aligned.items()}
        for a, b in combinations(shown, 2):
            for name, metric in METRICS.items():
                values = metric(shown[a], shown[b], threshold).tolist()
                frames.append(pd.DataFrame({"a": a, "b": b, "id": ids[chunk], "metric": name, "value": values}))
    return pd.concat(frames, ignore_index=True)


def _align(maps: Mapping[str, tuple[Sequence[str], Tensor]], size: tuple[int, int] | None) -> dict[str, Tensor]:
    """All maps in the order of the first setting's ids."""
    first, (ids, reference) = next(iter(maps.items()))
    aligned = {}
    for setting, (own_ids, cams) in maps.items():
        position = {id: i for i, id in enumerate(own_ids)}
        if len(position) != len(own_ids) or len(cams) != len(own_ids):
            raise InputError(
                f"{setting!r} has {len(own_ids)} ids, {len(position)} of them different, and {len(cams)} maps: "
                "expected one map for each id"
            )
        if different := position.keys() ^ set(ids):
            raise InputError(
                f"{setting!r} and {first!r} differ in {len(different)} ids, such as {min(different)!r}: "
                "compare maps of the same images"
            )
        cams = cams[[position[id] for id in ids]]
        if (bad := ~torch.isfinite(cams).flatten(1).all(1)).any():
            id = ids[int(bad.int().argmax())]
            raise InputError(f"the map of {id!r} in {setting!r} holds NaN or infinity: expected values in [0, 1]")
        if size is None and cams.shape != reference.shape:
            raise InputError(
                f"maps of {setting!r} are {tuple(cams.shape[1:])}, of {first!r} {tuple(reference.shape[1:])}: pass size=(h, w)"
            )
        aligned[setting] = cams
    return aligned
