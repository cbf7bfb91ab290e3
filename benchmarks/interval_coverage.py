"""How often the bootstrap's 95 % interval holds the truth, on simulated values whose truth is known.

A pair of models s, t and an image i: v = mu + m_s + m_t + p_st + u_i + e_sti; one model and an image: v = mu + m_s + u_i + e_si.
All are normal: images (u) have standard deviation 0.2 and noise (e) 0.15, models (m) `sd_models`, pairs (p) half of it. The truth
is the mean of these very models over all images where only images are resampled, and mu where models are as well. Every image is
its own source. 500 replicates an interval, a quarter of the default, which alone costs 0.4 points of coverage: the outer quantiles
of few replicates lie a little inside.

    OMP_NUM_THREADS=1 python benchmarks/bootstrap_coverage.py     (about 1 minute; writes bootstrap_coverage.csv beside this file)
"""

from pathlib import Path

import pandas as pd
import torch

from lficam.metrics.bootstrap import interval, pair_interval

IMAGES, SIMULATIONS, SAMPLES = 200, 1000, 500
MU, SD_IMAGES, SD_NOISE = 0.6, 0.2, 0.15


def normal(sd: float, *size: int) -> torch.Tensor:
    return sd * torch.randn(*size, generator=generator, dtype=torch.float64)


def symmetric(values: torch.Tensor) -> torch.Tensor:
    """One independent value a pair: the upper triangle, mirrored; 0 on the diagonal."""
    a, b = torch.triu_indices(len(values), len(values), 1)
    mirrored = torch.zeros_like(values)
    mirrored[a, b] = mirrored[b, a] = values[a, b]
    return mirrored


def simulate(models: int, sd_models: float, seed: int) -> list[tuple]:
    """(statistic, over, interval, truth) of one data set."""
    effect, image = normal(sd_models, models), normal(SD_IMAGES, IMAGES)
    alone = MU + effect.view(-1, 1) + image + normal(SD_NOISE, models, IMAGES)  # (S, N)
    pair_effect = effect.view(-1, 1) + effect + symmetric(normal(sd_models / 2, models, models))  # (S, S)
    pairs = MU + pair_effect.unsqueeze(2) + image + symmetric(normal(SD_NOISE, models, models, IMAGES))  # (S, S, N)
    different = ~torch.eye(models, dtype=torch.bool)
    options = {"samples": SAMPLES, "seed": seed}
    return [
        ("interval", "images", interval(alone.mean(0), **options), MU + effect.mean().item()),
        ("interval", "images and models", interval(alone, **options), MU),
        ("pair_interval", "images", pair_interval(pairs, **options), MU + pair_effect[different].mean().item()),
        ("pair_interval", "images and models", pair_interval(pairs, over="images and models", **options), MU),
    ]


generator = torch.Generator().manual_seed(0)
rows = []
for models in (3, 5, 10):
    for sd_models in (0, 0.02, 0.05, 0.1):
        for seed in range(SIMULATIONS):
            for statistic, over, found, truth in simulate(models, sd_models, seed):
                rows.append((statistic, over, models, IMAGES, sd_models, found.low <= truth <= found.high, found.high - found.low))
        print(models, "models, standard deviation between them", sd_models, flush=True)
keys = ["statistic", "over", "models", "images", "sd_models"]
trials = pd.DataFrame(rows, columns=[*keys, "held", "width"]).groupby(keys)
table = trials.agg(coverage=("held", "mean"), mean_width=("width", "mean"), simulations=("held", "size")).reset_index()
table["standard_error"] = (table["coverage"] * (1 - table["coverage"]) / table["simulations"]) ** 0.5  # of the coverage
table.round(4).to_csv(Path(__file__).with_suffix(".csv"), index=False)
print(table.round(3).to_string())
