"""Every kind of training of the profiles quick and paper at full size: two steps of batch 2 on this CPU, and what it would take.

    python benchmarks/full_size.py > benchmarks/full_size.csv     (minutes; nothing else running)

Parameters and multiply-adds are counted, memory is estimated for the training's own batch and precision (`training/memory.py`),
images a second are those of the second step here, in float32.
"""

import math
import sys
import time

import pandas as pd
import torch

from lficam.figures.architecture import multiply_adds
from lficam.figures.experiments import EXPERIMENTS
from lficam.figures.plan import Experiment
from lficam.training.config import RunConfig
from lficam.training.loop import Objective, build_model
from lficam.training.memory import estimate

CLASSES = {"cifar10": 10, "cifar100": 100, "stl10": 10, "imagenet": 1000, "catdog": 2}
BATCH = 2


def configs() -> dict[tuple, tuple[RunConfig, str]]:
    """One of each kind, that of the largest batch, which needs most memory, with the profiles that have it."""
    found: dict[tuple, tuple[RunConfig, str]] = {}
    for profile in ("quick", "paper"):
        for plan in EXPERIMENTS.values():
            for config in Experiment(**(vars(plan) | {"profile": profile})).configs():
                classes = config.max_classes or CLASSES[config.dataset]
                kind = (config.dataset, config.method, config.trunk, config.image_size, classes)
                known = found.get(kind)
                profiles = " ".join(dict.fromkeys([*(known[1].split() if known else []), profile]))
                largest = known[0] if known and known[0].batch_size >= config.batch_size else config
                found[kind] = (largest, profiles)
    return found


def seconds_of_steps(config: RunConfig, classes: int) -> list[float]:
    """Of two training steps; raises FloatingPointError if a loss is not finite."""
    objective = Objective(build_model(config.model_copy(update={"pretrained": False}), classes)).train()
    objective = objective.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(objective.parameters(), config.lr, momentum=0.9, weight_decay=config.weight_decay)
    images, labels, seconds = torch.randn(BATCH, 3, config.image_size, config.image_size), torch.arange(BATCH), []
    for _ in range(2):
        start = time.perf_counter()
        loss, _ = objective(images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"{config}: the loss is {loss.item()}")
    return seconds


def main() -> None:
    rows = []
    for (dataset, method, trunk, pixels, classes), (config, profiles) in configs().items():
        with torch.device("meta"):
            model = build_model(config.model_copy(update={"pretrained": False}), classes).eval()
            counted = multiply_adds(model, torch.empty(1, 3, pixels, pixels))
        memory = estimate(config, classes)
        _, second = seconds_of_steps(config, classes)
        kind = {"dataset": dataset, "classes": classes, "method": method, "trunk": trunk, "pixels": pixels, "profiles": profiles}
        rows.append(
            kind
            | {
                "batch": config.batch_size,
                "precision": config.precision,
                "parameters_millions": round(sum(p.numel() for p in model.parameters()) / 1e6, 2),
                "giga_multiply_adds": round(counted, 2),
                "weights_gb": round(memory.weights / 1e9, 2),
                "activations_gb": round(memory.activations / 1e9, 1),
                "images_a_second_here": round(BATCH / second, 2),
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    pd.DataFrame(rows).to_csv(sys.stdout, index=False)


if __name__ == "__main__":
    main()
