"""Do two models look at the same place? Every two models' maps compared, image by image, beside what comes for free.

Maps (N, 1, h, w) in [0, 1]. The null lines say how alike maps are that know nothing of each other's image: stability counts only
as far as it is above them.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lficam.errors import InputError
from lficam.metrics.similarity import AT_THRESHOLD, THRESHOLD, iou, steps_of
from lficam.model.cam import are_finite, check_maps, normalize_map, resize_map

if TYPE_CHECKING:
    import pandas as pd

Maps = Mapping[str, tuple[Sequence[str], Tensor | np.ndarray]]  # setting -> (ids of N samples, N maps)

# Compared at a time, eight images of 224 x 224: five settings and what is taken from them take 40 megabytes.
PIXELS = 8 * 224 * 224
DRAWN = 64  # images whose partners are drawn at a time: other draws with another number


def pairwise_stability(
    maps: Maps,
    size: tuple[int, int] | None = None,
    threshold: float = THRESHOLD,
    metrics: Sequence[str] = tuple(AT_THRESHOLD),
) -> "pd.DataFrame":
    """Compare the maps of every two settings, image by image.

    maps: setting -> (ids of N samples, maps (N, 1, u, v) or (N, u, v), a tensor or an array). Maps are paired by id, whatever
        their order.
    size: (h, w) of the images, to which maps are resized before they are compared; their own size when left out.
    metrics: names in `similarity.METRICS`; those left out here cost several times as much as these, and "ssim" needs maps of
        11 x 11 pixels.

    Returns one row a pair, image and metric: columns a, b, id, metric, value.
    Raises InputError for fewer than two settings, repeated ids, settings with different ids or map sizes, or unknown metrics.
    """
    import pandas as pd

    if len(maps) < 2:
        raise InputError(f"stability compares settings, got {len(maps)} ({', '.join(maps)}): give at least two")
    chosen = steps_of(metrics, threshold)
    aligned = _align(maps, size)
    ids, images = next(iter(maps.values()))[0], _at_a_time(size or next(iter(aligned.values())).shape[-2:])
    rows = []
    for start in range(0, len(ids), images):
        chunk = slice(start, start + images)
        shown = {s: normalize_map(cams[chunk]) if size is None else resize_map(cams[chunk], size) for s, cams in aligned.items()}
        check_maps(*shown.values())
        for name, (take, compare) in chosen.items():
            taken = {setting: take(cams) for setting, cams in shown.items()}
            for a, b in combinations(taken, 2):
                values = compare(taken[a], taken[b]).tolist()
                rows += [(a, b, id, name, value) for id, value in zip(ids[chunk], values, strict=True)]
    return pd.DataFrame(rows, columns=["a", "b", "id", "metric", "value"])


def pair_matrix(pairs: "pd.DataFrame", metric: str) -> Tensor:
    """One metric of `pairwise_stability` as `intervals.pair_interval` takes it: (S, S, N) float64, symmetric, 0 on the diagonal.

    Settings and images are in the order in which they first appear.
    Raises InputError for a metric that is not in `pairs`, or unless there is one value for each pair of settings and image.
    """
    import pandas as pd

    rows = pairs[pairs["metric"] == metric]
    if rows.empty:
        raise InputError(f"no values of {metric!r}: there are {', '.join(pairs['metric'].unique()) or 'none'}")
    settings, names = pd.factorize(rows[["a", "b"]].to_numpy().ravel())  # a and b of row 1, a and b of row 2, ...
    image, ids = pd.factorize(rows["id"])
    a, b, image = torch.tensor(settings[::2]), torch.tensor(settings[1::2]), torch.tensor(image)
    matrix = torch.full((len(names), len(names), len(ids)), torch.nan, dtype=torch.float64)
    matrix[a, b, image] = matrix[b, a, image] = torch.tensor(rows["value"].to_numpy(), dtype=torch.float64)
    matrix[range(len(names)), range(len(names))] = 0
    expected = len(names) * (len(names) - 1) // 2 * len(ids)
    if len(rows) != expected or matrix.isnan().any():
        raise InputError(
            f"{len(rows)} values of {metric!r} for {len(names)} settings and {len(ids)} images: expected one for each pair and "
            f"image, {expected}, none of them NaN"
        )
    return matrix


def different_images(
    cams: Tensor, sources: Sequence[str], threshold: float = THRESHOLD, partners: int = 10, seed: int = 0
) -> Tensor:
    """Mean IoU of each map with maps of other images by the same model: (N,) in [0, 1], a null line of stability.

    A method that shows one map everywhere gets its stability for free: stability near this value says nothing about the image.

    cams: (N, 1, h, w) by one model, as they are compared (`resize_map`).
    sources: N names; images of one source (made from the same photograph, say) are never partners.
    partners: how many other images are drawn for each; where fewer are of another source, all of those.

    Raises InputError for sources that are not N names or are all the same, or fewer than one partner.
    """
    check_maps(cams)
    return _different_images(_bits(cams, threshold), sources, partners, seed).to(cams.device)


def _different_images(on: np.ndarray, sources: Sequence[str], partners: int = 10, seed: int = 0) -> Tensor:
    """`different_images` of maps that are on as `_bits` has it."""
    if len(sources) != len(on):
        raise InputError(f"{len(sources)} sources for {len(on)} maps: expected one name for each map")
    if partners < 1:
        raise InputError(f"partners={partners}: expected at least one other image for each")
    if len(position := {name: i for i, name in enumerate(sources)}) < 2:
        raise InputError(f"all {len(on)} maps are of the source {', '.join(position)!r}: give maps of at least two sources")
    source = torch.tensor([position[name] for name in sources])
    generator = torch.Generator().manual_seed(seed)
    area, values = _count(on), []
    for start in range(0, len(on), DRAWN):
        own = slice(start, start + DRAWN)
        usable = source[own, None] != source  # (n, N)
        drawn = torch.rand(usable.shape, generator=generator).masked_fill(~usable, -1)
        drawn, partner = drawn.topk(min(partners, int(usable.sum(1).max())))  # (n, partners); -1: there are no more
        shared = _count(on[own, None] & on[partner])
        either = area[own, None] + area[partner] - shared
        alike = torch.where(either > 0, shared / either.clamp(min=1), 0.0)
        values.append((alike * (drawn >= 0)).sum(1) / (drawn >= 0).sum(1))
    return torch.cat(values)


def _bits(cams: Tensor, threshold: float) -> np.ndarray:
    """Where maps (N, 1, h, w) are on: (N, h w / 8), eight pixels a byte."""
    return np.packbits((cams > threshold).flatten(1).cpu().numpy(), axis=1)


def _count(bits: np.ndarray) -> Tensor:
    """How many bits are set in the last axis: int64."""
    return torch.from_numpy(np.bitwise_count(bits).sum(-1, dtype=np.int64))


def centred_blob(size: tuple[int, int]) -> Tensor:
    """What a method that always looks at the middle would show: (1, 1, h, w) in [0, 1].

    A Gaussian at the centre of the image, its standard deviation a quarter of each side, min-max normalised.
    """
    sides = [torch.exp(-0.5 * ((torch.arange(n) - (n - 1) / 2) / (n / 4)) ** 2) for n in size]
    return normalize_map(torch.outer(*sides)[None, None])


def null_lines(
    maps: Maps,
    size: tuple[int, int],
    sources: Sequence[str],
    threshold: float = THRESHOLD,
) -> "pd.DataFrame":
    """How alike maps are that share no image: the IoU to expect from a method that looks at the same place everywhere.

    maps, size: as for `pairwise_stability`; one setting is enough.
    sources: of the images, in the order of the first setting's ids, as for `different_images`.

    Returns one row a setting, null line and image: columns setting, null, id, value. The null "different images" is that of
    `different_images`, "centred blob" the IoU of each map with `centred_blob`.
    Raises InputError as those two do.
    """
    import pandas as pd

    if not maps:
        raise InputError("null lines need maps, got no setting: give at least one")
    aligned = _align(maps, size)
    ids, blob = next(iter(maps.values()))[0], centred_blob(size)
    frames = []
    for setting, cams in aligned.items():
        on, on_blob = [], []
        for part in cams.split(_at_a_time(size)):
            shown = resize_map(part, size).float()
            on.append(_bits(shown, threshold))
            on_blob.append(iou(shown, blob.to(shown).expand_as(shown), threshold))
        nulls = {"different images": _different_images(np.concatenate(on), sources), "centred blob": torch.cat(on_blob)}
        for null, values in nulls.items():
            frames.append(pd.DataFrame({"setting": setting, "null": null, "id": ids, "value": values.tolist()}))
    return pd.concat(frames, ignore_index=True)


def _at_a_time(size: tuple[int, int]) -> int:
    """How many images of that size are compared at a time."""
    return max(1, PIXELS // (size[0] * size[1]))


def _as_maps(cams: Tensor | np.ndarray) -> Tensor:
    """(N, 1, u, v), floating point."""
    cams = torch.as_tensor(cams)
    cams = cams if cams.is_floating_point() else cams.float()
    return cams.unsqueeze(1) if cams.ndim == 3 else cams


def _align(maps: Maps, size: tuple[int, int] | None) -> dict[str, Tensor]:
    """All maps in the order of the first setting's ids."""
    maps = {setting: (own_ids, _as_maps(cams)) for setting, (own_ids, cams) in maps.items()}
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
        order = [position[id] for id in ids]
        if order != list(range(len(order))):  # else they would be copied as they are
            cams = cams[order]
        if (bad := ~are_finite(cams)).any():
            id = ids[int(bad.int().argmax())]
            raise InputError(f"the map of {id!r} in {setting!r} holds NaN or infinity: expected values in [0, 1]")
        if size is None and cams.shape != reference.shape:
            raise InputError(
                f"maps of {setting!r} are {tuple(cams.shape[1:])}, of {first!r} {tuple(reference.shape[1:])}: pass size=(h, w)"
            )
        aligned[setting] = cams
    return aligned
