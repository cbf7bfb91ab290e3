import math
from functools import partial

import pandas as pd
import pytest
import torch
from helpers import maps, random_maps

from lficam.errors import InputError
from lficam.metrics import stability
from lficam.metrics.intervals import pair_interval
from lficam.metrics.similarity import METRICS, iou, iou_published
from lficam.metrics.stability import centred_blob, different_images, null_lines, pair_matrix, pairwise_stability
from lficam.model.cam import resize_map

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
    monkeypatch.setattr(stability, "PIXELS", 15 * 12 * 14)
    whole = pairwise_stability(settings, (12, 14), metrics=tuple(METRICS))
    whole_null = null_lines(settings, (12, 14), ids)
    monkeypatch.setattr(stability, "PIXELS", chunk * 12 * 14)
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
