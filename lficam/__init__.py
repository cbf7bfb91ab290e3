"""LFI-CAM (ICCV 2021): an image classifier that explains itself, and the figures of its supplementary material.

model = lficam.LFICAM(lficam.trunk("resnet18"), num_classes=10)
logits = model(images)           # a plain classifier
cam = model.explain(images).cam  # (N, 1, u, v) in [0, 1]: where it looked
"""

from lficam.abn import ABN
from lficam.cam import Explanation
from lficam.config import RunConfig
from lficam.errors import InputError
from lficam.experiments import experiment
from lficam.lfi_cam import LFICAM
from lficam.runs import Run, fit_or_load, load_run
from lficam.stability import iou, iou_published, pairwise_stability
from lficam.trunks import register_trunk, trunk

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
