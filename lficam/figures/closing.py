"""The last words of a notebook, computed: what came out, how sure that is, what comes for free."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lficam.figures.outcomes import OPEN, outcomes
from lficam.figures.result import Result
from lficam.figures.verdicts import Verdict

if TYPE_CHECKING:
    from IPython.display import Markdown


def closing(*results: Result, see: str) -> "Markdown":
    """A paragraph on the figures of a notebook. see: where to look next, a sentence."""
    from IPython.display import Markdown  # late: only a notebook shows it

    return Markdown(" ".join(_sentences(results, see)))


def _sentences(results: Sequence[Result], see: str) -> Iterator[str]:
    verdicts = [verdict for result in results for verdict in result.verdicts]
    judged = outcomes([("", verdict) for verdict in verdicts])
    others = [sentence for result in results if not result.verdicts for sentence in result.says]
    on = f"On {results[0].experiment.source.split(', ')[0]}: " if results[0].runs else ""
    yield f"**What came out.** {on}{' '.join([*judged, *others])}"
    yield f"**How sure.** {_how_sure(results, verdicts)}"
    if free := _for_free(verdicts):
        yield f"**What comes for free.** {free}"
    yield f"**Next.** {see}"


def _how_sure(results: Sequence[Result], verdicts: Sequence[Verdict]) -> str:
    runs = len({run.id for result in results for run in result.runs})
    if not runs:
        return "Nothing is trained here: what is counted is exact."
    if not verdicts:
        one = "one training" if runs == 1 else f"{runs} trainings, of each kind one"
        return f"The numbers are of {one}: what another one would give is not known from here."
    undecided = [verdict.claim for verdict in verdicts if verdict.outcome == OPEN]
    decided = f"By their rule {len(verdicts) - len(undecided)} of {len(verdicts)} questions are decided"
    left = f", {', '.join(undecided)} stay{'s' if len(undecided) == 1 else ''} open" if undecided else ""
    if any(result.experiment.settings > 1 for result in results):
        chosen = f"The settings of these {runs} trainings were chosen, not drawn by chance"
        return f"{decided}{left}. {chosen}: intervals are wider than these settings need, and say nothing of others."
    over = f"and as many other trainings as these {runs} " if any(v.measured and v.measured.models for v in verdicts) else ""
    not_over = "other data" if over else "other trainings or other data"
    return f"{decided}{left}. An interval says what other images of this data {over}may give, not what {not_over} would."


def _for_free(verdicts: Sequence[Verdict]) -> str:
    """Which of what was supported is not shown to exceed what comes where nothing of what is claimed is at work."""
    supported = [verdict for verdict in verdicts if verdict.outcome == "supported" and verdict.free]
    reached = [
        f"{verdict.claim}, {verdict.free.what} ({verdict.free.measured.mean:.2f})" for verdict in supported if verdict.free.reached
    ]
    beyond = [f"{verdict.claim}, {verdict.free.what}" for verdict in supported if not verdict.free.reached]
    parts = [f"Not shown to be more than that: {'; '.join(reached)}."] if reached else []
    return " ".join(parts + ([f"More than that: {'; '.join(beyond)}."] if beyond else []))
