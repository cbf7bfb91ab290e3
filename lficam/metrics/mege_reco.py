"""MeGe and ReCo: do explanations generalise, and do they tell right from wrong? From models that each held out another part.

Source: Fel, Vigouroux, Cadène, Serre, "How Good is your Explanation? Algorithmic Stability Measures to Assess the Quality of
Explanations for Deep Neural Networks", WACV 2022. K models, each trained without one of K parts of the images. Two models are
compared on the images that exactly one of them held out, by the distance of their maps of the true class, sqrt(1 - |rank
correlation|). *Same*: both are right; *different*: exactly one is; where both are wrong nothing is learned.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lficam.errors import InputError
from lficam.metrics.similarity import spearman

FEWEST_DIFFERENT = 50  # pairs of which one model is right; fewer measure no ReCo
PERMUTATIONS = 1000


class Consistency(NamedTuple):
    """mege: 1 / (1 + mean distance of *same*), in [0.5, 1]; higher is better.

    reco: the largest TPR + TNR - 1 over all thresholds, above which a distance is called different: in [0, 1], 1 if distance tells
    *same* from *different*. Since it is a maximum it is above 0 by chance: null holds it for as many permutations. Both None where
    there are too few. same, different: how many there are over all pairs of models.
    """

    mege: float
    reco: float | None
    null: Tensor | None
    same: int
    different: int


def distances(maps: Tensor, held_out: Tensor) -> Tensor:
    """How far the map by the model that held an image out lies from that by each other one: (K, N) in [0, 1], NaN for itself.

    maps: (K, N, 1, h, w), of the true class. held_out: (N,), the model that was trained without each image.
    """
    models, images = maps.shape[:2]
    own = maps[held_out, torch.arange(images)]
    found = torch.stack([(1 - spearman(own, other).abs()).clamp(min=0).sqrt() for other in maps])
    return found.masked_fill(torch.arange(models)[:, None] == held_out, torch.nan)


def mege_reco(distance: Tensor, right: Tensor, held_out: Tensor, seed: int = 0) -> Consistency:
    """MeGe and ReCo of K models.

    distance: (K, N), as `distances` gives it. right: (K, N) bool, whether each model is right about each image. held_out: as there.
    The null: the images of a part keep their distances and exchange who is right about them, all models together.

    Raises InputError where no two models are right about an image that one of them held out.
    """
    same, different = _kinds(right, held_out)
    if not same.any():
        raise InputError("no two models are right about an image that one of them held out: train them for longer")
    mege = 1 / (1 + distance[same].mean().item())
    counts = int(same.sum()), int(different.sum())
    if counts[1] < FEWEST_DIFFERENT:
        return Consistency(mege, None, None, *counts)
    generator, null = torch.Generator().manual_seed(seed), []
    for _ in range(PERMUTATIONS):
        order = torch.rand(len(held_out), generator=generator).add(held_out).argsort()  # a shuffle within each part
        exchanged = torch.empty_like(right)
        exchanged[:, held_out.argsort(stable=True)] = right[:, order]
        null.append(_reco(distance, *_kinds(exchanged, held_out)))
    return Consistency(mege, _reco(distance, same, different), torch.tensor(null), *counts)


def _kinds(right: Tensor, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """(K, N) bool each: both are right, exactly one is; of the model that held the image out, and each other one."""
    others = torch.arange(len(right))[:, None] != held_out
    own = right[held_out, torch.arange(len(held_out))]
    return right & own & others, (right != own) & others


def _reco(distance: Tensor, same: Tensor, different: Tensor) -> float:
    values, order = torch.cat([distance[same], distance[different]]).sort()
    is_same = order < same.sum()
    gain = is_same.double() / same.sum() - (~is_same).double() / different.sum()
    last = torch.cat([values[1:] != values[:-1], torch.tensor([True])])  # a threshold lies between different values
    return max(0.0, gain.cumsum(0)[last].max().item())  # TPR - (1 - TNR) when all up to here are called same
