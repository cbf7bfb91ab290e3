import pytest

from lficam.figures.claims import STATEMENTS
from lficam.figures.outcomes import OPEN, REFUTED, SENTENCES, SUPPORTED, outcomes
from lficam.figures.verdicts import Free, Verdict
from lficam.metrics.intervals import Interval

MEASURED = Interval(0.25, 0.125, 0.5, 5)
FREE = Free("untrained networks", Interval(0.5, 0.4, 0.6, 5), True, Interval(-0.25, -0.3, -0.2, 5))


def verdict(claim, outcome, free=None):
    return Verdict(claim, outcome, "", MEASURED, free)


def test_every_claim_has_words_for_every_outcome():
    assert set(SENTENCES) == set(STATEMENTS)
    assert all(list(words) == [SUPPORTED, REFUTED, OPEN] for words in SENTENCES.values())
    said = [sentence for words in SENTENCES.values() for sentence in words.values()]
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("claim", SENTENCES)
@pytest.mark.parametrize("outcome", [SUPPORTED, REFUTED, OPEN])
def test_a_sentence_says_what_came_out_and_on_what(claim, outcome):
    (sentence,) = outcomes([("digits", verdict(claim, outcome))])
    words = SENTENCES[claim][outcome]
    assert sentence == f"{words[0].upper()}{words[1:]} ({claim}; digits: 0.25 [0.12, 0.50])."


def test_what_differs_between_data_stands_in_sentences_of_its_own():
    first, second = outcomes([("digits", verdict("E11", REFUTED)), ("STL10", verdict("E11", SUPPORTED))])
    assert first.startswith("LFI-CAM classifies better")
    assert "STL10" in first
    assert "digits" not in first
    assert second.startswith("LFI-CAM classifies no better")
    assert "digits" in second


def test_what_comes_for_free_stands_in_the_same_sentence():
    reached, earned = (verdict("C3", SUPPORTED, FREE._replace(reached=reached)) for reached in (True, False))
    (sentence,) = outcomes([("digits", reached)])
    numbers = "(C3; digits: 0.25 [0.12, 0.50], untrained networks 0.50)"
    assert sentence.endswith(f", but that is not shown to exceed the same of untrained networks {numbers}.")
    (sentence,) = outcomes([("digits", reached), ("STL10", earned)])
    assert "not shown to exceed the same of untrained networks on a part of the data (" in sentence
    (sentence,) = outcomes([("digits", verdict("C3", REFUTED, FREE))])
    assert "not shown" not in sentence


def test_a_sentence_carries_what_its_interval_says_and_that_it_is_over_images_alone():
    by_mean = Verdict("C2", SUPPORTED, "", Interval(0.25, 0.125, 0.5), by_interval="inconclusive")
    (sentence,) = outcomes([("digits", by_mean)])
    assert sentence.endswith("(C2; digits: 0.25 [0.12, 0.50] over images alone, by its interval inconclusive).")


def test_what_was_not_measured_is_left_out():
    assert outcomes([("digits", Verdict("C1", "not measured", "no masks"))]) == []
