import json

import pytest
import torch

from lficam.figures.claims import CLAIMS, METRICS, QUESTIONS
from lficam.figures.verdicts import Free, Verdict, for_free, judge, judge_both, judge_c1, judge_stability, similar
from lficam.metrics.intervals import Interval


def around(mean):
    """An interval of that mean; C2 and C3 are judged by the mean alone."""
    return Interval(mean, mean - 0.3, mean + 0.3)


def energies(mean):
    """Four images whose mean energy is `mean`, exactly: the deviations cancel."""
    return torch.tensor([mean - 0.25, mean + 0.25, mean - 0.125, mean + 0.125], dtype=torch.float64)


def c1(cam, with_fin, without_fin):
    return judge_c1(energies(cam), energies(with_fin), energies(without_fin))


@pytest.mark.parametrize(
    ("cam", "with_fin", "without_fin", "outcome"),
    [
        (0.50, 0.40, 0.45, "supported"),
        (0.50, 0.4799, 0.4799, "supported"),
        (0.50, 0.49, 0.30, "inconclusive"),  # a gain within the margin over one of them
        (0.50, 0.30, 0.49, "inconclusive"),
        (0.50, 0.50, 0.30, "not supported"),  # no gain at all over one of them
        (0.50, 0.30, 0.50, "not supported"),
        (0.50, 0.60, 0.70, "not supported"),
        (0.50, 0.30, 0.70, "not supported"),
    ],
)
def test_c1_needs_a_gain_over_both(cam, with_fin, without_fin, outcome):
    verdict = c1(cam, with_fin, without_fin)
    assert (verdict.claim, verdict.outcome) == ("C1", outcome)


def test_c1_at_its_margin_is_not_yet_supported():
    margin = torch.tensor([0.02], dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    assert judge_c1(margin, zero, zero).outcome == "inconclusive"
    assert judge_c1(margin + 1e-9, zero, zero).outcome == "supported"
    assert judge_c1(zero + 1e-9, zero, zero).outcome == "inconclusive"
    assert judge_c1(zero, zero, zero).outcome == "not supported"


def test_c1_flips_with_the_sign_of_the_gain():
    assert c1(0.6, 0.4, 0.4).outcome == "supported"
    assert c1(0.4, 0.6, 0.6).outcome == "not supported"


def test_c1_says_the_numbers_that_decided():
    reason = c1(0.625, 0.5, 0.375).reason
    assert "CAM 0.625" in reason
    assert "without FIN 0.375" in reason
    assert "with FIN 0.500" in reason
    assert "+0.250 and +0.125" in reason


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_c1_without_masks_is_not_measured(missing):
    given = [energies(0.5)] * 3
    given[missing] = None
    verdict = judge_c1(*given)
    assert verdict.outcome == "not measured"
    assert "mask" in verdict.reason


@pytest.mark.parametrize(
    ("mean_iou", "stable", "inconsistent"),
    [
        (1.00, "supported", "not supported"),
        (0.56, "supported", "not supported"),
        (0.5500001, "supported", "not supported"),
        (0.55, "inconclusive", "inconclusive"),
        (0.50, "inconclusive", "inconclusive"),
        (0.45, "inconclusive", "inconclusive"),
        (0.4499999, "not supported", "supported"),
        (0.44, "not supported", "supported"),
        (0.00, "not supported", "supported"),
    ],
)
def test_c2_and_c3_are_judged_by_the_mean_iou_in_opposite_directions(mean_iou, stable, inconsistent):
    c3 = judge_stability("C3", "LFI-CAM", around(mean_iou), settings=5, total=5)
    c2 = judge_stability("C2", "ABN", around(mean_iou), settings=5, total=5)
    assert (c3.claim, c3.outcome) == ("C3", stable)
    assert (c2.claim, c2.outcome) == ("C2", inconsistent)


@pytest.mark.parametrize("claim", ["C2", "C3"])
@pytest.mark.parametrize(("settings", "decides"), [(0, False), (1, False), (2, False), (3, True), (5, True)])
def test_fewer_than_three_settings_decide_nothing(claim, settings, decides):
    for mean_iou in (0.9, 0.1):
        verdict = judge_stability(claim, "ABN", around(mean_iou), settings, total=5)
        assert (verdict.outcome != "inconclusive") is decides
        assert f"{settings} of 5" in verdict.reason


def test_without_a_mean_nothing_is_decided():
    assert judge_stability("C3", "LFI-CAM", None, settings=5, total=5).outcome == "inconclusive"


def test_a_verdict_reads_as_one_line():
    verdict = judge_stability("C3", "LFI-CAM", around(0.686), settings=4, total=5)
    reason = "LFI-CAM mean IoU 0.69 over 4 of 5 settings of similar accuracy, supported above 0.55"
    assert str(verdict) == f"C3 supported (by its interval inconclusive): {reason}"
    assert str(Verdict("C1", "not measured", "why")) == "C1 not measured: why"


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ({"a": 0.94, "b": 0.91, "c": 0.9099, "d": 0.65}, ["a", "b"]),  # three points below are still similar
        ({"a": 0.65, "b": 0.94}, ["b"]),
        ({"a": 0.5, "b": 0.5, "c": 0.5}, ["a", "b", "c"]),
        ({"a": 0.97, "b": 1.0, "c": 0.969}, ["a", "b"]),
        ({"a": 0.1}, ["a"]),
    ],
)
def test_similar_is_within_three_points_of_the_best(accuracy, expected):
    assert similar(accuracy) == expected


def test_there_are_three_claims():
    assert list(CLAIMS) == ["C1", "C2", "C3"]


def test_c1_is_measured_by_its_smaller_gain():
    cam, without = torch.tensor([0.5, 0.75]), torch.tensor([0.25, 0.25])
    verdict = judge_c1(cam, mean_with_fin=torch.tensor([0.25, 0.5]), mean_without_fin=without)
    assert verdict.measured == Interval(0.25, 0.25, 0.25)  # the same gain for both images
    assert judge_c1(cam, None, without).measured is None


def test_stability_keeps_the_interval_it_judged():
    assert judge_stability("C3", "LFI-CAM", around(0.6), settings=5, total=5).measured == around(0.6)


@pytest.mark.parametrize(
    ("claim", "low", "high", "by_interval"),
    [
        ("C3", 0.56, 0.9, "supported"),
        ("C3", 0.55, 0.9, "inconclusive"),
        ("C3", 0.3, 0.55, "not supported"),
        ("C2", 0.1, 0.44, "supported"),
        ("C2", 0.1, 0.45, "inconclusive"),
        ("C2", 0.45, 0.9, "not supported"),
    ],
)
def test_beside_a_mean_stands_what_its_interval_says(claim, low, high, by_interval):
    verdict = judge_stability(claim, "ABN", Interval((low + high) / 2, low, high, 5), settings=5, total=5)
    assert verdict.by_interval == by_interval
    assert (f"by its interval {by_interval}" in verdict.words) is (verdict.outcome != by_interval)


def test_c1_by_its_interval_and_beside_what_anyone_can_draw():
    # Gains of the CAM over both means .5 and .25 an image; the blob has .75 and .75, more than the CAM on the second image.
    cam, other = torch.tensor([1.0, 0.5]), torch.tensor([0.5, 0.25])
    verdict = judge_c1(cam, other, other, known={"a uniform map": other, "a centred blob": torch.tensor([0.75, 0.75])})
    assert verdict.measured.mean == pytest.approx(0.375)
    assert verdict.by_interval == "inconclusive"  # two images
    assert (verdict.free.what, verdict.free.reached) == ("a centred blob", True)
    assert verdict.free.measured.mean == pytest.approx(0.375)
    assert verdict.free.excess.mean == pytest.approx(0)
    assert "not shown to exceed a centred blob" in verdict.words


def test_c1_of_several_models_is_over_models_too():
    cam = torch.tensor([[0.6, 0.6], [0.5, 0.5], [0.4, 0.4]])
    verdict = judge_c1(cam, cam - 0.25, torch.zeros(3, 2))
    assert verdict.measured.models == 3
    assert verdict.measured[:3] == pytest.approx((0.25, 0.25, 0.25))


def test_a_verdict_is_made_again_from_its_record():
    free = for_free("untrained networks", Interval(0.2, 0.1, 0.3, 5), Interval(0.05, -0.01, 0.11, 5))
    another = Free("LFI-CAM", Interval(0.2, 0.1, 0.3, 5), True)
    for verdict in (
        judge("E1", Interval(0.25, 0.2, 0.3, 5), free=free),
        judge_stability("C2", "ABN", around(0.3), 5, 5, another),
        judge("E7", None, "no masks"),
    ):
        assert Verdict.from_record(json.loads(json.dumps(verdict.record()))) == verdict
    old = {"claim": "E4", "outcome": "inconclusive", "reason": "as before intervals"}
    assert Verdict.from_record(old) == Verdict(**old)


FREE = for_free("untrained networks", Interval(0.2, 0.1, 0.3), Interval(0.05, -0.01, 0.11))


def test_free_is_reached_unless_all_of_the_excess_is_above_0():
    assert FREE.reached
    assert not for_free("", Interval(0.2, 0.1, 0.3), Interval(0.05, 0.001, 0.11)).reached
    assert for_free("", Interval(0.2, 0.1, 0.3), Interval(0.05, 0.0, 0.11)).reached


def test_a_supported_verdict_says_what_it_is_not_shown_to_exceed_and_no_other():
    assert judge("E1", Interval(0.25, 0.2, 0.3), free=FREE).words == "supported, but not shown to exceed untrained networks"
    assert judge("E1", Interval(0.25, 0.2, 0.3), free=FREE._replace(reached=False)).words == "supported"
    assert judge("E1", Interval(0.0, -0.2, 0.3), free=FREE).words == "inconclusive"
    verdict = judge_stability("C2", "ABN", around(0.3), 5, 5, Free("LFI-CAM", around(0.4), True))
    assert verdict.words == "supported, but true of LFI-CAM as well (by its interval inconclusive)"
    reason = judge("E1", Interval(0.25, 0.2, 0.3), free=FREE).reason
    assert reason.endswith("above +0.00 (untrained networks: 0.200 [0.100, 0.300]; more than that by 0.050 [-0.010, 0.110])")


@pytest.mark.parametrize(
    ("iou", "top", "outcome", "decides"),
    [
        ((0.1, 0.3), (0.1, 0.2), "supported", "iou"),
        ((0.1, 0.3), (-0.1, 0.2), "inconclusive", "top_overlap"),
        ((-0.1, 0.3), (-0.1, 0.2), "inconclusive", "iou"),
        ((0.1, 0.3), (-0.2, -0.1), "not supported", "top_overlap"),
        ((-0.1, 0.3), (-0.2, -0.1), "not supported", "top_overlap"),
        ((-0.3, -0.1), (0.1, 0.2), "not supported", "iou"),
    ],
)
def test_of_two_metrics_the_worse_decides(iou, top, outcome, decides):
    measured = {name: Interval(sum(ends) / 2, *ends) for name, ends in (("iou", iou), ("top_overlap", top))}
    verdict = judge_both("E9", measured)
    assert verdict.outcome == outcome
    assert verdict.measured == measured[decides]
    assert all(f"{METRICS[name]} {value.mean:.3f}" in verdict.reason for name, value in measured.items())
    (other,) = set(measured) - {decides}
    assert verdict.decides.startswith(f"here {METRICS[decides]}; {METRICS[other]} {measured[other].mean:.3f}")
    free = {"iou": FREE._replace(reached=False), "top_overlap": FREE}
    assert judge_both("E10", measured, free).free.reached  # by one of them
    assert not judge_both("E10", measured, dict.fromkeys(free, free["iou"])).free.reached


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.001, 0.1, "supported"),
        (0.0, 0.1, "inconclusive"),
        (-0.1, 0.1, "inconclusive"),
        (-0.1, 0.001, "inconclusive"),
        (-0.1, 0.0, "not supported"),
        (-0.1, -0.001, "not supported"),
        (0.0, 0.0, "not supported"),  # not larger at all
    ],
)
def test_a_question_is_judged_by_where_the_interval_lies_to_its_margin(question, low, high, outcome):
    margin = QUESTIONS[question].margin
    verdict = judge(question, Interval(margin + (low + high) / 2, margin + low, margin + high))
    assert (verdict.claim, verdict.outcome) == (question, outcome)


@pytest.mark.parametrize("question", ["E1", "E2", "E4"])
def test_a_comparison_flips_with_the_sign(question):
    assert judge(question, Interval(0.1, 0.05, 0.15)).outcome == "supported"
    assert judge(question, Interval(-0.1, -0.15, -0.05)).outcome == "not supported"


def test_a_question_says_what_was_measured_and_what_it_needed():
    verdict = judge("E5", Interval(0.125, 0.0625, 0.25))
    assert verdict.reason.startswith(QUESTIONS["E5"].quantity)
    assert "0.125 [0.062, 0.250]" in verdict.reason
    assert verdict.reason.endswith("supported above -0.02")


def test_what_cannot_be_measured_says_why():
    verdict = judge("E7", None, "the data set has no masks of its objects")
    assert str(verdict) == "E7 not measured: the data set has no masks of its objects"
