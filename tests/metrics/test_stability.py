import itertools
import math
from functools import partial

import pandas as pd
import pytest
import torch
from torchmetrics.functional import spearman_corrcoef

from lficam.errors import InputError
from lficam.metrics import stability
from lficam.metrics.bootstrap import pair_interval
from lficam.metrics.stability import (
    METRICS,
    centred_blob,
    different_images,
    iou,
    iou_published,
    null_lines,
    pair_matrix,
    pairwise_stability,
    spearman,
    ssim,
    top_overlap,
)
from lficam.model.cam import resize_map


def maps(*images):
    """(N, 1, h, w) from lists of rows."""
    return torch.tensor([[image] for image in images], dtype=torch.float32)


def random_maps(count, u, v, seed):
    """Maps with a 0 and a 1 in each, so that normalising them again changes nothing."""
    cams = torch.rand(count, 1, u, v, generator=torch.Generator().manual_seed(seed))
    low, high = cams.amin((2, 3), keepdim=True), cams.amax((2, 3), keepdim=True)
    return (cams - low) / (high - low)


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
    count = stability.CHUNK + 3
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


IDS = ["test/cat/1.jpg", "test/cat/2.jpg", "test/dog/1.jpg"]


def values(table, metric="iou"):
    """(a, b, id) -> value."""
    rows = table[table["metric"] == metric]
    return {(a, b, id): value for a, b, id, value in zip(rows["a"], rows["b"], rows["id"], rows["value"], strict=True)}


def test_there_is_one_row_a_pair_image_and_metric():
    table = pairwise_stability({name: (IDS, random_maps(3, 4, 4, seed)) for seed, name in enumerate("ABCD")})
    assert list(table.columns) == ["a", "b", "id", "metric", "value"]
    assert len(table) == 6 * 3 * 2
    expected = {(a, b, id) for a, b in ("AB", "AC", "AD", "BC", "BD", "CD") for id in IDS}
    assert set(values(table)) == set(values(table, "iou_published")) == expected


def test_values_are_those_of_the_metrics():
    a, b = random_maps(3, 4, 5, seed=0), random_maps(3, 4, 5, seed=1)
    table = pairwise_stability({"A": (IDS, a), "B": (IDS, b)}, threshold=0.6)
    for name, metric in (("iou", iou), ("iou_published", iou_published)):
        expected = dict(zip(IDS, metric(a, b, 0.6).tolist(), strict=True))
        assert values(table, name) == pytest.approx({("A", "B", id): value for id, value in expected.items()})


def test_maps_are_paired_by_id_and_not_by_position():
    cams = random_maps(3, 4, 4, seed=0)
    order = [2, 0, 1]
    shuffled = [IDS[i] for i in order], cams[order]
    table = pairwise_stability({"A": (tuple(IDS), cams), "B": shuffled})
    assert values(table) == {("A", "B", id): 1 for id in IDS}
    straight = iou(cams, cams[order])
    assert straight.max() < 1  # by position no pair would have been of the same map


def test_maps_are_normalised_before_they_are_compared():
    # .3 is the first map's peak: on, once it is normalised.
    table = pairwise_stability({"A": (["x"], maps([[0.3, 0.1]])), "B": (["x"], maps([[1.0, 0]]))})
    assert values(table) == {("A", "B", "x"): 1}


def test_maps_of_different_sizes_need_a_size():
    coarse, fine = maps([[1, 0], [0, 0]]), maps([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    settings = {"coarse": (["x"], coarse), "fine": (["x"], fine)}
    with pytest.raises(InputError, match=r"'fine'.*\(1, 4, 4\).*'coarse'.*\(1, 2, 2\).*size="):
        pairwise_stability(settings)
    # At 4 x 4 the coarse map is the outer product of (1, .75, .25, 0) with itself: on where it is above .392, a 2 x 2 block.
    assert values(pairwise_stability(settings, size=(4, 4))) == {("coarse", "fine", "x"): 1}


def test_different_images_are_refused():
    cams = random_maps(3, 4, 4, seed=0)
    other = [*IDS[:2], "test/dog/2.jpg"]
    with pytest.raises(InputError, match=r"'B' and 'A' differ in 2 ids.*test/dog/1\.jpg"):
        pairwise_stability({"A": (IDS, cams), "B": (other, cams)})
    with pytest.raises(InputError, match=r"'B' and 'A' differ in 1 ids.*test/dog/1\.jpg"):
        pairwise_stability({"A": (IDS, cams), "B": (IDS[:2], cams[:2])})


@pytest.mark.parametrize("settings", [("A", "B"), ("B", "A")])
def test_repeated_ids_are_refused(settings):
    cams = random_maps(3, 4, 4, seed=0)
    given = {"A": (IDS, cams), "B": ([IDS[0], IDS[1], IDS[1]], cams)}
    with pytest.raises(InputError, match=r"'B' has 3 ids, 2 of them different"):
        pairwise_stability({name: given[name] for name in settings})


def test_every_id_needs_its_map():
    with pytest.raises(InputError, match=r"'A' has 3 ids.*2 maps"):
        pairwise_stability({"A": (IDS, random_maps(2, 4, 4, 0)), "B": (IDS, random_maps(3, 4, 4, 0))})


@pytest.mark.parametrize("settings", [{}, {"only": (IDS, random_maps(3, 4, 4, 0))}])
def test_fewer_than_two_settings_are_refused(settings):
    with pytest.raises(InputError, match=rf"got {len(settings)} .*at least two"):
        pairwise_stability(settings)


@pytest.mark.parametrize("size", [None, (8, 8)])
def test_a_map_that_is_not_finite_is_named_by_its_setting_and_id(size):
    bad = random_maps(3, 4, 4, seed=1)
    bad[2, 0, 0, 0] = math.nan
    with pytest.raises(InputError, match="NaN") as caught:
        pairwise_stability({"good": (IDS, random_maps(3, 4, 4, seed=0)), "bad": (IDS, bad)}, size)
    assert "'bad'" in str(caught.value)
    assert IDS[2] in str(caught.value)


def test_only_the_named_metrics_come_back():
    a, b = random_maps(3, 12, 12, seed=0), random_maps(3, 12, 12, seed=1)
    settings = {"A": (IDS, a), "B": (IDS, b)}
    assert list(pairwise_stability(settings, metrics=["spearman"])["metric"]) == ["spearman"] * 3
    table = pairwise_stability(settings, threshold=0.6, metrics=tuple(METRICS))
    assert list(table["metric"].unique()) == ["iou", "iou_published", "ssim", "spearman", "top_overlap"]
    for name, metric in METRICS.items():
        at_threshold = partial(metric, threshold=0.6) if name.startswith("iou") else metric
        expected = dict(zip(IDS, at_threshold(a, b).tolist(), strict=True))
        assert values(table, name) == {("A", "B", id): value for id, value in expected.items()}
    assert set(pairwise_stability(settings)["metric"]) == {"iou", "iou_published"}


@pytest.mark.parametrize(("metrics", "message"), [(["iou", "iuo"], "unknown metric 'iuo'"), ([], "no metric")])
def test_an_unknown_metric_is_refused_with_those_there_are(metrics, message):
    settings = {name: (IDS, random_maps(3, 4, 4, seed=0)) for name in "AB"}
    with pytest.raises(InputError, match=rf"{message}.* iou, iou_published, ssim, spearman, top_overlap$"):
        pairwise_stability(settings, metrics=metrics)


def test_small_maps_have_an_ssim_at_the_size_of_the_image_only():
    settings = {name: (IDS, random_maps(3, 4, 4, seed=0)) for name in "AB"}
    with pytest.raises(InputError, match="4 x 4"):
        pairwise_stability(settings, metrics=["ssim"])
    assert values(pairwise_stability(settings, (28, 28), metrics=["ssim"]), "ssim") == {("A", "B", id): 1 for id in IDS}


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_nothing_depends_on_how_many_images_are_compared_at_a_time(chunk, monkeypatch):
    ids = [f"test/{n}" for n in range(15)]  # more than there are partners to draw
    settings = {name: (ids, random_maps(15, 7, 7, seed)) for seed, name in enumerate("ABC")}
    whole = pairwise_stability(settings, (12, 14), metrics=tuple(METRICS))
    whole_null = null_lines(settings, (12, 14), ids)
    assert stability.CHUNK >= 15
    monkeypatch.setattr(stability, "CHUNK", chunk)
    parts = pairwise_stability(settings, (12, 14), metrics=tuple(METRICS))
    for metric in METRICS:
        assert values(parts, metric) == pytest.approx(values(whole, metric), abs=1e-6)
        assert torch.allclose(pair_matrix(parts, metric), pair_matrix(whole, metric), atol=1e-6)
    pd.testing.assert_frame_equal(null_lines(settings, (12, 14), ids), whole_null)


def test_the_matrix_of_pairs_holds_each_value_twice():
    rows = [("z", "b", "y", 0.1), ("z", "a", "y", 0.2), ("b", "a", "y", 0.3)]
    rows += [("z", "b", "x", 0.4), ("a", "z", "x", 0.5), ("b", "a", "x", 0.6)]
    pairs = pd.DataFrame([(a, b, id, "iou", value) for a, b, id, value in rows], columns=["a", "b", "id", "metric", "value"])
    pairs = pd.concat([pairs.assign(metric="ssim", value=9.0), pairs])
    matrix = pair_matrix(pairs, "iou")
    assert matrix.dtype == torch.float64
    # settings z, b, a and images y, x
    assert matrix[:, :, 0].tolist() == [[0, 0.1, 0.2], [0.1, 0, 0.3], [0.2, 0.3, 0]]
    assert matrix[:, :, 1].tolist() == [[0, 0.4, 0.5], [0.4, 0, 0.6], [0.5, 0.6, 0]]


def test_the_matrix_of_pairs_has_the_mean_of_its_table():
    table = pairwise_stability({name: (IDS, random_maps(3, 4, 4, seed)) for seed, name in enumerate("DBCA")})
    expected = table.query("metric == 'iou'")["value"].mean()
    assert pair_interval(pair_matrix(table, "iou")).mean == pytest.approx(expected)


def test_a_matrix_with_a_hole_is_refused():
    table = pairwise_stability({name: (IDS, random_maps(3, 4, 4, seed)) for seed, name in enumerate("ABC")}, metrics=["iou"])
    with pytest.raises(InputError, match=r"no values of 'ssim': there are iou$"):
        pair_matrix(table, "ssim")
    holes = [table.drop(index=4), pd.concat([table, table[4:5]]), pd.concat([table.drop(index=4), table[5:6]])]
    for bad in [*holes, table.assign(value=table["value"].where(table.index != 4))]:
        with pytest.raises(InputError, match=rf"^{len(bad)} values of 'iou' for 3 settings and 3 images.*image, 9, none"):
            pair_matrix(bad, "iou")


NAMES = [f"digit {n}" for n in range(25)]


def blocks(count):
    """Maps of 28 x 28, each a block of 4 x 4 ones where no other has any."""
    cams = torch.zeros(count, 1, 28, 28)
    for n in range(count):
        i, j = 5 * (n // 5), 5 * (n % 5)
        cams[n, 0, i : i + 4, j : j + 4] = 1
    return cams


def stability_of(settings, metric):
    return pairwise_stability(settings, (28, 28), metrics=[metric])["value"]


def mean_null(settings, null="different images"):
    lines = null_lines(settings, (28, 28), NAMES)
    return lines[lines["null"] == null]["value"].mean()


@pytest.mark.parametrize("metric", ["iou", "ssim", "spearman", "top_overlap"])
def test_one_map_everywhere_is_stable_for_free_and_its_null_says_so(metric):
    everywhere = random_maps(1, 7, 7, seed=0).expand(25, 1, 7, 7)
    settings = dict.fromkeys("AB", (NAMES, everywhere))
    assert stability_of(settings, metric).tolist() == pytest.approx([1] * 25)
    assert null_lines(settings, (28, 28), NAMES).query("null == 'different images'")["value"].tolist() == [1] * 50


@pytest.mark.parametrize("metric", ["iou", "ssim", "spearman", "top_overlap"])
def test_a_place_for_each_image_is_stable_and_its_null_is_0(metric):
    settings = {name: (NAMES, blocks(25)) for name in "AB"}
    assert stability_of(settings, metric).tolist() == pytest.approx([1] * 25)
    assert mean_null(settings) == 0


def test_a_method_that_looks_at_the_centre_has_a_null_of_1():
    settings = {"A": (NAMES, centred_blob((28, 28)).expand(25, 1, 28, 28))}
    assert mean_null(settings, "centred blob") == 1
    assert mean_null({"A": (NAMES, 1 - centred_blob((28, 28)).expand(25, 1, 28, 28))}, "centred blob") < 0.3


def test_partners_never_share_a_source():
    # Two photographs of each of 12 digits, both with the digit's map: a partner of one's own source would give 1.
    cams, sources = blocks(12).repeat(2, 1, 1, 1), NAMES[:12] * 2
    assert different_images(cams, sources).tolist() == [0] * 24
    assert different_images(cams, list(range(24))).sum() > 0


def test_as_many_partners_as_there_are_others_give_the_mean_over_all_others():
    cams, sources = random_maps(7, 5, 6, seed=1), ["a", "b", "a", "c", "c", "c", "d"]
    expected = []
    for n in range(7):
        others = [m for m in range(7) if sources[m] != sources[n]]
        expected.append(sum(iou(cams[n : n + 1], cams[m : m + 1], 0.6).item() for m in others) / len(others))
    for partners in (6, 100):  # at most 6 others, at least 4
        assert different_images(cams, sources, 0.6, partners).tolist() == pytest.approx(expected, abs=1e-6)
    draws = torch.stack([different_images(cams, sources, 0.6, 2, seed) for seed in range(300)])
    assert draws.mean(0).tolist() == pytest.approx(expected, abs=0.03)
    assert (draws.std(0) > 0).all()
    assert torch.equal(draws[5], different_images(cams, sources, 0.6, 2, seed=5))


def test_as_many_partners_are_drawn_as_asked_for():
    # The map of image 0 is 1 with those of its own kind and 0 with the others: its value is a count over `partners`.
    cams = blocks(2)[[0, 0, 1, 0, 1, 0, 1, 0, 1]]
    for partners in (1, 2, 3, 5):
        drawn = [different_images(cams, NAMES[:9], partners=partners, seed=seed)[0].item() * partners for seed in range(20)]
        assert drawn == pytest.approx([round(value) for value in drawn], abs=1e-5)
        assert len({round(value) for value in drawn}) > 1


def test_null_lines_need_maps_of_two_sources():
    cams = random_maps(3, 4, 4, seed=0)
    with pytest.raises(InputError, match=r"all 3 maps are of the source 'cat'.*two sources"):
        different_images(cams, ["cat"] * 3)
    with pytest.raises(InputError, match=r"2 sources for 3 maps"):
        different_images(cams, ["cat", "dog"])
    with pytest.raises(InputError, match=r"partners=0"):
        different_images(cams, IDS, partners=0)
    with pytest.raises(InputError, match=r"map 0 .*NaN"):
        different_images(cams * math.nan, IDS)
    with pytest.raises(InputError, match=r"no setting"):
        null_lines({}, (8, 8), IDS)
    with pytest.raises(InputError, match=r"'test/cat/1.jpg' in 'A'.*NaN"):
        null_lines({"A": (IDS, cams * math.nan)}, (8, 8), IDS)


@pytest.mark.parametrize("size", [(5, 5), (6, 9), (28, 28)])
def test_the_blob_is_centred(size):
    blob = centred_blob(size)
    assert blob.shape == (1, 1, *size)
    assert torch.equal(blob, blob.flip(2))
    assert torch.equal(blob, blob.flip(3))
    assert blob.max() == 1
    assert blob.min() == 0 == blob[0, 0, 0, 0]
    assert blob[0, 0, size[0] // 2, size[1] // 2] == 1


def test_the_blob_worked_by_hand():
    # 5 x 5: standard deviation 1.25, so a pixel two off the centre is q = exp(-4 / 3.125) high and a corner q^2, before the
    # corner becomes 0 and the centre 1.
    q = math.exp(-1.28)
    blob = centred_blob((5, 5))[0, 0]
    assert blob[0, 2].item() == pytest.approx((q - q * q) / (1 - q * q), abs=1e-6)
    assert blob[2, 2].item() == 1
    # 5 x 10: each side has its own deviation. Two of 5 off the centre is q again, 4.5 of 10 is p; the centre lies between two.
    p, peak = math.exp(-(4.5**2) / 12.5), math.exp(-(0.5**2) / 12.5)
    wide = centred_blob((5, 10))[0, 0]
    assert wide[0, 5].item() == pytest.approx((q * peak - q * p) / (peak - q * p), abs=1e-6)


def test_null_lines_are_those_of_each_setting():
    settings = {"A": (IDS, random_maps(3, 7, 7, seed=0)), "B": (IDS, random_maps(3, 7, 7, seed=1))}
    sources = ["one", "one", "two"]
    lines = null_lines(settings, (9, 12), sources, threshold=0.5)
    assert list(lines.columns) == ["setting", "null", "id", "value"]
    assert len(lines) == 2 * 2 * 3
    for setting, (_, cams) in settings.items():
        shown = resize_map(cams, (9, 12))
        expected = {
            "different images": different_images(shown, sources, 0.5),
            "centred blob": iou(shown, centred_blob((9, 12)).expand(3, 1, 9, 12), 0.5),
        }
        for null, value in expected.items():
            rows = lines[(lines["setting"] == setting) & (lines["null"] == null)]
            assert list(rows["id"]) == IDS
            assert rows["value"].tolist() == value.tolist()
    order = [2, 0, 1]
    shuffled = {"A": settings["A"], "B": ([IDS[i] for i in order], settings["B"][1][order])}
    pd.testing.assert_frame_equal(null_lines(shuffled, (9, 12), sources, threshold=0.5), lines)
