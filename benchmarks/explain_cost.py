"""What it costs to explain: LFI-CAM's maps beside its own floor, the plain network, and the tools of others.

floor: trunk, FIN and classifier, with nothing that makes the map or the attention. plain: trunk and classifier. Each row is timed
together with what it is divided by, in one process, alternating, two threads; the ratio is that of the medians, of CPU time and of
wall time. The tools of others make maps of the plain network. Growth: fitted slope of log(time of explain less trunk) over log
of what grows; 1 is linear.

    python benchmarks/explain_cost.py     (after `make test`, which installs what it compares with; a quarter of an hour on a quiet
                                           machine; writes explain_cost.csv and explain_growth.csv beside it)
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import onnxruntime
import openvino
import pandas as pd
import torch
from pytorch_grad_cam import EigenCAM, GradCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchcam.methods import GradCAM as TorchcamGradCAM

from lficam.model.export import export
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import trunk

CLASSES = 10
REPEATS = 21  # of a pair, after three that are not counted
NETWORKS = [  # trunk, pixels, images in a batch, computed in bfloat16
    ("cifar_resnet20", 32, 1, False),
    ("cifar_resnet20", 32, 64, False),
    ("cifar_wrn28_10", 32, 4, False),
    ("resnet18", 224, 1, False),
    ("resnet18", 224, 8, False),
    ("cifar_resnet20", 32, 8, True),
    ("convnext_tiny", 224, 4, False),
    ("tf_efficientnet_lite0", 224, 1, False),
    ("tf_efficientnet_lite0", 224, 16, False),
]
rows = []


def medians(*calls: Callable[[], object], repeats: int = REPEATS) -> list[tuple[float, float]]:
    """Median CPU and wall seconds of each, alternating."""
    seconds = [[] for _ in calls]
    for number in range(repeats + 3):
        for call, found in zip(calls, seconds, strict=True):
            cpu, wall = process_time(), perf_counter()
            call()
            if number >= 3:
                found.append((process_time() - cpu, perf_counter() - wall))
    return [tuple(np.median(found, axis=0)) for found in seconds]


def compare(
    what: str, over: str, name: str, size: int, batch: int, calls: tuple[Callable[[], object], ...], **options: int
) -> None:
    (cpu, wall), (cpu_below, wall_below) = medians(*calls, **options)
    row = {"what": what, "over": over, "trunk": name, "pixels": size, "batch": batch}
    rows.append(row | {"cpu_ratio": cpu / cpu_below, "wall_ratio": wall / wall_below, "wall_milliseconds": 1000 * wall})
    print(rows[-1], flush=True)


def inference(call: Callable[[Tensor], object], images: Tensor, bfloat16: bool = False) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return call(images)

    return run


def floor_of(model: LFICAM) -> Callable[[Tensor], object]:
    def floor(images: Tensor) -> object:
        features = model.trunk(images)
        return model.fin(features), model.fc(features.mean((-2, -1)))

    return floor


def plain(model: LFICAM) -> nn.Module:
    return nn.Sequential(model.trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.fc).eval()


def own_cost() -> None:
    for name, size, batch, bfloat16 in NETWORKS:
        model = LFICAM(trunk(name), num_classes=CLASSES).eval()
        images = torch.randn(batch, 3, size, size)
        explain = inference(model.explain, images, bfloat16)
        what = "explain, bfloat16" if bfloat16 else "explain"
        for over, call in (("floor", floor_of(model)), ("plain", plain(model))):
            compare(what, over, name, size, batch, (explain, inference(call, images, bfloat16)))


def peers(name: str = "resnet18", size: int = 224) -> None:
    """One image."""
    model = LFICAM(trunk(name), num_classes=CLASSES).eval()
    network, images = plain(model), torch.randn(1, 3, size, size)
    base = inference(network, images)
    layer, target = network[0][-1], [ClassifierOutputTarget(0)]

    with TorchcamGradCAM(network, layer) as torchcam:
        compare("torchcam's Grad-CAM", "plain", name, size, 1, (lambda: torchcam(0, network(images)), base))
    for method, repeats in ((GradCAM, REPEATS), (EigenCAM, REPEATS), (ScoreCAM, 1)):
        with method(network, [layer]) as peer:
            call = (lambda peer: lambda: peer(images, target))(peer)
            compare(f"pytorch-grad-cam's {method.__name__}", "plain", name, size, 1, (call, base), repeats=repeats)

    with tempfile.TemporaryDirectory() as folder:
        file = export(model, Path(folder) / "model.onnx", normalize=False).file
        pixels = images.numpy()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        compare("explain in onnxruntime", "plain", name, size, 1, (lambda: session.run(None, {"images": pixels}), base))
        compiled = openvino.compile_model(openvino.convert_model(file), "CPU", {"INFERENCE_NUM_THREADS": torch.get_num_threads()})
        compare("explain in OpenVINO", "plain", name, size, 1, (lambda: compiled(pixels), base))


class Features(nn.Module):
    """A trunk that costs nothing: it returns the features that it was given."""

    def __init__(self, features: Tensor):
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> Tensor:
        return self.features


def growth() -> pd.DataFrame:
    """Of all that comes after the trunk."""
    start = {"N images": 4, "K channels": 128, "u x v cells": 14}
    fitted = []
    for name, factors in (("N images", (1, 2, 4, 8)), ("K channels", (1, 2, 4)), ("u x v cells", (1, 2, 4))):
        times = []
        for factor in factors:
            n, k, side = (value * (factor if key == name else 1) for key, value in start.items())
            model = LFICAM(Features(torch.randn(n, k, side, side)), num_features=k, num_classes=CLASSES).eval()
            ((_, wall),) = medians(inference(model.explain, torch.randn(n, 3, 224, 224)), repeats=9)
            times.append(wall)
        amounts = np.square(factors) if name == "u x v cells" else np.array(factors)
        slope = np.polyfit(np.log(amounts), np.log(times), 1)[0]
        fitted.append({"grows": name, "from": start[name], "to": start[name] * factors[-1], "exponent": slope})
        print(fitted[-1], flush=True)
    return pd.DataFrame(fitted)


def main() -> None:
    torch.manual_seed(0)
    own_cost()
    peers()
    here = Path(__file__).parent
    pd.DataFrame(rows).to_csv(here / "explain_cost.csv", index=False, float_format="%.3g")
    growth().to_csv(here / "explain_growth.csv", index=False, float_format="%.2f")


if __name__ == "__main__":
    main()
