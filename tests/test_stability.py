import itertools
import math

import pytest
import torch

from lficam.errors import InputError
from lficam.stability import iou, iou_published, pairwise_stability


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


@pytest.mark.parametrize("metric", [iou, iou_published])
def test_metrics_refuse_maps_they_cannot_compare(metric):
    good = torch.zeros(2, 1, 3, 4)
    for bad in (torch.zeros(2, 1, 4, 3), torch.zeros(3, 1, 3, 4), torch.zeros(2, 3, 4)):
        with pytest.raises(InputError, match=r"\(2, 1, 3, 4\)"):
            metric(good, bad)
    with pytest.raises(InputError, match=r"\(2, 2, 3, 4\)"):
        metric(torch.zeros(2, 2, 3, 4), torch.zeros(2, 2, 3, 4))


@pytest.mark.parametrize("metric", [iou, iou_published])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_metrics_name_the_map_that_is_not_finite(metric, value):
    good, bad = torch.zeros(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)
    bad[1, 0, 1, 1] = value
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(InputError, match=r"map 1\b.*NaN"):
            metric(*pair)


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
