"""The claims and the rules by which they are judged, written before what they judge was measured.

C1 to C3 are the supplement's; their rules are older than the first map that was compared. E1 to E8 are this project's own
questions, put as claims; their rules were written before the first faithfulness, null line or interval was computed. The rules
hold for every data set and profile. A verdict is "supported", "not supported", "inconclusive", or "not measured".
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from lficam.metrics.bootstrap import Interval, known_interval

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


class Question(NamedTuple):
    """A claim of this project's own about one quantity, which must be larger than the margin.

    quantity: what is measured, with its range or unit.
    """

    claim: str
    quantity: str
    margin: float


QUESTIONS = {
    "E1": Question(
        "LFI-CAM's maps are more alike between hyper-parameter settings than ABN's.", "difference in mean IoU, LFI-CAM - ABN", 0.0
    ),
    "E2": Question("LFI-CAM's maps are more alike between seeds than ABN's.", "difference in mean IoU, LFI-CAM - ABN", 0.0),
    "E3": Question(
        "Two LFI-CAM models agree on an image more than one model's maps of different images do.",
        "mean IoU of the same image between settings - of different images in one model",
        IOU_MARGIN,  # less would be the stability of a map that says little about the image
    ),
    "E4": Question(
        "LFI-CAM's own map finds what its prediction rests on better than a random map.",
        "difference in insertion - deletion AUC, own map - random map",
        0.0,
    ),
    "E5": Question(
        "LFI-CAM's own map is as faithful to its model as Grad-CAM is.",
        "difference in insertion - deletion AUC, own map - Grad-CAM",
        -0.02,  # two hundredths of the probability: what is nearer than this is as good
    ),
    "E6": Question(
        "LFI-CAM's map depends on what the network has learned.",
        "1 - rank correlation with the map after all weights were drawn anew",
        0.5,  # a correlation above 0.5 would mean that the untrained network draws much the same map
    ),
    "E7": Question(
        "The importance that the FIN learns puts the map on the object better than a uniform one.",
        "difference in energy inside the true mask, learned - uniform",
        ENERGY_MARGIN,
    ),
    "E8": Question(
        "The classifier needs the importance that the FIN learns.",
        "difference in test accuracy, learned - uniform importance",
        0.01,  # one point
    ),
}


# What the verdicts on the supplement's claims rest on; for the questions they say it themselves.
QUANTITIES = {
    "C1": "smaller of the two gains in energy inside the true mask",
    "C2": "ABN's mean IoU between settings of similar accuracy",
    "C3": "LFI-CAM's mean IoU between settings of similar accuracy",
} | {name: question.quantity for name, question in QUESTIONS.items()}
STATEMENTS = CLAIMS | {name: question.claim for name, question in QUESTIONS.items()}


class Verdict(NamedTuple):
    """What became of a claim: "C1" to "C3" or "E1" to "E8", the outcome, and the numbers that decided.

    measured: the number that was judged, with its 95 % bootstrap interval; None where there was nothing to measure.
    """

    claim: str
    outcome: str
    reason: str
    measured: Interval | None = None

    def __str__(self) -> str:
        return f"{self.claim} {self.outcome}: {self.reason}"


def judge_c1(
    cam: Tensor | None, mean_with_fin: Tensor | None, mean_without_fin: Tensor | None, sources: Sequence[str] | None = None
) -> Verdict:
    """Energy inside the true mask (N,) of the same images: of the CAM, and of the mean feature maps with and without FIN.

    Supported if the CAM gains more than the margin over both, not supported if it does not gain over both. Without masks (None)
    there is nothing to measure. The interval is that of the smaller gain; sources: as for `bootstrap.interval`.
    """
    if cam is None or mean_with_fin is None or mean_without_fin is None:
        return Verdict("C1", "not measured", "the data set has no masks of its objects")
    gains = [known_interval(cam - other, sources) for other in (mean_without_fin, mean_with_fin)]
    least = min(gains, key=lambda gain: gain.mean)
    outcome = "inconclusive"
    if least.mean > ENERGY_MARGIN:
        outcome = "supported"
    elif least.mean <= 0:
        outcome = "not supported"
    reason = (
        f"energy inside the true mask: CAM {cam.nanmean():.3f}, mean feature map without FIN {mean_without_fin.nanmean():.3f}, "
        f"with FIN {mean_with_fin.nanmean():.3f}; gain {gains[0].mean:+.3f} and {gains[1].mean:+.3f}, "
        f"supported above {ENERGY_MARGIN:+.2f} in both"
    )
    return Verdict("C1", outcome, reason, least)


def similar(accuracy: Mapping[str, float]) -> list[str]:
    """The settings whose accuracy (share in [0, 1]) is at most ACCURACY_MARGIN below the best of the same method."""
    best = max(accuracy.values())
    return [setting for setting, value in accuracy.items() if value >= best - ACCURACY_MARGIN - 1e-9]


def judge_stability(claim: str, method: str, iou: Interval | None, settings: int, total: int) -> Verdict:
    """C2 (inconsistent) or C3 (stable) by the mean IoU over all pairs of settings with similar accuracy.

    C3 is supported above SAME_AREA + IOU_MARGIN and not supported below SAME_AREA - IOU_MARGIN; C2 the other way round.
    settings, total: how many settings have similar accuracy, of how many.
    """
    if iou is None or settings < MINIMUM_SETTINGS:
        reason = f"only {settings} of {total} {method} settings have similar accuracy, {MINIMUM_SETTINGS} are needed"
        return Verdict(claim, "inconclusive", reason, iou)
    stable, unstable = iou.mean > SAME_AREA + IOU_MARGIN, iou.mean < SAME_AREA - IOU_MARGIN
    supported, refuted = (stable, unstable) if claim == "C3" else (unstable, stable)
    outcome = "supported" if supported else "not supported" if refuted else "inconclusive"
    bound = f"above {SAME_AREA + IOU_MARGIN:.2f}" if claim == "C3" else f"below {SAME_AREA - IOU_MARGIN:.2f}"
    reason = f"{method} mean IoU {iou.mean:.2f} over {settings} of {total} settings of similar accuracy, supported {bound}"
    return Verdict(claim, outcome, reason, iou)


def judge(question: str, measured: Interval | None, why_not: str = "") -> Verdict:
    """E1 to E8 by the interval of what was measured: supported if all of it lies above the question's margin, not supported if
    none of it does, else inconclusive.

    measured: None if it cannot be measured on this data; why_not says why.
    """
    _, quantity, margin = QUESTIONS[question]
    if measured is None:
        return Verdict(question, "not measured", why_not)
    outcome = "supported" if measured.low > margin else "not supported" if measured.high <= margin else "inconclusive"
    mean, low, high = measured
    # three decimals: with two, what is rounded could seem to contradict the outcome
    reason = f"{quantity}: {mean:z.3f} [{low:z.3f}, {high:z.3f}], supported above {margin:+.2f}"
    return Verdict(question, outcome, reason, measured)
