"""What trained runs say about one picture, and when something of it is changed; each answer is computed once and kept.

Channels are kept or dropped in the order of their importance, and a grey square hides a part of the picture (occlusion: Zeiler,
Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014).
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from lficam.data.augmentation import normalize
from lficam.errors import InputError
from lficam.explorer.gallery import picture, run_of
from lficam.metrics.baselines import baseline_maps
from lficam.metrics.map_names import GRAD_CAM
from lficam.metrics.similarity import iou
from lficam.model.cam import Explanation, resize_map
from lficam.model.devices import device_of
from lficam.model.methods import METHODS
from lficam.training.runs import Run

KEPT = 256  # answers; of a large network one takes up to 1.6 MB

Box = tuple[int, int, int, int]  # top, left, bottom, right, in pixels


class Answer(NamedTuple):
    """What a run says about one picture; float32 on the CPU.

    probabilities: (C,). cam: (1, u, v) in [0, 1]. importance: (K,), None for ABN. features: (K, u, v), None of a changed picture.
    """

    probabilities: Tensor
    cam: Tensor
    importance: Tensor | None
    features: Tensor | None


@lru_cache(maxsize=KEPT)
@torch.inference_mode()
def answer(run_id: str, image: str, box: Box | None = None) -> Answer:
    """What a run says about a picture, inside the box hidden by the data set's mean colour. Raises InputError if there is none."""
    run = run_of(run_id)
    said = _answer(run.model.explain(_input(run, image, box)))
    return said if box is None else said._replace(features=None)  # the larger part, and nobody looks at it


@lru_cache(maxsize=KEPT)
def grad_cam(run_id: str, image: str, box: Box | None = None) -> Tensor:
    """Grad-CAM of an LFI-CAM run for the class that it predicts: (1, u, v) in [0, 1]. Raises InputError if there is no picture."""
    run = run_of(run_id)
    predicted = answer(run_id, image, box).probabilities.argmax().view(1)
    return baseline_maps(GRAD_CAM, run.model, _input(run, image, box), predicted)[0]


@lru_cache(maxsize=KEPT)
@torch.inference_mode()
def with_channels(run_id: str, image: str, k: int, keep: bool) -> Answer:
    """What an LFI-CAM says when only the k most important channels count, or (keep=False) all but these.

    The weights need not sum to 1 again: the map is scaled to [0, 1] in any case.
    Raises InputError for a run without learned importance, or if no channel would be left.
    """
    run, learned = run_of(run_id), answer(run_id, image)
    if (count := channels(run_id)) is None:
        method = METHODS[run.config.method].title
        raise InputError(f"{method} has no learned importance of its channels: choose a run of {METHODS['lfi-cam'].title}")
    lowest, highest = (1, count) if keep else (0, count - 1)
    if not lowest <= k <= highest:
        raise InputError(f"k={k} of {count} channels to {'keep' if keep else 'drop'}: expected {lowest} to {highest}")
    order = ranked(learned.importance)
    importance = learned.importance.clone()
    importance[order[k:] if keep else order[:k]] = 0
    there = device_of(run.model)
    return _answer(run.model.attend(learned.features[None].to(there), importance[None].to(there)))


def channels(run_id: str) -> int | None:
    """K, the channels that an LFI-CAM weighs by what it has learned; None for a run of another method."""
    run = run_of(run_id)
    return run.model.num_features if METHODS[run.config.method].fin else None


def ranked(importance: Tensor) -> Tensor:
    """Channels from the most important on: (K,) -> (K,) int64."""
    return importance.argsort(descending=True, stable=True)


def compared(run_id: str, cam: Tensor) -> Tensor:
    """A map (1, u, v) as maps are shown and compared, at the size of the picture: (1, s, s) in [0, 1]."""
    return resize_map(cam[None], (run_of(run_id).config.image_size,) * 2)[0]


def iou_matrix(maps: Sequence[Tensor], threshold: float) -> Tensor:
    """IoU of every two of S maps (1, h, w) of one size: (S, S). Higher is more alike; 0 for a map of which nothing is on."""
    stacked, count = torch.stack(list(maps)), len(maps)
    pairs = torch.cartesian_prod(torch.arange(count), torch.arange(count)).view(-1, 2)
    return iou(stacked[pairs[:, 0]], stacked[pairs[:, 1]], threshold).view(count, count)


def box_of(square: tuple[float, float, float], side: int) -> Box | None:
    """The pixels that a square hides: its centre x, y and its side, as shares of the picture. None if it hides none.

    side: of the picture, in pixels.
    """
    x, y, size = square
    width = round(size * side)  # first, so that it is the same wherever the square is
    top, left = (math.floor(centre * side - width / 2 + 0.5) for centre in (y, x))
    top, left, bottom, right = (min(max(edge, 0), side) for edge in (top, left, top + width, left + width))
    return (top, left, bottom, right) if top < bottom and left < right else None


def hidden(run_id: str, image: str, box: Box | None) -> Tensor:
    """The picture (3, s, s) in [0, 1], inside the box the data set's mean colour, which is 0 to the network."""
    shown, run = picture(run_id, image), run_of(run_id)
    if box is None:
        return shown
    top, left, bottom, right = box
    shown = shown.clone()
    shown[:, top:bottom, left:right] = torch.tensor(run.mean, dtype=shown.dtype).view(3, 1, 1)
    return shown


def _input(run: Run, image: str, box: Box | None) -> Tensor:
    """(1, 3, s, s), normalised, where the model is."""
    return normalize(hidden(run.id, image, box)[None], run.mean, run.std).to(device_of(run.model))


def _answer(e: Explanation) -> Answer:
    importance = None if e.importance is None else e.importance[0].float().cpu()
    return Answer(e.logits.float().softmax(1)[0].cpu(), e.cam[0].float().cpu(), importance, e.features[0].float().cpu())
