import csv
import math
import re
from itertools import combinations

import pytest
import torch

from lficam.errors import InputError
from lficam.metrics import intervals
from lficam.metrics.intervals import Interval, interval, known_interval, pair_interval
from lficam.paths import repository

# Student's t, 97.5 %, from a printed table.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262}


def random(*size, seed=0):
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_pairs(models, images, seed=0):
    """(S, S, N), symmetric; every model, pair and image has a level of its own."""
    values = random(models, models, images, seed=seed) + random(images, seed=seed + 1) + random(models, 1, 1, seed=seed + 2)
    return values + values.transpose(0, 1)


def half(found):
    assert found.high - found.mean == pytest.approx(found.mean - found.low)
    return found.high - found.mean


def of_images(means, sources):
    """The variance of the mean of numbers of N images, in loops over their sources."""
    mean = sum(means) / len(means)
    groups = [sum(value - mean for value, source in zip(means, sources, strict=True) if source == name) for name in set(sources)]
    return sum(group**2 for group in groups) / len(means) ** 2 * len(groups) / (len(groups) - 1)


def naive_pairs(values, sources):
    """Mean, half width and degrees of freedom over images and models, in loops over the pairs."""
    models, images = len(values), values.shape[2]

    def mean(of):
        found = [values[s, t, i].item() for s, t in combinations(of, 2) for i in range(images)]
        return sum(found) / len(found)

    left = [mean([t for t in range(models) if t != s]) for s in range(models)]
    jackknife = (models - 1) / models * sum((value - sum(left) / models) ** 2 for value in left)
    pairs = list(combinations(range(models), 2))
    means = [sum(values[s, t, i].item() for s, t in pairs) / len(pairs) for i in range(images)]
    return mean(range(models)), T[models - 1] * math.sqrt(jackknife + of_images(means, sources))


def test_images_worked_by_hand():
    # Mean 2, standard deviation 1 (squares 2 over 2), its mean's error 1 / sqrt(3).
    found = interval(torch.tensor([1.0, 2.0, 3.0]))
    assert (found.mean, found.models) == (2, 0)
    assert half(found) == pytest.approx(T[2] / math.sqrt(3), rel=1e-3)


def test_models_worked_by_hand():
    # Alike on both images: nothing but the models' means 1, 2, 3 counts, as three numbers of their own.
    found = interval(torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    assert (found.mean, found.models) == (2, 3)
    assert half(found) == pytest.approx(T[2] / math.sqrt(3), rel=1e-3)


def test_pairs_worked_by_hand():
    # One image, so nothing of images. Without model 0, 1, 2 the mean is that of one pair: 0, 0, 1. (2 / 3) (2/9 + 4/9) = 4/9.
    values = torch.zeros(3, 3, 1)
    values[0, 1] = values[1, 0] = 1
    found = pair_interval(values)
    assert found.mean == pytest.approx(1 / 3)
    assert half(found) == pytest.approx(T[2] * 2 / 3, rel=1e-3)
    assert pair_interval(values, over="images")[:3] == pytest.approx((1 / 3,) * 3)


@pytest.mark.parametrize("models", [3, 4, 5, 10])
def test_pairs_equal_the_loops(models):
    values = random_pairs(models, 7)
    for sources in (["a", "b", "a", "c", "d", "b", "a"], list("1234567")):
        found = pair_interval(values, sources)
        mean, expected = naive_pairs(values, sources)
        assert found.mean == pytest.approx(mean, abs=1e-12)
        assert half(found) == pytest.approx(expected, rel=1e-3)
        assert found.models == models


def test_the_variances_of_models_and_images_add():
    # values = a model's number + an image's: the models' error 1 / sqrt(3), the images' 10 / sqrt(3).
    values = torch.tensor([1.0, 2.0, 3.0])[:, None] + torch.tensor([10.0, 20.0, 30.0])
    assert half(interval(values)) == pytest.approx(T[2] * math.sqrt(1 / 3 + 100 / 3), rel=1e-3)


def test_two_models_have_one_pair_which_says_nothing_of_others():
    values = random_pairs(2, 30)
    assert pair_interval(values) == pair_interval(values, over="images")
    assert pair_interval(values).models == 0


def test_sources_default_to_one_an_image():
    values = random(3, 9)
    assert interval(values) == interval(values, list("abcdefghi"))
    assert interval(values) != interval(values, list("aabbccddd"))


def test_over_images_pairs_count_as_their_mean():
    values = random_pairs(4, 50)
    a, b = torch.triu_indices(4, 4, 1)
    assert pair_interval(values, over="images") == pytest.approx(interval(values[a, b].mean(0)))


def test_pairs_of_a_model_with_itself_never_count():
    values = random_pairs(4, 20)
    for diagonal in (1e9, math.nan):
        planted = values.clone()
        planted[range(4), range(4)] = diagonal
        for over in ("images", "images and models"):
            assert pair_interval(planted, over=over) == pair_interval(values, over=over)


def test_values_that_are_all_the_same_have_no_width():
    for value in (0.0, 0.7):
        for found in (
            interval(torch.full((12,), value)),
            interval(torch.full((3, 12), value)),
            pair_interval(torch.full((3, 3, 12), value)),
            pair_interval(torch.full((3, 3, 12), value), over="images"),
        ):
            assert tuple(found[:3]) == pytest.approx((value,) * 3, abs=1e-6)  # 0.7 in float32
            assert found.high - found.low < 1e-12


def test_one_source_has_no_width_over_images():
    values = random_pairs(3, 8)
    one = ["digit"] * 8
    for found in (pair_interval(values, one, over="images"), interval(values[0, 1], one)):
        assert found.high == found.low
    assert half(pair_interval(values, one)) > 0.1


def test_the_difference_of_two_that_move_together_has_no_width():
    a = random_pairs(5, 40)
    for over in ("images", "images and models"):
        assert half(pair_interval(a, over=over)) > 0.05
        assert pair_interval(a - (a + 0.25), over=over)[:3] == pytest.approx((-0.25,) * 3, abs=1e-12)


def test_images_made_of_the_same_source_add_nothing():
    values = random_pairs(4, 100)
    names = [f"digit {i}" for i in range(100)]
    doubled = torch.cat([values, values], 2)
    for over in ("images", "images and models"):
        assert pair_interval(doubled, names * 2, over=over) == pytest.approx(pair_interval(values, names, over=over))
    times = math.sqrt(199 / 99) * 1.9842 / 1.9720  # Student's t of 99 and 199 degrees of freedom
    assert half(interval(values[0, 1])) / half(interval(doubled[0, 1])) == pytest.approx(times, rel=1e-4)


def test_the_order_of_images_and_models_does_not_matter():
    values = random_pairs(5, 300)
    names = [f"digit {i // 2}" for i in range(300)]
    images, models = torch.randperm(300, generator=torch.Generator().manual_seed(1)), [3, 0, 4, 1, 2]
    shuffled = values[:, :, images][models][:, models]
    assert pair_interval(shuffled, [names[i] for i in images]) == pytest.approx(pair_interval(values, names))


def test_images_that_are_unknown_for_a_model_are_left_out():
    values = random(3, 6)
    values[1, 4] = math.nan
    names = list("aabbcc")
    assert known_interval(values, names) == interval(values[:, [0, 1, 2, 3, 5]], list("aabbc"))


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0.7123, 0.6512, 0.7549), "0.71 [0.65, 0.75]"),
        ((-0.7123, -0.7549, -0.6512), "-0.71 [-0.75, -0.65]"),
        ((0.7123, 0.7001, 0.7249), "0.71 [0.70, 0.72]"),
        ((0.7123, 0.7091, 0.7149), "0.712 [0.709, 0.715]"),
        ((0.0003, -0.0001, 0.0007), "0.0003 [-0.0001, 0.0007]"),
        ((0.1, -0.001, 0.2), "0.10 [0.00, 0.20]"),  # never -0.00
        ((0.7, 0.7, 0.7 + 1e-15), "0.70 [0.70, 0.70]"),
        ((0.5, 0.499999, 0.500001), "0.500000 [0.499999, 0.500001]"),
        ((12.3, -200, 300), "12.30 [-200.00, 300.00]"),
    ],
)
def test_an_interval_reads_with_the_decimals_that_its_width_needs(numbers, expected):
    assert str(Interval(*numbers)) == expected
    assert f"{Interval(*numbers, 5)}" == expected


def test_errors_say_what_was_given():
    one, two = torch.zeros(1, 4), torch.zeros(2, 2, 4)
    for values in (one, torch.zeros(0), torch.zeros(3, 0), torch.zeros(2, 2, 4), torch.tensor(1.0)):
        with pytest.raises(InputError, match=re.escape(f"values are {tuple(values.shape)}: expected (N,), or (S, N)")):
            interval(values)
    for values in (torch.zeros(1, 1, 4), torch.zeros(2, 3, 4), torch.zeros(2, 2, 0), torch.zeros(2, 2)):
        with pytest.raises(InputError, match=re.escape(f"values are {tuple(values.shape)}: expected (S, S, N)")):
            pair_interval(values)
    with pytest.raises(InputError, match="3 sources for 4 images"):
        interval(one[0], ["a", "b", "c"])
    with pytest.raises(InputError, match="3 sources for 4 images"):
        pair_interval(two, ["a", "b", "c"])
    with pytest.raises(InputError, match="over='models' is unknown: pass one of 'images', 'images and models'"):
        pair_interval(two, over="models")


def test_values_that_are_no_numbers_are_refused():
    for bad in (math.nan, math.inf):
        values = torch.zeros(3, 3, 4)
        values[0, 1, 2] = values[1, 0, 2] = bad
        with pytest.raises(InputError, match="1 of 12 values are NaN or infinite"):
            pair_interval(values)
        with pytest.raises(InputError, match="1 of 4 values are NaN or infinite"):
            interval(values[0, 1])


def test_pairs_of_which_one_half_is_missing_are_refused():
    with pytest.raises(InputError, match="not symmetric"):
        pair_interval(random_pairs(3, 4) * torch.ones(3, 3).triu().unsqueeze(2))


def test_the_interval_over_images_holds_the_truth_in_95_percent():
    simulations, sources, held = 1000, 200, 0
    generator = torch.Generator().manual_seed(0)
    for _ in range(simulations):
        own = torch.arange(sources).repeat_interleave(1 + torch.randint(2, (sources,), generator=generator))  # one or two images
        values = torch.randn(sources, generator=generator)[own] + 0.5 * torch.randn(len(own), generator=generator)
        found = interval(values, own.tolist())
        held += found.low <= 0 <= found.high
    assert held / simulations == pytest.approx(0.95, abs=2.5 * math.sqrt(0.95 * 0.05 / simulations))


def test_the_method_is_what_the_simulation_chose_and_holds_what_the_docstring_says():
    rows = list(csv.DictReader((repository() / "benchmarks" / "interval_coverage.csv").read_text().splitlines()))
    over_models = [row for row in rows if row["over"] == "images and models"]

    def coverage(method, effects):
        return [float(row["coverage"]) for row in over_models if (row["method"], row["effects"]) == (method, effects)]

    assert min(coverage("jackknife", "normal")) >= 0.93 > min(coverage("bootstrap", "normal"))
    words = " ".join(intervals.__doc__.split())
    normal, tail, low, high = map(int, re.search(r"at least (\d+) %.*at least (\d+) %;.*in (\d+) to (\d+) %", words).groups())
    bootstrap = coverage("bootstrap", "normal") + coverage("bootstrap", "exponential")
    assert normal == math.floor(100 * min(coverage("jackknife", "normal")))
    assert tail == math.floor(100 * min(coverage("jackknife", "exponential")))
    assert (low, high) == (round(100 * min(bootstrap)), round(100 * max(bootstrap)))
