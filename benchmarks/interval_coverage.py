"""How often a 95 % interval holds the truth, on simulated values whose truth is known: how `metrics.intervals` was chosen.

A pair of models s, t and an image i: v = mu + m_s + m_t + p_st + u_i + e_sti; one model and an image: v = mu + m_s + u_i + e_si.
Images (u, standard deviation 0.2) and noise (e, 0.15) are normal; models (m, `sd_models`) and pairs (p, half of it) are normal, or
exponential less their mean, with a long tail of models that are unlike the others. The truth is mu; over images alone it is the
mean of these very models over all images.

Compared: the jackknife over models with the images' variance added, Student's t (the library's), and a percentile bootstrap that
draws models and images anew (Owen, "The pigeonhole bootstrap", 2007), the library's before. The rule, older than the
simulation: of those that hold the truth in at least 93 % in every cell with normal effects, the narrower one; where none does, that
number of models gets intervals over images alone.

    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py     (about 4 minutes; writes interval_coverage.csv beside this file)
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from lficam.metrics.intervals import interval, pair_interval

IMAGES, SIMULATIONS, REPLICATES = 200, 1000, 300
MU, SD_IMAGES, SD_NOISE = 0.6, 0.2, 0.15
MODELS, SD_MODELS = (3, 4, 5, 10), (0, 0.02, 0.05, 0.1, 0.2)


def normal(sd: float, *size: int) -> torch.Tensor:
    return sd * torch.randn(*size, generator=generator, dtype=torch.float64)


def exponential(sd: float, *size: int) -> torch.Tensor:
    return sd * (torch.empty(*size, dtype=torch.float64).exponential_(1, generator=generator) - 1)


def symmetric(values: torch.Tensor) -> torch.Tensor:
    """One independent value a pair: the upper triangle, mirrored; 0 on the diagonal."""
    upper = values.movedim((0, 1), (-2, -1)).triu(1)
    return (upper + upper.mT).movedim((-2, -1), (0, 1))


def counts(size: int, replicates: int) -> torch.Tensor:
    """How often each of `size` things comes up in as many draws: (replicates, size)."""
    drawn = torch.randint(size, (replicates, size), generator=generator)
    return torch.zeros(replicates, size, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(1).double().expand_as(drawn))


def bootstrap(values: torch.Tensor) -> tuple[float, float]:
    """Bounds for (S, N) or (S, S, N): models and images drawn anew; a model drawn twice makes no pair with itself."""
    weight = counts(len(values), REPLICATES)
    if values.ndim == 3:
        a, b = torch.triu_indices(len(values), len(values), 1)
        values, weight = values[a, b], weight[:, a] * weight[:, b]
    weight = weight[weight.sum(1) > 0]
    means = (weight * (counts(values.shape[1], len(weight)) @ values.T)).sum(1) / weight.sum(1) / values.shape[1]
    return tuple(means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist())


def simulate(models: int, sd_models: float, effects: Callable[..., torch.Tensor]) -> list[tuple]:
    """(statistic, over, method, bounds, truth) of one data set."""
    effect, image = effects(sd_models, models), normal(SD_IMAGES, IMAGES)
    alone = MU + effect.view(-1, 1) + image + normal(SD_NOISE, models, IMAGES)  # (S, N)
    pair_effect = effect.view(-1, 1) + effect + symmetric(effects(sd_models / 2, models, models))  # (S, S)
    pairs = MU + pair_effect.unsqueeze(2) + image + symmetric(normal(SD_NOISE, models, models, IMAGES))  # (S, S, N)
    these = MU + pair_effect[~torch.eye(models, dtype=torch.bool)].mean().item()
    return [
        ("one number a model", "images", "variance", interval(alone.mean(0))[1:3], MU + effect.mean().item()),
        ("one number a model", "images and models", "jackknife", interval(alone)[1:3], MU),
        ("one number a model", "images and models", "bootstrap", bootstrap(alone), MU),
        ("pairs", "images", "variance", pair_interval(pairs, over="images")[1:3], these),
        ("pairs", "images and models", "jackknife", pair_interval(pairs)[1:3], MU),
        ("pairs", "images and models", "bootstrap", bootstrap(pairs), MU),
    ]


generator = torch.Generator().manual_seed(0)
rows = []
for effects in (normal, exponential):
    for models in MODELS:
        for sd_models in SD_MODELS:
            for _ in range(SIMULATIONS):
                for statistic, over, method, (low, high), truth in simulate(models, sd_models, effects):
                    held = low <= truth <= high
                    rows.append((statistic, over, method, effects.__name__, models, sd_models, held, high - low))
            print(effects.__name__, models, "models, standard deviation between them", sd_models, flush=True)
keys = ["statistic", "over", "method", "effects", "models", "sd_models"]
trials = pd.DataFrame(rows, columns=[*keys, "held", "width"]).groupby(keys)
table = trials.agg(coverage=("held", "mean"), mean_width=("width", "mean"), simulations=("held", "size")).reset_index()
table["standard_error"] = (table["coverage"] * (1 - table["coverage"]) / table["simulations"]) ** 0.5  # of the coverage
table.round(4).to_csv(Path(__file__).with_suffix(".csv"), index=False)
