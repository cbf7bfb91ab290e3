import itertools
import math

import pytest
import torch
from helpers import maps, random_maps
from torchmetrics.functional import spearman_corrcoef

from lficam.errors import InputError
from lficam.metrics.similarity import METRICS, iou, iou_published, spearman, ssim, top_overlap


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([[1, 0], [0, 0]], [[0, 1], [0, 0]], 0),  # disjoint
        ([[1, 0], [0, 1]], [[1, 0], [0, 1]], 1),  # identical
        ([[1, 1], [0, 0]], [[0, 1], [0, 1]], 1 / 3),
        ([[1, 1], [1, 1]], [[0, 0], [0, 1]], 1 / 4),
        ([[1, 0], [0, 0]], [[0, 0], [0, 0]], 0),  # one of them empty
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]], 0),  # both empty
        ([[0.3, 0.39], [0.4, 0.9]], [[0.5, 0.1], [0.41, 0.2]], 1 / 3),  # 100 of 255 is .392
    ],
)
def test_iou_worked_by_hand(a, b, expected):
    a, b = maps(a), maps(b)
    assert iou(a, b).item() == pytest.approx(expected, abs=1e-7)
    assert torch.equal(iou(a, b), iou(b, a))


def test_iou_is_one_number_an_image():
    a = maps([[1, 1], [0, 0]], [[1, 0], [0, 0]], [[0, 0], [0, 0]])
    b = maps([[0, 1], [0, 1]], [[1, 0], [0, 0]], [[0, 0], [0, 0]])
    assert torch.allclose(iou(a, b), torch.tensor([1 / 3, 1, 0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_means_strictly_above_the_threshold(dtype):
    at, above = torch.full((1, 1, 1, 1), 0.5, dtype=dtype), torch.full((1, 1, 1, 1), 0.5 + 1e-6, dtype=dtype)
    assert iou(at, at, threshold=0.5).item() == 0
    assert iou(above, above, threshold=0.5).item() == 1
    at = torch.full((1, 1, 1, 1), 100 / 255, dtype=dtype)
    assert iou(at, at).item() == 0
    assert iou(at + 1e-6, at + 1e-6).item() == 1


def test_iou_of_maps_that_differ_from_the_loops():
    a, b = random_maps(5, 6, 7, seed=0), random_maps(5, 6, 7, seed=1)
    for threshold in (0.1, 100 / 255, 0.9):
        expected = []
        for n in range(5):
            shared = either = 0
            for i, j in itertools.product(range(6), range(7)):
                on = a[n, 0, i, j] > threshold, b[n, 0, i, j] > threshold
                shared, either = shared + all(on), either + any(on)
            expected.append(shared / either if either else 0)
        assert torch.allclose(iou(a, b, threshold), torch.tensor(expected))


def naive_published(a, b, level=100):
    """Row by row, as the release does it with 8-bit values."""
    rows = []
    for row_a, row_b in zip(a, b, strict=True):
        on_a, on_b = ([math.floor(256 * value) % 256 > level for value in row] for row in (row_a, row_b))
        shared = sum(x and y for x, y in zip(on_a, on_b, strict=True))
        either = sum(x or y for x, y in zip(on_a, on_b, strict=True))
        rows.append(shared / either if either else 1)
    return sum(rows) / len(rows)


@pytest.mark.parametrize(("threshold", "level"), [(100 / 255, 100), (0, 0), (200 / 255, 200)])
def test_the_published_formula_equals_its_loops(threshold, level):
    a, b = random_maps(4, 6, 3, seed=2), random_maps(4, 6, 3, seed=3)
    a[0, 0, 2] = b[0, 0, 2] = 0.1  # a row that is empty in both
    a[1, 0, :] = 1.0  # the peak value all over
    expected = [naive_published(a[n, 0].tolist(), b[n, 0].tolist(), level) for n in range(4)]
    assert torch.allclose(iou_published(a, b, threshold), torch.tensor(expected))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # rows: 1 of 2 shared, both empty (counts 1)
        ([[0.9, 0.9], [0, 0]], [[0.9, 0], [0, 0]], (1 / 2 + 1) / 2),
        # the peak is off: floor(256 * 1) wraps to 0, so row 1 is empty in both and row 2 disjoint
        ([[1.0, 0], [0.9, 0]], [[1.0, 0], [0, 0.9]], (1 + 0) / 2),
        # floor(256 * .3945) = 100 is not above 100; floor(256 * .395) = 101 is
        ([[0.3945, 0.5]], [[0.395, 0.5]], 1 / 2),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]], 1),
    ],
)
def test_the_published_formula_worked_by_hand(a, b, expected):
    assert iou_published(maps(a), maps(b)).item() == pytest.approx(expected)


def test_the_published_formula_is_not_the_iou_of_the_image():
    a, b = maps([[0.9, 0.9, 0.9, 0.9], [0.9, 0, 0, 0]]), maps([[0.9, 0.9, 0.9, 0.9], [0, 0, 0, 0.9]])
    assert iou(a, b).item() == pytest.approx(4 / 6)
    assert iou_published(a, b).item() == pytest.approx((1 + 0) / 2)


@pytest.mark.parametrize("metric", METRICS.values())
def test_metrics_refuse_maps_they_cannot_compare(metric):
    good = torch.zeros(2, 1, 3, 4)
    for bad in (torch.zeros(2, 1, 4, 3), torch.zeros(3, 1, 3, 4), torch.zeros(2, 3, 4)):
        with pytest.raises(InputError, match=r"\(2, 1, 3, 4\)"):
            metric(good, bad)
    with pytest.raises(InputError, match=r"\(2, 2, 3, 4\)"):
        metric(torch.zeros(2, 2, 3, 4), torch.zeros(2, 2, 3, 4))


@pytest.mark.parametrize("metric", METRICS.values())
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_metrics_name_the_map_that_is_not_finite(metric, value):
    good, bad = torch.zeros(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)
    bad[1, 0, 1, 1] = value
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(InputError, match=r"map 1\b.*NaN"):
            metric(*pair)


@pytest.mark.parametrize("metric", METRICS.values())
def test_metrics_are_symmetric_and_1_for_the_same_map(metric):
    a, b = random_maps(6, 12, 13, seed=4), random_maps(6, 12, 13, seed=5)
    assert torch.equal(metric(a, b), metric(b, a))
    assert (metric(a, b) < 0.6).all()
    assert metric(a, a).tolist() == pytest.approx([1] * 6, abs=1e-6)


@pytest.mark.parametrize("metric", [ssim, spearman, top_overlap])
def test_a_metric_is_one_number_an_image_whatever_else_is_in_the_batch(metric):
    count = 67
    a, b = random_maps(count, 12, 13, seed=6), random_maps(count, 12, 13, seed=7)
    alone = [metric(a[n : n + 1], b[n : n + 1]).item() for n in range(count)]
    assert metric(a, b).tolist() == pytest.approx(alone, abs=1e-6)


def test_ssim_of_constant_maps_is_its_first_factor():
    low, high = torch.full((1, 1, 11, 11), 0.3), torch.full((1, 1, 11, 11), 0.7)
    c = 0.01**2  # of data in [0, 1]
    assert ssim(low, high).item() == pytest.approx((2 * 0.21 + c) / (0.09 + 0.49 + c), abs=3e-4)  # the rounding of variances
    assert ssim(low, low).item() == pytest.approx(1, abs=3e-4)
    zero = torch.zeros(1, 1, 11, 11)
    assert ssim(zero, zero).item() == 1
    assert ssim(zero, zero + 1).item() == pytest.approx(c / (1 + c), abs=1e-6)


def naive_ssim(a, b):
    """Wang et al. 2004, equation 13, at every pixel; the image is mirrored at its border, without repeating the border."""
    h, w = len(a), len(a[0])
    offsets = list(itertools.product(range(-5, 6), repeat=2))
    gauss = {(i, j): math.exp(-(i * i + j * j) / (2 * 1.5**2)) for i, j in offsets}
    total = sum(gauss.values())

    def mirrored(i, n):
        return -i if i < 0 else 2 * (n - 1) - i if i >= n else i

    similarity = 0
    for y, x in itertools.product(range(h), range(w)):
        seen = []
        for i, j in offsets:
            r, c = mirrored(y + i, h), mirrored(x + j, w)
            seen.append((gauss[i, j] / total, a[r][c], b[r][c]))
        mean_a, mean_b = sum(g * p for g, p, _ in seen), sum(g * q for g, _, q in seen)
        var_a, var_b = (sum(g * (pq[k] - m) ** 2 for g, *pq in seen) for k, m in enumerate((mean_a, mean_b)))
        cov = sum(g * (p - mean_a) * (q - mean_b) for g, p, q in seen)
        luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
        similarity += luminance * (2 * cov + 9e-4) / (var_a + var_b + 9e-4)
    return similarity / (h * w)


def test_ssim_equals_its_loops():
    a, b = random_maps(3, 11, 14, seed=8), random_maps(3, 11, 14, seed=9)
    b[1] = (a[1] + 0.2 * b[1]) / 1.2
    b[2, :, :6] = 0
    expected = [naive_ssim(a[n, 0].tolist(), b[n, 0].tolist()) for n in range(3)]
    assert ssim(a, b).tolist() == pytest.approx(expected, abs=1e-5)
    assert expected[1] > 0.9 > 0.1 > abs(expected[0])


@pytest.mark.parametrize(("u", "v"), [(10, 11), (11, 10), (4, 4)])
def test_ssim_refuses_maps_smaller_than_its_window(u, v):
    with pytest.raises(InputError, match=rf"maps are {u} x {v}, SSIM needs 11 x 11 pixels.*leave out 'ssim'"):
        ssim(torch.zeros(1, 1, u, v), torch.zeros(1, 1, u, v))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0.2, 0.3, 1], [0, 0.1, 0.5, 0.6], 1),  # ranks count, not values
        ([0, 0.2, 0.3, 1], [1, 0.4, 0.3, 0.2], -1),
        ([0, 0.2, 0.3, 1], [0, 0.3, 0.2, 1], 1 - 6 * 2 / (4 * 15)),
        # ranks 1.5 1.5 3.5 3.5 and 1 3 3 3: deviations -1 -1 1 1 and -1.5 .5 .5 .5
        ([0, 0, 1, 1], [0, 1, 1, 1], 2 / math.sqrt(4 * 3)),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0),
        ([0, 0.2, 0.3, 1], [0, 0, 0, 0], 0),
        ([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], 0),
    ],
)
def test_rank_correlation_worked_by_hand(a, b, expected):
    a, b = maps([a[:2], a[2:]]), maps([b[:2], b[2:]])
    assert spearman(a, b).item() == pytest.approx(expected, abs=1e-6)


def naive_spearman(a, b):
    ranks = [[sum(q < p for q in pixels) + (sum(q == p for q in pixels) + 1) / 2 for p in pixels] for pixels in (a, b)]
    x, y = ([rank - sum(own) / len(own) for rank in own] for own in ranks)
    norm = math.sqrt(sum(p * p for p in x) * sum(q * q for q in y))
    return sum(p * q for p, q in zip(x, y, strict=True)) / norm if norm else 0


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_rank_correlation_equals_its_loops_and_torchmetrics(levels):
    a, b = ((random_maps(6, 7, 9, seed) * levels).floor() / levels for seed in (10, 11))  # many ties, few, hardly any
    b[3:] = ((a[3:] + b[3:]) * levels / 2).floor() / levels
    expected = [naive_spearman(a[n].flatten().tolist(), b[n].flatten().tolist()) for n in range(6)]
    assert spearman(a, b).tolist() == pytest.approx(expected, abs=1e-6)
    assert spearman(a, b).tolist() == pytest.approx(spearman_corrcoef(a.flatten(1).T, b.flatten(1).T).tolist(), abs=1e-5)


def test_rank_correlation_of_a_large_map_of_zeros_and_ones():
    a, b = torch.zeros(2, 90_000)
    a[:9_000], b[:45_000] = 1, 1
    # Of two binary maps it is (P(both) - P(a) P(b)) / sqrt(P(a) P(not a) P(b) P(not b)). torchmetrics 1.9 gives -1/3.
    value = spearman(a.view(1, 1, 300, 300), b.view(1, 1, 300, 300)).item()
    assert value == pytest.approx((0.1 - 0.05) / math.sqrt(0.1 * 0.9 * 0.5 * 0.5), abs=1e-6)
    assert value == pytest.approx(1 / 3, abs=1e-6)


def row_map(**pixels):
    """(1, 1, 4, 5): twenty pixels, so that the highest tenth are two; `p3=.5` sets the pixel 3, the others are 0."""
    cam = torch.zeros(20)
    for name, value in pixels.items():
        cam[int(name[1:])] = value
    return cam.view(1, 1, 4, 5)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (row_map(p3=1, p4=0.9, p5=0.8), row_map(p3=0.9, p4=1, p6=0.8), 1),
        (row_map(p3=1, p4=0.9, p5=0.8), row_map(p3=1, p5=0.9, p4=0.8), 1 / 2),
        (row_map(p3=1, p4=0.9), row_map(p5=1, p6=0.9), 0),
        (row_map(p3=1), row_map(p3=1), 1),  # a single peak: the zeros do not fill the tenth
        (row_map(p3=1), row_map(p4=1), 0),
        (row_map(p3=1), row_map(p3=1, p4=0.5), 1 / 2),
        (row_map(p3=1, p4=0.5, p5=0.5), row_map(p3=1, p4=0.5, p5=0.5), 1),  # two pixels tie for the second place: both
        (row_map(p3=1, p4=0.5, p5=0.5), row_map(p3=1, p4=0.5), 2 / 3),
        (row_map(p0=1, p1=1, p2=1, p3=1), row_map(p2=1, p3=1, p4=1), 2 / 4),
        (row_map(p3=1), row_map(), 0),  # one of them constant
        (row_map(), row_map(), 0),
        (row_map() + 1, row_map() + 1, 0),
    ],
)
def test_overlap_of_the_highest_tenth_worked_by_hand(a, b, expected):
    assert top_overlap(a, b).item() == pytest.approx(expected)
    assert top_overlap(b, a).item() == pytest.approx(expected)


def naive_top(pixels):
    count = math.ceil(len(pixels) / 10)
    last = sorted(pixels, reverse=True)[count - 1]
    return {i for i, p in enumerate(pixels) if p >= last and p > min(pixels)}


@pytest.mark.parametrize("levels", [2, 8, 1000])
def test_overlap_of_the_highest_tenth_equals_its_loops(levels):
    a, b = ((random_maps(6, 7, 9, seed) * levels).floor() / levels for seed in (12, 13))
    b[3:] = ((a[3:] + b[3:]) * levels / 2).floor() / levels
    tops = [(naive_top(a[n].flatten().tolist()), naive_top(b[n].flatten().tolist())) for n in range(6)]
    expected = [len(p & q) / max(len(p), len(q)) for p, q in tops]
    assert top_overlap(a, b).tolist() == pytest.approx(expected)
    assert max(expected) > 0
