"""The seed's claims and the rules by which they are judged, written before any map was compared.

The rules hold for every data set and profile. A verdict is "supported", "not supported", "inconclusive", or "not measured".
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

CLAIMS = {
    "C1": "After the FIN's feature importance is incorporated, LFI-CAM focuses on the most distinguishable region of the object.",
    "C2": "ABN's maps of the same image are unreliable and inconsistent although the trained models have similar accuracy.",
    "C3": "LFI-CAM's maps are reliable and stable.",
}

# C1: the gain in energy inside the true mask that counts; two hundredths of the map's sum.
ENERGY_MARGIN = 0.02

# C2, C3: two areas count as the same from IoU 0.5 on, the PASCAL VOC criterion for a found object; nearer than the margin to it,
# a mean decides nothing.
SAME_AREA, IOU_MARGIN = 0.5, 0.05

# "Similar accuracy": at most this far below the best setting of the same method.
ACCURACY_MARGIN = 0.03
MINIMUM_SETTINGS = 3  # with similar accuracy; fewer make no statement about settings


class Verdict(NamedTuple):
    """What became of a claim: "C1", "C2" or "C3", the outcome, and the numbers that decided."""

    claim: str
    outcome: str
    reason: str

    def __str__(self) -> str:
        return f"{self.claim} {self.outcome}: {self.reason}"


def judge_c1(cam: Tensor | None, mean_with_fin: Tensor | None, mean_without_fin: Tensor | None) -> Verdict:
    """Energy inside the true mask (N,) of the same images: of the CAM, and of the mean feature maps with and without FIN.

    Supported if the CAM gains more than the margin over both, not supported if it does not gain over both. Without masks (None)
    there is nothing to measure.
    """
    if cam is None or mean_with_fin is None or mean_without_fin is None:
        return Verdict("C1", "not measured", "the data set has no masks of its objects")
    gains = [(cam - other).mean().item() for other in (mean_without_fin, mean_with_fin)]
    outcome = "inconclusive"
    if min(gains) > ENERGY_MARGIN:
        outcome = "supported"
    elif min(gains) <= 0:
        outcome = "not supported"
    reason = (
        f"energy inside the true mask: CAM {cam.mean():.3f}, mean feature map without FIN {mean_without_fin.mean():.3f}, "
        f"with FIN {mean_with_fin.mean():.3f}; gain {gains[0]:+.3f} and {gains[1]:+.3f}, "
        f"supported above {ENERGY_MARGIN:+.2f} in both"
    )
    return Verdict("C1", outcome, reason)


def similar(accuracy: Mapping[str, float]) -> list[str]:
    """The settings whose accuracy (share in [0, 1]) is at most ACCURACY_MARGIN below the best of the same method."""
    best = max(accuracy.values())
    return [setting for setting, value in accuracy.items() if value >= best - ACCURACY_MARGIN - 1e-9]


def judge_stability(claim: str, method: str, mean_iou: float | None, settings: int, total: int) -> Verdict:
    """C2 (inconsistent) or C3 (stable) by the mean IoU over all pairs of settings with similar accuracy.

    C3 is supported above SAME_AREA + IOU_MARGIN and not supported below SAME_AREA - IOU_MARGIN; C2 the other way round.
    settings, total: how many settings have similar accuracy, of how many.
    """
    if mean_iou is None or settings < MINIMUM_SETTINGS:
        reason = f"only {settings} of {total} {method} settings have similar accuracy, {MINIMUM_SETTINGS} are needed"
        return Verdict(claim, "inconclusive", reason)
    stable, unstable = mean_iou > SAME_AREA + IOU_MARGIN, mean_iou < SAME_AREA - IOU_MARGIN
    supported, refuted = (stable, unstable) if claim == "C3" else (unstable, stable)
    outcome = "supported" if supported else "not supported" if refuted else "inconclusive"
    bound = f"above {SAME_AREA + IOU_MARGIN:.2f}" if claim == "C3" else f"below {SAME_AREA - IOU_MARGIN:.2f}"
    reason = f"{method} mean IoU {mean_iou:.2f} over {settings} of {total} settings of similar accuracy, supported {bound}"
    return Verdict(claim, outcome, reason)
