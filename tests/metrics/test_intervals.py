import csv
import math
import re

import pytest
import torch

from lficam.errors import InputError
from lficam.metrics import bootstrap
from lficam.metrics.bootstrap import Interval, interval, pair_interval
from lficam.paths import repository

BOTH = "images and models"


def random(*size, seed=0):
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_pairs(models, images, seed=0):
    """(S, S, N), symmetric; every model, pair and image has a level of its own."""
    values = random(models, models, images, seed=seed) + random(images, seed=seed + 1) + random(models, 1, 1, seed=seed + 2)
    return values + values.transpose(0, 1)


def naive(value, models, images, sources, resample_models, samples, seed):
    """In loops over what was drawn; value(list of models, image) is a number, or None where the models have none."""
    generator = torch.Generator().manual_seed(seed)
    names = sorted(set(sources), key=sources.index)
    groups = [[i for i in range(images) if sources[i] == name] for name in names]
    drawn_models = [list(range(models))] * samples
    if resample_models:
        drawn_models = torch.randint(models, (samples, models), generator=generator).tolist()
    drawn_models = [drawn for drawn in drawn_models if value(drawn, 0) is not None]
    drawn_sources = torch.randint(len(groups), (len(drawn_models), len(groups)), generator=generator).tolist()
    means = []
    for own_models, own_sources in zip(drawn_models, drawn_sources, strict=True):
        found = [value(own_models, image) for source in own_sources for image in groups[source]]
        means.append(sum(found) / len(found))
    low, high = torch.tensor(means, dtype=torch.float64).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    everything = [value(list(range(models)), image) for image in range(images)]
    return sum(everything) / images, low, high


def mean_of_models(values):
    return lambda drawn, image: sum(values[s, image].item() for s in drawn) / len(drawn)


def mean_of_pairs(values):
    def value(drawn, image):
        found = [values[s, t, image].item() for i, s in enumerate(drawn) for t in drawn[:i] if s != t]
        return sum(found) / len(found) if found else None

    return value


def close(found, expected):
    return tuple(found) == pytest.approx(tuple(expected), abs=1e-12)


def test_two_images_worked_by_hand():
    # The replicates are 0, 1/2 and 1 with probability 1/4, 1/2 and 1/4.
    assert interval(torch.tensor([0.0, 1.0])) == (0.5, 0.0, 1.0)


def test_quantiles_of_a_known_distribution():
    # 10 of 20 images are 1: 20 times a replicate is Binomial(20, 1/2), of which 2.07 % lie at 5 or less and 5.77 % at 6 or less.
    values = torch.arange(20) % 2
    assert interval(values, samples=20_000) == (0.5, 6 / 20, 14 / 20)
    images, models = values.view(1, -1).expand(3, -1), values.view(-1, 1).expand(-1, 3)
    assert interval(images, samples=20_000) == (0.5, 6 / 20, 14 / 20)  # alike models add nothing
    assert interval(models, samples=20_000) == (0.5, 6 / 20, 14 / 20)  # nor do alike images


def test_pairs_of_two_kinds_of_models_worked_by_hand():
    # Models 0 and 1 are alike, 2 differs; one image. Of 27 draws 3 have no pair; the 6 of {0, 0, 1} and {0, 1, 1} have mean 1, the
    # 12 of {0, 0, 2} and its kind 0, the 6 of {0, 1, 2} 1/3: a quarter of the 24 at 1, half at 0.
    values = torch.zeros(3, 3, 1)
    values[0, 1] = values[1, 0] = 1
    assert close(pair_interval(values, over=BOTH), (1 / 3, 0, 1))
    assert close(pair_interval(values), (1 / 3, 1 / 3, 1 / 3))


@pytest.mark.parametrize("samples", [40, bootstrap.CHUNK + 50])
def test_intervals_equal_the_loops(samples):
    sources = ["a", "b", "a", "c", "d", "b", "a"]
    models, pairs = random(4, 7), random_pairs(4, 7)
    for names in (sources, list("1234567")):
        options = {"samples": samples, "seed": 3}
        expected = naive(mean_of_models(models[:1]), 1, 7, names, False, **options)
        assert close(interval(models[0], names, **options), expected)
        expected = naive(mean_of_models(models), 4, 7, names, True, **options)
        assert close(interval(models, names, **options), expected)
        for over in ("images", BOTH):
            expected = naive(mean_of_pairs(pairs), 4, 7, names, over == BOTH, **options)
            assert close(pair_interval(pairs, names, over=over, **options), expected)


def test_two_models_have_one_pair_and_no_other():
    values = random_pairs(2, 30)
    naive_loops = naive(mean_of_pairs(values), 2, 30, list(map(str, range(30))), True, samples=60, seed=0)
    assert close(pair_interval(values, over=BOTH, samples=60), naive_loops)


def test_sources_default_to_one_an_image():
    values = random(3, 9)
    assert interval(values) == interval(values, list("abcdefghi"))
    assert interval(values) != interval(values, list("aabbccddd"))


def test_over_images_pairs_count_as_their_mean():
    values = random_pairs(4, 50)
    a, b = torch.triu_indices(4, 4, 1)
    assert close(pair_interval(values, seed=5), interval(values[a, b].mean(0), seed=5))


def test_pairs_of_a_model_with_itself_never_count():
    values = random_pairs(4, 20)
    for diagonal in (1e9, math.nan):
        planted = values.clone()
        planted[range(4), range(4)] = diagonal
        for over in ("images", BOTH):
            assert pair_interval(planted, over=over) == pair_interval(values, over=over)


def test_values_that_are_all_the_same_have_no_width():
    for value in (0.0, 0.7):
        for found in (
            interval(torch.full((12,), value)),
            interval(torch.full((3, 12), value)),
            pair_interval(torch.full((3, 3, 12), value)),
            pair_interval(torch.full((3, 3, 12), value), over=BOTH),
        ):
            assert tuple(found) == pytest.approx((value,) * 3, abs=1e-6)  # 0.7 in float32
            assert found.high - found.low < 1e-12


def test_one_source_has_no_width_over_images():
    values = random_pairs(3, 8)
    one = ["digit"] * 8
    for found in (pair_interval(values, one), interval(values[0, 1], one)):
        assert found.high - found.low < 1e-12
    over_models = pair_interval(values, one, over=BOTH)
    assert over_models.high - over_models.low > 0.1


def test_a_difference_resamples_images_and_models_together():
    a = random_pairs(5, 40)
    b = a + 0.25
    assert (a - b).std() < 1e-12
    for over in ("images", BOTH):
        own = pair_interval(a, over=over)
        assert own.high - own.low > 0.1
        difference = pair_interval(a - b, over=over)
        assert tuple(difference) == pytest.approx((-0.25,) * 3, abs=1e-12)


def test_images_made_of_the_same_source_add_nothing():
    values = random_pairs(4, 100)
    names = [f"digit {i}" for i in range(100)]
    doubled = torch.cat([values, values], 2)
    for over in ("images", BOTH):
        assert pair_interval(doubled, names * 2, over=over) == pair_interval(values, names, over=over)
    assert interval(doubled[0], names * 2) == interval(values[0], names)
    once, twice = interval(values[0, 1]), interval(doubled[0, 1])
    assert (once.high - once.low) / (twice.high - twice.low) == pytest.approx(math.sqrt(2), rel=0.1)


def test_the_order_of_images_and_models_does_not_matter():
    values = random_pairs(5, 300)
    names = [f"digit {i // 2}" for i in range(300)]
    images, models = torch.randperm(300, generator=torch.Generator().manual_seed(1)), [3, 0, 4, 1, 2]
    shuffled = values[:, :, images][models][:, models]
    for over in ("images", BOTH):
        one = pair_interval(values, names, over=over)
        other = pair_interval(shuffled, [names[i] for i in images], over=over)
        assert one.mean == pytest.approx(other.mean, abs=1e-12)
        assert tuple(one) == pytest.approx(tuple(other), abs=0.1 * (one.high - one.low))


def test_the_same_seed_gives_the_same_interval_whatever_happens_around_it():
    values = random(4, 50)
    torch.manual_seed(1)
    first = interval(values)
    before = torch.get_rng_state()
    assert interval(values) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert interval(values, seed=1) != first
    assert interval(values.float()).low == pytest.approx(first.low, abs=1e-6)


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
    assert f"{Interval(*numbers)}" == expected


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
    # By theory 94.6 %: 200 sources take 0.2 points (the quantiles of a normal distribution instead of Student's, and a variance
    # divided by 200 instead of 199), the outer quantiles of 1,000 replicates 0.2. Hence half a point below 95 is granted.
    simulations, sources, held = 1000, 200, 0
    generator = torch.Generator().manual_seed(0)
    for seed in range(simulations):
        own = torch.arange(sources).repeat_interleave(1 + torch.randint(2, (sources,), generator=generator))  # one or two images
        values = torch.randn(sources, generator=generator)[own] + 0.5 * torch.randn(len(own), generator=generator)
        found = interval(values, own.tolist(), samples=1000, seed=seed)
        held += found.low <= 0 <= found.high
    error = math.sqrt(0.95 * 0.05 / simulations)
    assert 0.95 - 0.005 - 2.5 * error <= held / simulations <= 0.95 + 2.5 * error


def test_the_docstring_says_what_the_benchmark_measured():
    rows = csv.DictReader((repository() / "benchmarks" / "bootstrap_coverage.csv").read_text().splitlines())
    five = [row for row in rows if (row["models"], row["sd_models"], row["over"]) == ("5", "0.1", BOTH)]
    coverage = {row["statistic"]: 100 * float(row["coverage"]) for row in five}
    words = " ".join(bootstrap.__doc__.split())
    pairs, alone = map(int, re.search(r"about (\d+) % \(pairs\) and (\d+) % \(one number a model\)", words).groups())
    assert (pairs, alone) == pytest.approx((coverage["pair_interval"], coverage["interval"]), abs=0.51)
