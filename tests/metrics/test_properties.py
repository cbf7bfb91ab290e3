"""What must hold for every input of the pure functions: bounds, symmetry, and that neither order nor chunks matter."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lficam.metrics.intervals import interval, pair_interval
from lficam.metrics.mege_reco import distances, mege_reco
from lficam.metrics.similarity import iou, iou_published, spearman, top_overlap
from lficam.metrics.stability import different_images
from lficam.model.cam import normalize_channels, normalize_map, resize_map

settings.register_profile("lficam", deadline=None, max_examples=60, derandomize=True)  # the same examples on every machine
settings.load_profile("lficam")

FINITE = st.floats(-1e6, 1e6, width=32)
SIDES = st.integers(1, 6)


@st.composite
def planes(draw, count=None, elements=FINITE, least=1):
    """(N, 1, u, v) float32."""
    shape = (count or draw(st.integers(1, 4)), 1, draw(st.integers(least, 6)), draw(st.integers(least, 6)))
    return torch.tensor(draw(arrays(np.float32, shape, elements=elements)))


UNIT = st.floats(0, 1, width=32)


@st.composite
def two(draw):
    """Two batches of maps of one shape, in [0, 1]."""
    a = draw(planes(elements=UNIT, least=2))
    return a, torch.tensor(draw(arrays(np.float32, tuple(a.shape), elements=UNIT)))


@given(planes())
def test_normalised_maps_fill_0_to_1_or_are_0(cam):
    found = normalize_map(cam)
    assert found.isfinite().all()
    for plane, original in zip(found, cam, strict=True):
        if original.amax() > original.amin():
            assert (plane.amin(), plane.amax()) == (0, 1)
        else:
            assert (plane == 0).all()
    assert torch.equal(normalize_map(found), found)


@given(planes())
def test_normalised_channels_lie_in_0_to_1_and_normalising_again_changes_nothing(features):
    found = normalize_channels(features)
    assert ((found >= 0) & (found <= 1)).all()
    assert torch.equal(normalize_channels(found), found)


@given(planes(elements=UNIT), SIDES, SIDES)
def test_resized_maps_are_maps_of_that_size_and_each_depends_on_itself_alone(cam, h, w):
    found = resize_map(cam, (h, w))
    assert found.shape == (len(cam), 1, h, w)
    assert ((found >= 0) & (found <= 1)).all()
    assert torch.equal(found, torch.cat([resize_map(one[None], (h, w)) for one in cam]))


@given(two())
def test_similarities_are_symmetric_bounded_and_1_for_equal_maps(pair):
    a, b = pair
    for metric, low in ((iou, 0), (iou_published, 0), (spearman, -1), (top_overlap, 0)):
        values = metric(a, b)
        assert torch.equal(values, metric(b, a)), metric
        assert ((values >= low - 1e-5) & (values <= 1 + 1e-5)).all(), metric
        assert torch.equal(values, torch.cat([metric(x[None], y[None]) for x, y in zip(a, b, strict=True)])), metric
    varied = normalize_map(a)  # a constant map has nothing on, and no order
    on = varied.amax((1, 2, 3)) > 0
    for metric in (iou, spearman, top_overlap):
        assert torch.allclose(metric(varied, varied)[on], torch.ones(int(on.sum())), atol=1e-5), metric


@given(two(), st.floats(0.0625, 0.9375, width=32))
def test_iou_is_the_share_of_cells_that_are_on_in_both(pair, threshold):
    a, b = pair
    for value, x, y in zip(iou(a, b, threshold).tolist(), a.flatten(1).tolist(), b.flatten(1).tolist(), strict=True):
        on_x, on_y = ({i for i, cell in enumerate(cells) if cell > threshold} for cells in (x, y))
        assert abs(value - (len(on_x & on_y) / len(on_x | on_y) if on_x | on_y else 0)) < 1e-6


@given(planes(count=5, elements=UNIT, least=2), st.randoms(use_true_random=False))
def test_maps_of_different_images_agree_in_0_to_1(cams, random):
    sources = [str(random.randrange(3)) for _ in range(4)] + ["another"]
    found = different_images(cams, sources, partners=3)
    assert found.shape == (5,)
    assert ((found >= 0) & (found <= 1)).all()


@given(
    arrays(np.float64, st.tuples(st.integers(2, 4), st.integers(2, 6)), elements=st.floats(-100, 100)),
    st.randoms(use_true_random=False),
)
def test_an_interval_holds_its_mean_and_does_not_depend_on_the_order(values, random):
    found = interval(torch.tensor(values))
    assert found.low <= found.mean <= found.high
    order = random.sample(range(values.shape[1]), values.shape[1])
    shuffled = interval(torch.tensor(values[::-1, order].copy()))
    assert np.allclose(found[:3], shuffled[:3], atol=1e-9)


@given(arrays(np.float64, (4, 4, 5), elements=st.floats(-100, 100)), st.permutations(range(4)))
def test_an_interval_of_pairs_does_not_depend_on_the_order_of_the_models(values, order):
    pairs = torch.tensor(values + values.transpose(1, 0, 2))
    found, shuffled = pair_interval(pairs), pair_interval(pairs[order][:, order])
    assert found.low <= found.mean <= found.high
    assert np.allclose(found[:3], shuffled[:3], atol=1e-9)


@given(arrays(np.float32, (3, 24), elements=UNIT), arrays(np.bool_, (3, 24)))
def test_mege_and_reco_are_bounded_and_do_not_depend_on_the_names_of_the_models(values, right):
    held_out = torch.arange(24) % 3
    right = torch.tensor(right) | (torch.arange(24) < 3)  # all are right about three images
    distance = torch.tensor(values).masked_fill(torch.arange(3)[:, None] == held_out, torch.nan)
    found = mege_reco(distance, right, held_out)
    assert 0.5 <= found.mege <= 1
    assert found.reco is None or 0 <= found.reco <= 1
    turned = mege_reco(distance.roll(1, 0), right.roll(1, 0), (held_out + 1) % 3)
    assert abs(turned.mege - found.mege) < 1e-6
    assert turned.reco == found.reco or abs(turned.reco - found.reco) < 1e-6


@given(st.integers(2, 3), arrays(np.float32, (3, 4, 1, 5, 5), elements=UNIT))
def test_distances_of_maps_lie_in_0_to_1_and_only_a_models_own_is_unknown(models, maps):
    maps = torch.tensor(maps)[:models]
    held_out = torch.arange(4) % models
    found = distances(maps, held_out)
    known = ~found.isnan()
    assert int((~known).sum()) == 4
    assert ((found[known] >= 0) & (found[known] <= 1)).all()
