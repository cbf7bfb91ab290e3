"""What the trainings of each figure cost, estimated: multiply-adds of one image x 3 (forward and backward) x images x epochs.

    python benchmarks/training_cost.py > benchmarks/training_cost.csv

Counted on the models, not timed. GPU hours: at the multiply-adds a second that training the method on the trunk in bfloat16 was
measured to reach on a H200 (gpu_first_hour.csv), on the CIFAR networks those of LFI-CAM. It was ResNet-18 at 96 pixels, where the
data sets have 224, and ABN with a stem of stride 1, where the recipe has 2.
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from lficam.figures.architecture import multiply_adds
from lficam.figures.experiments import COMPARISON, EXPERIMENTS
from lficam.figures.plan import Experiment
from lficam.training.config import RunConfig
from lficam.training.loop import build_model

TRAIN = {"cifar10": 50_000, "cifar100": 50_000, "stl10": 5_000, "imagenet": 1_281_167, "catdog": 20_000}  # images
CLASSES = {"cifar10": 10, "cifar100": 100, "stl10": 10, "imagenet": 1000, "catdog": 2}
MEASURED = {
    "resnet18": "resnet18, 96 px, batch 256, bfloat16",
    "resnet50": "resnet50, 224 px, batch 128, bfloat16",
    "cifar_resnet20": "cifar_resnet20, 32 px, batch 256, bfloat16",
    "cifar_resnet110": "cifar_resnet110, 32 px, batch 256, bfloat16",
}
AS = {"lfi-cam-without-fin": "plain"}  # nearly the same work


def rate(config: RunConfig, found: pd.Series) -> float:
    """Multiply-adds a second in training. found: values by what was measured and quantity."""
    names = [f"{method} on {MEASURED[config.trunk]}" for method in (AS.get(config.method, config.method), "lfi-cam")]
    what = next(name for name in names if (name, "tera_multiply_adds_a_second") in found)
    return 1e12 * float(found[what, "tera_multiply_adds_a_second"])


def billions(config: RunConfig) -> float:
    """Multiply-adds of one image forward."""
    with torch.device("meta"):
        model = build_model(config.model_copy(update={"pretrained": False}), config.max_classes or CLASSES[config.dataset])
        return multiply_adds(model.eval(), torch.empty(1, 3, config.image_size, config.image_size))


def plans(profile: str) -> dict[str, Experiment]:
    # The notebooks 05 and 06 train what their extra figures need; those of notebook 08 share the runs of the first.
    trained = ("fig1", "fig2", "fig3", "fig4", "extra1", "extra2", "extra3")
    figures = {name: replace(EXPERIMENTS[name], profile=profile) for name in trained}
    compare = replace(COMPARISON, profile=profile)
    return figures | {
        "compare catdog": replace(compare, supplement_dataset="catdog"),
        "compare cifar10": replace(compare, supplement_dataset="cifar10", overrides={"trunk": "cifar_resnet20"}),
    }


def main() -> None:
    rows = []
    found = pd.read_csv(Path(__file__).with_name("gpu_first_hour.csv"), index_col=["what", "quantity"])["value"]
    for profile in ("quick", "paper"):
        for name, plan in plans(profile).items():
            configs = plan.configs()
            total, seconds, seen = 0.0, 0.0, 0
            for config in configs:
                images = config.max_classes * config.max_per_class or TRAIN[config.dataset]
                work = 3e9 * billions(config) * images * config.epochs
                total += work
                seconds += work / rate(config, found)
                seen += images * config.epochs
            shared = {"dataset": configs[0].dataset, "trunk": configs[0].trunk, "epochs": configs[0].epochs}
            cost = {
                "image_passes": seen,
                "peta_multiply_adds": round(total / 1e15, 1),
                "gpu_hours": round(seconds / 3600, 2),
            }
            rows.append({"profile": profile, "figure": name, **shared, "trainings": len(configs), **cost})
    pd.DataFrame(rows).to_csv(sys.stdout, index=False)


if __name__ == "__main__":
    main()
