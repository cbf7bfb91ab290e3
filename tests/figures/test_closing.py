"""The last words of a notebook, on verdicts made by hand."""

import pandas as pd
from helpers import untrained_run

from lficam.figures.charts import Bars
from lficam.figures.closing import closing
from lficam.figures.experiments import experiment
from lficam.figures.result import Result
from lficam.figures.verdicts import Free, Verdict
from lficam.metrics.intervals import Interval

REACHED = Free("untrained networks", Interval(0.5, 0.4, 0.6, 5), True)
BEYOND = Free("a uniform map", Interval(0.1, 0.1, 0.1, 0), False)


def result(*verdicts, runs=(), remarks=()):
    drawing = Bars("A title", "a source", ["a"], {"length": [1.0]})
    return Result(experiment("fig1"), drawing, pd.DataFrame({"a": [1.0]}), verdicts, runs, remarks=remarks)


def test_it_says_what_came_out_how_sure_and_what_comes_for_free():
    supported = Verdict("C3", "supported", "", Interval(0.6, 0.56, 0.7, 5), REACHED)
    one = result(supported, Verdict("E1", "inconclusive", "", Interval(0.0, -0.1, 0.1, 5)), runs=(untrained_run("abn"),))
    other = result(Verdict("E8", "supported", "", Interval(0.2, 0.1, 0.3, 5), BEYOND), runs=(untrained_run("abn", 1),))
    text = closing(one, other, see="Somewhere else.").data
    on = "On cluttered digits (stand-in for ImageNet): "
    assert text.startswith(f"**What came out.** {on}LFI-CAM's maps of an image overlap by more than half between settings, but ")
    assert "costs accuracy (E8; 0.20 [0.10, 0.30], a uniform map 0.10)." in text
    assert "**How sure.** By their rule 2 of 3 questions are decided, E1 stays open." in text
    assert "as many other trainings as these 2 may give" in text
    assert (
        "**What comes for free.** Not shown to be more than that: C3, untrained networks (0.50). More than that: E8, a uniform map."
        in text
    )
    assert text.endswith("**Next.** Somewhere else.")


def test_without_verdicts_it_says_what_else_came_out():
    text = closing(result(runs=(untrained_run("abn"),), remarks=("A number is 0.5",)), see="There.").data
    assert "A number is 0.5. **How sure.** The numbers are of one training:" in text
    assert "for free" not in text


def test_where_nothing_is_trained_nothing_is_unsure():
    assert "**How sure.** Nothing is trained here: what is counted is exact." in closing(result(), see="There.").data


def test_an_interval_over_images_alone_says_nothing_of_other_trainings():
    judged = Verdict("C1", "supported", "", Interval(0.2, 0.1, 0.3))
    text = closing(result(judged, runs=(untrained_run("abn"),)), see="There.").data
    assert "An interval says what other images of this data may give, not what other trainings or other data would." in text
