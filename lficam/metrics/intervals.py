"""How far a mean over images, models or pairs of models would move with other images and other models.

Percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). Where models are resampled as
well as images, each replicate draws a set of both (Owen, "The pigeonhole bootstrap", 2007). Pairs share models, so pairs are never
resampled: their models are. Few models make the interval over models too narrow: with five that differ (standard deviation 0.1,
against 0.2 between images) it holds the truth in about 80 % (pairs) and 86 % (one number a model) instead of 95 %, as simulated in
benchmarks/bootstrap_coverage.csv.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from lficam.errors import InputError

Over = Literal["images", "images and models"]
CHUNK = 250  # replicates at a time: with 8,000 images their draws and counts take 16 MB each


class Interval(NamedTuple):
    """A mean, and the bounds between which 95 % of its bootstrap replicates lie."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """As in "0.71 [0.65, 0.75]": two decimals, up to six where it takes more to show how wide the interval is."""
        width = round(self.high - self.low, 6)
        decimals = max(2, math.ceil(-math.log10(width))) if width else 2
        mean, low, high = (f"{value:z.{decimals}f}" for value in self)  # z: no "-0.00"
        return f"{mean} [{low}, {high}]"


def interval(values: Tensor, sources: Sequence[str] | None = None, samples: int = 2000, seed: int = 0) -> Interval:
    """The mean of `values` with its bootstrap interval.

    values: (N,), one number an image: the interval says what other images would give. (S, N), one number a model and image:
        what other images and other models would give. For other images alone with these very models pass `values.mean(0)`.
        For the difference of two methods on the same images pass the difference: its images are then resampled together.
    sources: N names; images of one source (made from the same handwritten digit) are resampled together. Every image on its own
        if None.
    samples: bootstrap replicates.

    Raises InputError for other shapes, fewer than two models, no image, values that are not finite, or another number of sources.
    """
    if values.ndim not in (1, 2) or values.numel() == 0 or (values.ndim == 2 and len(values) < 2):
        raise InputError(
            f"values are {tuple(values.shape)}: expected (N,), or (S, N) for S >= 2 models, and N >= 1 images; "
            "for one model pass values[0]"
        )
    generator = torch.Generator().manual_seed(seed)
    if values.ndim == 1:
        return _interval(values[None], torch.ones(samples, 1, dtype=torch.float64), sources, generator)
    return _interval(values, _counts(samples, len(values), generator), sources, generator)


def known_interval(values: Tensor, sources: Sequence[str] | None = None) -> Interval:
    """As `interval`, over the images whose value is known: one that is NaN for any model is left out."""
    known = ~values.isnan().reshape(-1, values.shape[-1]).any(0)
    if sources is not None:
        sources = [source for source, there in zip(sources, known.tolist(), strict=True) if there]
    return interval(values[..., known], sources)


def pair_interval(
    values: Tensor, sources: Sequence[str] | None = None, over: Over = "images", samples: int = 2000, seed: int = 0
) -> Interval:
    """The mean of `values` over all pairs of S different models and all N images, with its bootstrap interval.

    values: (S, S, N), symmetric, one number a pair of models and image, such as the IoU of their maps. The diagonal is ignored.
        For the difference of two methods under the same settings pass the difference: its models are then resampled together.
    sources, samples: as in `interval`.
    over: "images" says what other images would give with these very models, "images and models" what other models would give as
        well. A model drawn twice makes no pair with itself.

    Raises InputError for other shapes, fewer than two models, no image, values that are not symmetric or not finite, another
    number of sources, or an unknown `over`.
    """
    if over not in get_args(Over):
        raise InputError(f"over={over!r} is unknown: pass one of {', '.join(map(repr, get_args(Over)))}")
    if values.ndim != 3 or values.shape[0] != values.shape[1] or len(values) < 2 or values.shape[2] < 1:
        raise InputError(f"values are {tuple(values.shape)}: expected (S, S, N) for S >= 2 models and N >= 1 images")
    models = len(values)
    a, b = torch.triu_indices(models, models, 1)  # the P = S (S - 1) / 2 pairs
    if not torch.allclose(values[a, b], values[b, a], rtol=1e-4, atol=1e-6, equal_nan=True):
        raise InputError("values are not symmetric: expected values[s, t] equal to values[t, s]; fill in both")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.ones(samples, models, dtype=torch.float64) if over == "images" else _counts(samples, models, generator)
    pairs = drawn[:, a] * drawn[:, b]  # (B, P)
    return _interval(values[a, b], pairs[pairs.sum(1) > 0], sources, generator)  # no pair: the same model S times


def _interval(values: Tensor, weights: Tensor, sources: Sequence[str] | None, generator: torch.Generator) -> Interval:
    """Of values (P, N), where row p (a model, or a pair of them) counts weights[b, p] times in replicate b; weights (B, P)."""
    if bad := int((~torch.isfinite(values)).sum()):
        raise InputError(f"{bad} of {values.numel()} values are NaN or infinite: expected numbers; leave those images out")
    totals, sizes = _by_source(values.cpu().double(), sources)  # (P, G), (G,)
    replicates = []
    for weight in weights.split(CHUNK):  # (b, P)
        counts = _counts(len(weight), len(sizes), generator)  # (b, G)
        replicates.append((weight * (counts @ totals.T)).sum(1) / (weight.sum(1) * (counts @ sizes)))
    low, high = torch.cat(replicates).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(totals.sum().item() / values.numel(), low, high)


def _by_source(values: Tensor, sources: Sequence[str] | None) -> tuple[Tensor, Tensor]:
    """Sums of values (P, N) over the images of each source (P, G), and how many images those are (G,)."""
    images = values.shape[1]
    names = range(images) if sources is None else sources
    if len(names) != images:
        raise InputError(f"{len(names)} sources for {images} images: expected one name for each image")
    position = {name: g for g, name in enumerate(dict.fromkeys(names))}
    group = torch.tensor([position[name] for name in names])
    totals = values.new_zeros(len(values), len(position)).index_add_(1, group, values)
    return totals, torch.bincount(group).double()


def _counts(samples: int, size: int, generator: torch.Generator) -> Tensor:
    """How often each of `size` things comes up in `size` draws with replacement: (samples, size), float64."""
    drawn = torch.randint(size, (samples, size), generator=generator)
    one = torch.ones(1, dtype=torch.float64).expand(samples, size)
    return torch.zeros(samples, size, dtype=torch.float64).scatter_add_(1, drawn, one)
