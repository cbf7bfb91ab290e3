"""Where bfloat16 pays on a CPU: images a second in training, LFI-CAM in float32 and under autocast to bfloat16.

    python benchmarks/precision.py     (nothing else running; precision.csv keeps the rows of other processors)

The fastest of the steps after the first two counts: what else the machine does can only slow one down.
"""

import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import trunk
from lficam.provenance import environment

# Network, its options, pixels, images in a batch: of the photos profile (twice), the embedded and the quick one.
TRAINED = (
    ("cifar_resnet14", {"stem_stride": 2}, 64, 64),
    ("tf_efficientnet_lite0", {}, 160, 32),
    ("cifar_resnet8", {}, 28, 32),
    ("resnet18", {"stem_stride": 1}, 96, 16),
)
STEPS = 5


def images_a_second(name: str, options: dict[str, int], pixels: int, batch: int, precision: str) -> float:
    """Of the fastest training step."""
    torch.manual_seed(0)
    model = LFICAM(trunk(name, **options), num_classes=10).train().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, pixels, pixels).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    optimizer, seconds = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9), []
    for _ in range(STEPS):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return batch / min(seconds[2:])


def main() -> None:
    file, here = Path(__file__).with_suffix(".csv"), environment()
    machine = {name: here[name] for name in ("processor", "instructions", "threads")}
    rows = []
    for name, options, pixels, batch in TRAINED:
        for precision in ("float32", "bfloat16"):
            speed = images_a_second(name, options, pixels, batch, precision)
            rows.append(
                machine | {"network": name, "pixels": pixels, "batch": batch, "precision": precision, "images_a_second": speed}
            )
            print(*rows[-1].values(), flush=True)
    table = pd.DataFrame(rows)
    if file.is_file():
        others = pd.read_csv(file)
        table = pd.concat([others[(others[list(machine)] != pd.Series(machine)).any(axis=1)], table])
    table.to_csv(file, index=False, float_format="%.3g")


if __name__ == "__main__":
    main()
