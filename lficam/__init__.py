"""LFI-CAM (ICCV 2021): an image classifier that explains itself, and the figures of its supplementary material.

model = lficam.LFICAM(lficam.trunk("resnet18"), num_classes=10)
logits = model(images)           # a plain classifier
cam = model.explain(images).cam  # (N, 1, u, v) in [0, 1]: where it looked
"""

from lficam.errors import InputError
from lficam.figures.experiments import experiment
from lficam.metrics.similarity import iou, iou_published
from lficam.metrics.stability import pairwise_stability
from lficam.model.abn import ABN
from lficam.model.cam import Explanation
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import register_trunk, trunk
from lficam.training.config import RunConfig
from lficam.training.runs import Run, fit_or_load, load_run

__all__ = [
    "ABN",
    "LFICAM",
    "Explanation",
    "InputError",
    "Run",
    "RunConfig",
    "experiment",
    "fit_or_load",
    "iou",
    "iou_published",
    "load_run",
    "pairwise_stability",
    "register_trunk",
    "trunk",
]
