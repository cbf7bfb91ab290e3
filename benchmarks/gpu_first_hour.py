"""What a GPU gives, in its first hour: parity with the CPU, resuming, reading images, speed, trainings side by side, a figure.

    python benchmarks/gpu_first_hour.py --output FOLDER                 (all stages; those that FOLDER has are kept)
    python benchmarks/gpu_first_hour.py --output FOLDER --stage speed

Each stage takes at most eight minutes and writes FOLDER/<stage>.json as it goes, so that what was cut off goes on; FOLDER/report.md
and report.csv have all of them. Without a GPU it is the same at a size that a CPU can do. It needs what the library needs; a stage
whose packages are missing is left out and says so. gpu_first_hour.csv beside this file: what a H200 gave.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from stages import Work, run_stage, write_report
from torch import nn

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
SECONDS = 8 * 60  # of a stage
METHODS = ("lfi-cam", "lfi-cam-without-fin", "abn", "plain")


class Trained(NamedTuple):
    """A training step that is timed."""

    trunk: str
    pixels: int
    batch: int
    method: str = "lfi-cam"
    compile: bool = False
    channels_last: bool = True
    precision: str = "bfloat16"

    @property
    def name(self) -> str:
        """Tells it from the others."""
        extras = [self.precision, "compiled" if self.compile else "", "" if self.channels_last else "channels first"]
        return f"{self.method} on {self.trunk}, {self.pixels} px, batch {self.batch}, {', '.join(filter(None, extras))}"


def _timed() -> list[Trained]:
    if not CUDA:
        small = Trained("cifar_resnet8", 28, 32, precision="float32")
        larger = Trained("resnet18", 32, 4, precision="float32")
        return [small, small._replace(channels_last=False), small._replace(method="abn"), larger]
    networks = [Trained("resnet18", 96, 256), Trained("resnet50", 224, 128)]
    networks += [Trained("cifar_resnet20", 32, 256), Trained("cifar_resnet110", 32, 256)]
    others = [one._replace(method=method) for one in networks[:2] for method in ("abn", "plain")]
    ways = ({}, {"channels_last": False}, {"precision": "float32"})
    compiled = [networks[k]._replace(compile=True) for k in (0, 2)]  # last: they take a minute to begin
    return [one._replace(**way) for way in ways for one in networks] + others + compiled


def speed() -> Work:
    """Images a second in training, and which share of the measured rate of matrix products that is."""
    yield (
        "matrix products",
        lambda: {"tera_multiply_adds_a_second": _matrix_rate() / 1e12, "dtype": "bfloat16" if CUDA else "float32"},
    )
    for one in _timed():
        yield one.name, partial(_images_a_second, one)


def _matrix_rate() -> float:
    """Multiply-adds a second of the best of some products of square matrices."""
    side, dtype = (8192, torch.bfloat16) if CUDA else (1024, torch.float32)
    a, b = (torch.randn(side, side, device=DEVICE, dtype=dtype) for _ in range(2))
    return side**3 / min(_seconds(lambda: a @ b) for _ in range(10))


def _images_a_second(one: Trained) -> dict[str, float]:
    from lficam.figures.architecture import multiply_adds
    from lficam.model.methods import METHODS as BUILDERS
    from lficam.model.trunks import trunk

    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    torch.manual_seed(0)
    model = BUILDERS[one.method].build(trunk(one.trunk, 1), 100)
    counted = multiply_adds(deepcopy(model).to("meta").eval(), torch.empty(1, 3, one.pixels, one.pixels, device="meta"))
    layout = torch.channels_last if one.channels_last else torch.contiguous_format
    model = model.to(DEVICE, memory_format=layout).train()
    images = torch.randn(one.batch, 3, one.pixels, one.pixels, device=DEVICE).contiguous(memory_format=layout)
    labels = torch.arange(one.batch, device=DEVICE) % 100
    optimizer = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9)

    def loss() -> torch.Tensor:
        e = model.explain(images)
        auxiliary = 0 if e.aux_logits is None else nn.functional.cross_entropy(e.aux_logits, labels)
        return nn.functional.cross_entropy(e.logits, labels) + auxiliary

    compiled = torch.compile(loss) if one.compile else loss

    def step() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=one.precision == "bfloat16"):
            value = compiled()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    warm = _seconds(step)
    for _ in range(2):
        step()
    each = min(_seconds(step) for _ in range(20 if CUDA else 3))
    images_a_second = one.batch / each
    tera = images_a_second * 3e-3 * counted  # forward and backward
    memory = {"gpu_memory_gb": torch.cuda.max_memory_allocated() / 1e9} if CUDA else {}
    return {
        "images_a_second": images_a_second,
        "tera_multiply_adds_a_second": tera,
        "share_of_matrix_rate": tera / (_matrix_rate() / 1e12),
        "first_step_seconds": warm,
    } | memory


def _seconds(work: Callable[[], Any]) -> float:
    if CUDA:
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def parity() -> Work:
    """The largest difference of logits and maps, which lie in [0, 1], between this device and the CPU, in float32: 0 on a CPU."""
    for method in METHODS:
        yield method, partial(_difference_from_cpu, method)


def _difference_from_cpu(method: str) -> dict[str, float]:
    from lficam.model.methods import METHODS as BUILDERS
    from lficam.model.trunks import trunk

    torch.manual_seed(0)
    model, images = BUILDERS[method].build(trunk("resnet18", 1), 10).eval(), torch.randn(8, 3, 96, 96)
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):  # products of matrices have none by default
        there, here = model.explain(images), deepcopy(model).to(DEVICE).explain(images.to(DEVICE))
    return {
        "logits": (there.logits - here.logits.cpu()).abs().max().item(),
        "largest_logit": there.logits.abs().max().item(),
        "map": (there.cam - here.cam.cpu()).abs().max().item(),
    }


def resume() -> Work:
    """A training against the same once more: how far apart they end, since a GPU adds up in no fixed order; and one interrupted."""
    yield "6 epochs, once more", partial(_once_more, interrupted=False)
    yield "6 epochs, interrupted after 3", partial(_once_more, interrupted=True)


def _once_more(interrupted: bool) -> dict[str, float]:
    from lficam.data.datasets import load_dataset
    from lficam.training import loop

    def stop(record: dict[str, Any]) -> None:
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    config, folder = _small(epochs=6), Path(os.environ["LFICAM_RUNS"], ".unfinished", "interrupted")
    dataset = load_dataset(config.dataset, max_per_class=config.max_per_class)
    whole, _ = loop.train(config, dataset, lambda record: None)
    if interrupted:
        with suppress(KeyboardInterrupt), patch.object(loop, "CHECKPOINT_SECONDS", 0):
            loop.train(config, dataset, stop, folder)
    again, history = loop.train(config, dataset, lambda record: None, folder if interrupted else None)
    pairs = zip(whole.state_dict().values(), again.state_dict().values(), strict=True)
    return {"epochs": len(history), "largest_difference_of_a_tensor": max((a - b).abs().max().item() for a, b in pairs)}


def streaming() -> Work:
    """Images a second that the loader cuts out of JPEG files, as ImageNet is read: 500 x 375 pixels, crops of 224."""
    for workers in sorted({1, os.cpu_count() // 2, os.cpu_count()}):
        yield f"{workers} processes", partial(_streamed_a_second, workers)


def _streamed_a_second(workers: int) -> dict[str, float]:
    from lficam.data.files import ImageFiles

    files = _photographs()
    batch = 32
    count = 12 * workers * batch
    repeated = tuple(files[i % len(files)] for i in range(count))
    images = ImageFiles(tuple(map(str, range(count))), repeated, torch.zeros(count, dtype=torch.long), workers)
    batches = images.augmented(224, "resized-crop-flip", batch, torch.Generator().manual_seed(0), DEVICE)
    for _ in range(2 * workers):  # until all of them are at work
        next(batches)
    seconds = _seconds(lambda: sum(1 for _ in batches))
    kilobytes = sum(file.stat().st_size for file in files) / len(files) / 1e3
    return {"images_a_second": (count - 2 * workers * batch) / seconds, "kilobytes_a_file": kilobytes}


def _photographs() -> list[Path]:
    """256 JPEG files, parts of the package's photographs."""
    import numpy as np
    from PIL import Image

    from lficam.data.free_photographs import FOLDER, SHOWS

    folder = Path(os.environ["LFICAM_RUNS"]).with_name("photographs")
    folder.mkdir(exist_ok=True)
    pictures = [Image.open(FOLDER / name).convert("RGB") for name in SHOWS]
    draw = np.random.default_rng(0)
    files = [folder / f"{i}.jpg" for i in range(256)]
    for i, file in enumerate(files):
        picture = pictures[i % len(pictures)]
        share = draw.uniform(0.5, 1)
        width, height = (round(share * side) for side in picture.size)
        left, top = draw.integers(picture.width - width + 1), draw.integers(picture.height - height + 1)
        picture.resize((500, 375), box=(left, top, left + width, top + height)).save(file, quality=90)
    return files


def side_by_side() -> Work:
    """Seconds a training, the start of the processes included, when several run at once (`--jobs`)."""
    for jobs in (1, 4, 16) if CUDA else (1, 2):
        yield f"--jobs {jobs}", partial(_seconds_a_training, jobs)


def _seconds_a_training(jobs: int) -> dict[str, float]:
    from lficam.training.fit import fit_missing

    count = max(jobs, 2)
    configs = [_small(epochs=8 if CUDA else 1, seed=1000 * jobs + k) for k in range(count)]
    return {"seconds_a_training": _seconds(lambda: fit_missing(configs, jobs)) / count, "trainings": count}


def figure() -> Work:
    """Figure 5 of the profile quick where its data is, else of the embedded data, from nothing."""
    yield "figure 5", _figure_5


def _figure_5() -> dict[str, Any]:
    from lficam.errors import MissingDataError
    from lficam.figures.agreement import stability_figure
    from lficam.figures.experiments import experiment
    from lficam.training.fit import fit_missing

    overrides = {} if CUDA else {"epochs": 1, "max_per_class": 20}
    try:
        plan = experiment("fig5", "quick", overrides)
    except MissingDataError:
        plan = experiment("fig5", "embedded", overrides)
    seconds = _seconds(lambda: fit_missing(plan.configs(), 4 if CUDA else 1))
    result = stability_figure(plan, plan.runs())
    verdicts = "; ".join(f"{verdict.claim} {verdict.words}" for verdict in result.verdicts)
    return {"data": plan.source, "trainings": len(plan.configs()), "training_seconds": seconds, "verdicts": verdicts}


def _small(**changes: Any) -> Any:
    """A training of seconds, on the embedded data."""
    from lficam.training.config import RunConfig

    sizes = {"batch_size": 32, "epochs": 2} if CUDA else {"batch_size": 32, "max_per_class": 20, "epochs": 2}
    return RunConfig(
        dataset="digits-stl10", method="lfi-cam", trunk="cifar_resnet8", lr=0.05, weight_decay=1e-4, **(sizes | changes)
    )


STAGES = {stage.__name__: stage for stage in (parity, resume, streaming, speed, side_by_side, figure)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--stage", choices=STAGES, action="append")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    for kind in ("runs", "figures"):  # of its own
        os.environ[f"LFICAM_{kind.upper()}"] = str(chosen.output / kind)
    for name in chosen.stage or STAGES:
        run_stage(STAGES[name], chosen.output, SECONDS)
        write_report("The first hour", STAGES.values(), chosen.output)
    print(chosen.output / "report.md", file=sys.stderr)


if __name__ == "__main__":
    main()
