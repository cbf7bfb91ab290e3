import itertools
import math

import pytest
import torch
from helpers import random_maps

from lficam.errors import InputError
from lficam.metrics.mege_reco import FEWEST_DIFFERENT, PERMUTATIONS, distances, mege_reco
from lficam.metrics.similarity import spearman

MODELS, IMAGES = 4, 120
HELD_OUT = torch.arange(IMAGES) % MODELS
ITSELF = torch.arange(MODELS)[:, None] == HELD_OUT


def random(*size, seed):
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed))


def naive(distance, right, held_out):
    """MeGe, ReCo and both counts, pair by pair of models, image by image, threshold by threshold."""
    same, different = [], []
    for a, b in itertools.combinations(range(len(right)), 2):
        for n, part in enumerate(held_out.tolist()):
            if part not in (a, b):  # exactly one of the two held it out
                continue
            other = b if part == a else a
            if right[a, n] and right[b, n]:
                same.append(distance[other, n].item())
            elif right[a, n] or right[b, n]:
                different.append(distance[other, n].item())
    scores = [0.0]
    for threshold in same + different:
        true_positives = sum(value <= threshold for value in same) / len(same)
        true_negatives = sum(value > threshold for value in different) / len(different)
        scores.append(true_positives + true_negatives - 1)
    return 1 / (1 + sum(same) / len(same)), max(scores), len(same), len(different)


@pytest.mark.parametrize("levels", [3, 1000])
def test_it_equals_the_loops(levels):
    distance = ((random(MODELS, IMAGES, seed=0) * levels).floor() / levels).masked_fill(ITSELF, torch.nan)  # with ties
    right = random(MODELS, IMAGES, seed=1) < 0.6
    found = mege_reco(distance, right, HELD_OUT)
    mege, reco, same, different = naive(distance, right, HELD_OUT)
    assert (found.same, found.different) == (same, different)
    assert found.mege == pytest.approx(mege)
    assert found.reco == pytest.approx(reco)
    assert found.null.shape == (PERMUTATIONS,)


def test_two_models_worked_by_hand():
    # Model 0 held out images 0 and 1, model 1 the others. Both are right about 0 and 2, one about 1, none about 3.
    held_out, right = torch.tensor([0, 0, 1, 1]), torch.tensor([[True, True, True, False], [True, False, True, False]])
    distance = torch.tensor([[math.nan, math.nan, 0.5, 0.9], [0.25, 0.75, math.nan, math.nan]])
    found = mege_reco(distance, right, held_out)
    assert found.mege == pytest.approx(1 / (1 + 0.375))
    assert (found.reco, found.null, found.same, found.different) == (None, None, 2, 1)


def kinds(right):
    own = right[HELD_OUT, torch.arange(IMAGES)]
    return right & own, right != own


def test_a_distance_that_is_decided_by_who_is_right_is_told_and_above_its_null():
    right = random(MODELS, IMAGES, seed=2) < 0.6
    _, different = kinds(right)
    distance = (0.2 * random(MODELS, IMAGES, seed=3) + 0.7 * different).masked_fill(ITSELF, torch.nan)
    found = mege_reco(distance, right, HELD_OUT)
    assert found.different > FEWEST_DIFFERENT
    assert found.reco == pytest.approx(1)
    assert found.reco > found.null.quantile(0.999)


def test_a_distance_that_has_nothing_to_do_with_it_lies_inside_its_null():
    inside = 0
    for seed in range(20):
        right = random(MODELS, IMAGES, seed=100 + seed) < 0.6
        found = mege_reco(random(MODELS, IMAGES, seed=200 + seed).masked_fill(ITSELF, torch.nan), right, HELD_OUT)
        inside += found.reco <= found.null.quantile(0.95)
        assert found.null.mean() > 0  # a maximum
    assert inside >= 16  # 19 of 20 expected


def test_images_that_are_hard_for_all_do_not_make_it_look_consistent():
    # Difficulty decides the distance and how many models are right, but not which: within a part the null keeps both together.
    hard = random(IMAGES, seed=4) < 0.5
    distance = (0.3 * random(MODELS, IMAGES, seed=5) + 0.5 * hard).masked_fill(ITSELF, torch.nan)
    right = random(MODELS, IMAGES, seed=6) < torch.where(hard, 0.5, 0.5)
    found = mege_reco(distance, right, HELD_OUT)
    assert found.reco <= found.null.quantile(0.99)


def test_equal_maps_have_no_distance_and_unrelated_ones_almost_the_largest():
    one = random_maps(IMAGES, 6, 6, 0)
    assert distances(one.expand(MODELS, -1, -1, -1, -1), HELD_OUT)[~ITSELF].max() < 1e-3
    apart = torch.stack([random_maps(IMAGES, 6, 6, seed) for seed in range(MODELS)])
    found = distances(apart, HELD_OUT)
    assert found[ITSELF].isnan().all()
    assert found[~ITSELF].mean() > 0.9
    n, other = 7, 0
    expected = math.sqrt(1 - abs(spearman(apart[HELD_OUT[n], n : n + 1], apart[other, n : n + 1]).item()))
    assert found[other, n].item() == pytest.approx(expected, abs=1e-6)


def test_opposite_maps_are_as_near_as_equal_ones():  # as the source has it: an absolute correlation
    one = random_maps(IMAGES, 6, 6, 0)
    assert distances(torch.stack([one, 1 - one, one, 1 - one]), HELD_OUT)[~ITSELF].max() < 1e-3


def test_models_that_are_never_right_are_refused():
    nothing = torch.zeros(MODELS, IMAGES, dtype=torch.bool)
    with pytest.raises(InputError, match="no two models are right"):
        mege_reco(random(MODELS, IMAGES, seed=0), nothing, HELD_OUT)
