"""How the five published settings are scaled for the comparisons of the photos profile: chosen on held-out accuracy alone.

The published settings are for ImageNet-size networks and up to a million images; here a small network learns from nothing on a few
thousand photographs of 64 pixels. Every candidate multiplies all learning rates by one factor and all batch sizes by another.
Trained on four fifths of Cat&Dog's training photographs (fold 1/5), judged on the fifth: the pair with the highest mean accuracy
over settings 1 and 5 and the three methods is the one to take. No test image and no map is looked at.

    python benchmarks/photos_rule.py     (with the data in place; trains 24 small models; writes photos_rule.csv beside this file)
"""

from pathlib import Path

import pandas as pd

from lficam.data.datasets import load_dataset
from lficam.data.samples import held_out
from lficam.figures.profiles import SETTINGS
from lficam.training.config import RunConfig
from lficam.training.explain import explain_samples
from lficam.training.loop import train

RULES = [(1, 1 / 2), (1 / 2, 1 / 2), (1, 1 / 4), (1 / 2, 1 / 4)]  # factors of learning rate and batch size
COMPARED = {"trunk": "cifar_resnet14", "stem_stride": 2, "image_size": 64, "precision": "float32"}
FOLD = "1/5"


def main() -> None:
    rows = []
    for lr_factor, batch_factor in RULES:
        for method in ("lfi-cam", "abn", "plain"):
            for number in (1, 5):
                setting = SETTINGS[number - 1]
                config = RunConfig(
                    dataset="catdog",
                    method=method,
                    epochs=20,
                    lr=setting.lr * lr_factor,
                    batch_size=round(setting.batch_size * batch_factor),
                    weight_decay=setting.weight_decay,
                    seed=number,
                    fold=FOLD,
                    **COMPARED,
                )
                dataset = load_dataset("catdog", image_size=config.image_size, augmentation=config.augmentation)
                model, history = train(config, dataset, lambda record: None)
                part = dataset.train.take(held_out(len(dataset.train), FOLD))
                explained = explain_samples(model, part, dataset.mean, dataset.std, config.image_size, config.augmentation)
                seconds = sum(record["seconds"] for record in history)
                accuracy = explained.accuracy(part.labels)
                rows.append((lr_factor, batch_factor, method, number, round(accuracy, 4), round(seconds)))
                print(*rows[-1], flush=True)
    table = pd.DataFrame(rows, columns=["lr_factor", "batch_factor", "method", "setting", "held_out_accuracy", "seconds"])
    table.to_csv(Path(__file__).with_suffix(".csv"), index=False)
    print(table.groupby(["lr_factor", "batch_factor"])["held_out_accuracy"].agg(["mean", "min"]).round(3))


if __name__ == "__main__":
    main()
