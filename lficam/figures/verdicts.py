"""What becomes of a claim: "supported", "not supported", "inconclusive" or "not measured", beside what comes for free.

C1 to C3 are judged by means, as their rules were first written; beside that stands what the rule of the questions, by intervals,
would say. E1 to E11 are judged by intervals. What comes for free never changes an outcome: it says what the outcome is worth.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from lficam.figures.claims import (
    ACCURACY_MARGIN,
    ENERGY_MARGIN,
    METRICS,
    MINIMUM_SETTINGS,
    QUESTIONS,
    STABLE_ABOVE,
    UNSTABLE_BELOW,
)
from lficam.metrics.intervals import Interval, known_interval


class Free(NamedTuple):
    """What comes for free: the quantity that was judged, where nothing of what is claimed is at work.

    what: in words, such as "untrained networks". measured: the quantity there. reached: whether what was judged is no more than
    that.
    excess: by how much it is more, on the same images and models; None where it is another method that passes the same bound.
    """

    what: str
    measured: Interval
    reached: bool
    excess: Interval | None = None


def for_free(what: str, measured: Interval, excess: Interval) -> Free:
    """Reached unless the whole interval of the excess lies above 0."""
    return Free(what, measured, excess.low <= 0, excess)


class Verdict(NamedTuple):
    """What became of a claim: "C1" to "C3" or "E1" to "E11", the outcome, and the numbers that decided.

    measured: the number that was judged, with its 95 % interval; None where there was nothing to measure.
    free: beside it what comes for free, if that is known. by_interval: of C1 to C3, what the rule of the questions would say.
    decides: of E9 and E10, by which of the metrics that is, and what the other one says.
    """

    claim: str
    outcome: str
    reason: str
    measured: Interval | None = None
    free: Free | None = None
    by_interval: str = ""
    decides: str = ""

    @property
    def words(self) -> str:
        """The outcome; what it is not shown to exceed; and what its interval says, if that is something else."""
        words = self.outcome
        if self.outcome == "supported" and self.free and self.free.reached:
            free = self.free.what
            words += f", but true of {free} as well" if self.free.excess is None else f", but not shown to exceed {free}"
        return words + (f" (by its interval {self.by_interval})" if self.by_interval not in ("", self.outcome) else "")

    def record(self) -> dict[str, Any]:
        """Plain values, from which `from_record` makes it again; intervals as lists."""
        return self._asdict() | {"free": self.free and self.free._asdict()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Verdict":
        """The verdict in a figure's JSON, which an older version may have written."""
        found = dict(record)
        if found.get("measured"):
            found["measured"] = Interval(*found["measured"])
        if free := found.get("free"):
            intervals = {name: free[name] and Interval(*free[name]) for name in ("measured", "excess")}
            found["free"] = Free(**(free | intervals))
        return cls(**found)

    def __str__(self) -> str:
        return f"{self.claim} {self.words}: {self.reason}"


def by_interval(measured: Interval, bound: float, below: bool = False) -> str:
    """Supported if all of the interval lies above the bound (or below it), not supported if none of it does, else inconclusive."""
    low, high = (-measured.high, -measured.low) if below else (measured.low, measured.high)
    bound = -bound if below else bound
    return "supported" if low > bound else "not supported" if high <= bound else "inconclusive"


def judge(question: str, measured: Interval | None, why_not: str = "", free: Free | None = None) -> Verdict:
    """E1 to E11 by the interval of what was measured (`by_interval`).

    measured: None if it cannot be measured on this data; why_not says why.
    """
    _, quantity, margin, _ = QUESTIONS[question]
    if measured is None:
        return Verdict(question, "not measured", why_not)
    reason = f"{quantity}: {_three(measured)}, supported above {margin:+.2f}"
    return Verdict(question, by_interval(measured, margin), reason + _beside(free), measured, free)


def judge_both(question: str, measured: Mapping[str, Interval], free: Mapping[str, Free] | None = None) -> Verdict:
    """E9, E10: a question of two metrics, supported only if it is by both; the verdict keeps the number that decided.

    measured: metric -> interval, the first decides where both say the same. free: metric -> what comes for free; reached if it is
    by either.
    """
    verdicts = {metric: judge(question, value, free=free and free[metric]) for metric, value in measured.items()}
    order = ["not supported", "inconclusive", "supported"]
    decides = min(verdicts, key=lambda metric: order.index(verdicts[metric].outcome))
    beside = free and free[decides]._replace(reached=any(one.reached for one in free.values()))
    said = {metric: f"{METRICS[metric]} {_three(value)}{_beside(free and free[metric])}" for metric, value in measured.items()}
    reason = (
        f"{QUESTIONS[question].quantity}: {'; '.join(said.values())}; supported above {QUESTIONS[question].margin:+.2f} in both"
    )
    others = ", ".join(words for metric, words in said.items() if metric != decides)
    return verdicts[decides]._replace(reason=reason, free=beside, decides=f"here {METRICS[decides]}; {others}")


def judge_c1(
    cam: Tensor | None,
    mean_with_fin: Tensor | None,
    mean_without_fin: Tensor | None,
    sources: Sequence[str] | None = None,
    known: Mapping[str, Tensor] | None = None,
) -> Verdict:
    """C1 by the energy inside the true mask, (N,) of one model or (S, N): of the CAM, and of the mean feature maps.

    Supported if the CAM gains more than the margin over both, not supported if it does not gain over both. Without masks (None)
    there is nothing to measure. The interval is that of the smaller gain; sources: as for `intervals.interval`.
    known: maps that anyone can draw -> their energy (N,); what comes for free is the gain of the best of them.
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
    free = None
    if known:
        best = max(known, key=lambda name: known[name].nanmean().item())
        over = (mean_without_fin, mean_with_fin)[gains.index(least)]
        free = for_free(best, known_interval(known[best] - over, sources), known_interval(cam - known[best], sources))
    return Verdict("C1", outcome, reason + _beside(free), least, free, by_interval(least, ENERGY_MARGIN))


def similar(accuracy: Mapping[str, float]) -> list[str]:
    """The settings whose accuracy (share in [0, 1]) is at most ACCURACY_MARGIN below the best of the same method."""
    best = max(accuracy.values())
    return [setting for setting, value in accuracy.items() if value >= best - ACCURACY_MARGIN - 1e-9]


def judge_stability(claim: str, method: str, iou: Interval | None, settings: int, total: int, free: Free | None = None) -> Verdict:
    """C2 (inconsistent) or C3 (stable) by the mean IoU over all pairs of settings with similar accuracy.

    C3 is supported above STABLE_ABOVE and not supported below UNSTABLE_BELOW; C2 the other way round.
    settings, total: how many settings have similar accuracy, of how many.
    """
    if iou is None or settings < MINIMUM_SETTINGS:
        reason = f"only {settings} of {total} {method} settings have similar accuracy, {MINIMUM_SETTINGS} are needed"
        return Verdict(claim, "inconclusive", reason, iou)
    stable, unstable = iou.mean > STABLE_ABOVE, iou.mean < UNSTABLE_BELOW
    supported, refuted = (stable, unstable) if claim == "C3" else (unstable, stable)
    outcome = "supported" if supported else "not supported" if refuted else "inconclusive"
    below = claim == "C2"
    bound = UNSTABLE_BELOW if below else STABLE_ABOVE
    reason = f"{method} mean IoU {iou.mean:.2f} over {settings} of {total} settings of similar accuracy, "
    reason += f"supported {'below' if below else 'above'} {bound:.2f}"
    return Verdict(claim, outcome, reason + _beside(free), iou, free, by_interval(iou, bound, below))


def _three(measured: Interval) -> str:
    """Three decimals: with two, what is rounded could seem to contradict the outcome."""
    mean, low, high = measured[:3]
    return f"{mean:z.3f} [{low:z.3f}, {high:z.3f}]"


def _beside(free: Free | None) -> str:
    if free is None:
        return ""
    more = f"; more than that by {_three(free.excess)}" if free.excess else ""
    return f" ({free.what}: {_three(free.measured)}{more})"
