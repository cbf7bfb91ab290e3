"""LFI-CAM (ICCV 2021): an image classifier that explains itself, and the figures of its supplementary material.

model = lficam.LFICAM(lficam.trunk("resnet18"), num_classes=10)
logits = model(images)           # a plain classifier
cam = model.explain(images).cam  # (N, 1, u, v) in [0, 1]: where it looked

The rooms, each importing only from those before it: `model`, `data` and `metrics`, `training`, `figures`, `reproduce` and
`explorer`, `cli`. Each lists its modules in its docstring.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors; imported below when first asked for, so that `lficam --help` need not wait for torch
    from lficam.data.own_data import register_dataset
    from lficam.errors import InputError
    from lficam.figures.experiments import experiment
    from lficam.metrics.similarity import iou, iou_published
    from lficam.metrics.stability import pairwise_stability
    from lficam.model.abn import ABN
    from lficam.model.cam import Explanation
    from lficam.model.lfi_cam import LFICAM
    from lficam.model.metadata import Metadata
    from lficam.model.methods import load_pretrained
    from lficam.model.plain import Plain
    from lficam.model.trunks import register_trunk, trunk
    from lficam.training.config import RunConfig
    from lficam.training.fit import fit_or_load
    from lficam.training.runs import Run, load_run

_HOMES = {
    "ABN": "lficam.model.abn",
    "LFICAM": "lficam.model.lfi_cam",
    "Explanation": "lficam.model.cam",
    "InputError": "lficam.errors",
    "Metadata": "lficam.model.metadata",
    "Plain": "lficam.model.plain",
    "Run": "lficam.training.runs",
    "RunConfig": "lficam.training.config",
    "experiment": "lficam.figures.experiments",
    "fit_or_load": "lficam.training.fit",
    "iou": "lficam.metrics.similarity",
    "iou_published": "lficam.metrics.similarity",
    "load_pretrained": "lficam.model.methods",
    "load_run": "lficam.training.runs",
    "pairwise_stability": "lficam.metrics.stability",
    "register_dataset": "lficam.data.own_data",
    "register_trunk": "lficam.model.trunks",
    "trunk": "lficam.model.trunks",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lficam' has no attribute {name!r}: it has {', '.join(_HOMES)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
