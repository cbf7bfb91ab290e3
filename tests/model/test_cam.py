import pytest
import torch

from lficam.model.cam import class_activation_map, mean_feature_map, normalize_channels, normalize_map, resize_map


def planes(*rows):
    """One (1, 1, u, v) map from its rows."""
    return torch.tensor([[list(rows)]], dtype=torch.float64)


def bilinear(cam, height, width):
    """The definition: half-pixel centers, the border pixel repeated outside (align_corners=False)."""
    u, v = len(cam), len(cam[0])

    def neighbours(i, old, new):
        source = max((i + 0.5) * old / new - 0.5, 0)
        low = int(source)
        return low, min(low + 1, old - 1), source - low

    resized = []
    for i in range(height):
        top, bottom, down = neighbours(i, u, height)
        row = []
        for j in range(width):
            left, right, across = neighbours(j, v, width)
            above = cam[top][left] * (1 - across) + cam[top][right] * across
            below = cam[bottom][left] * (1 - across) + cam[bottom][right] * across
            row.append(above * (1 - down) + below * down)
        resized.append(row)
    return resized


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (planes([1, 2], [3, 5]), planes([0, 0.25], [0.5, 1])),
        (planes([-2, 0], [2, 6]), planes([0, 0.25], [0.5, 1])),
        (planes([0, 0, 0, 8]), planes([0, 0, 0, 1])),
        (planes([-3], [-1]), planes([0], [1])),
    ],
)
def test_min_max_of_hand_worked_planes(given, expected):
    assert torch.equal(normalize_map(given), expected)
    assert torch.equal(normalize_channels(given), expected)


def test_every_plane_is_normalised_by_its_own_range():
    together = torch.cat([planes([0, 1], [2, 4]), planes([-100, 0], [100, 300]), planes([7, 7], [7, 7])], 1).repeat(2, 1, 1, 1)
    expected = torch.cat([planes([0, 0.25], [0.5, 1]), planes([0, 0.25], [0.5, 1]), planes([0, 0], [0, 0])], 1).repeat(2, 1, 1, 1)
    assert torch.equal(normalize_map(together), expected)


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, 1e-30, 1e30])
def test_a_constant_map_says_nothing(value):
    assert torch.equal(normalize_map(torch.full((2, 3, 4, 5), value)), torch.zeros(2, 3, 4, 5))


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (-0.0, 0.0), (3.0, 1.0), (-2.0, 1.0), (1e-30, 1.0), (1e30, 1.0)])
def test_a_constant_channel_masks_nothing_and_a_zero_channel_everything(value, expected):
    assert torch.equal(normalize_channels(torch.full((2, 3, 4, 5), value)), torch.full((2, 3, 4, 5), expected))


def test_a_constant_channel_leaves_its_neighbours_alone():
    features = torch.cat([planes([5, 5], [5, 5]), planes([0, 2], [4, 8]), planes([0, 0], [0, 0])], 1)
    expected = torch.cat([planes([1, 1], [1, 1]), planes([0, 0.25], [0.5, 1]), planes([0, 0], [0, 0])], 1)
    assert torch.equal(normalize_channels(features), expected)


@pytest.mark.parametrize("normalize", [normalize_map, normalize_channels])
@pytest.mark.parametrize("value", [0.0, 2.0])
def test_constant_planes_have_finite_gradients(normalize, value):
    constant = torch.full((1, 1, 3, 3), value, requires_grad=True)
    normalize(constant).sum().backward()
    assert torch.isfinite(constant.grad).all()


def test_class_activation_map_of_two_channels_worked_by_hand():
    features = torch.cat([planes([1, 2], [3, 4]), planes([4, 0], [0, -10])], 1)
    # w = (1/2, 1/2): the sum is [[2.5, 1], [1.5, -3]], and without its ReLU the lowest value would be -3.
    cam = class_activation_map(features, torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    assert torch.allclose(cam, planes([1, 0.4], [0.6, 0]), atol=1e-15)


def test_class_activation_map_uses_the_importance_of_its_own_image():
    features = torch.cat([planes([1, 0], [0, 0]), planes([0, 0], [0, 1])], 1).repeat(2, 1, 1, 1)
    cam = class_activation_map(features, torch.tensor([[1.0, 0], [0, 1]], dtype=torch.float64))
    assert torch.equal(cam, torch.cat([planes([1, 0], [0, 0]), planes([0, 0], [0, 1])]))


def test_class_activation_map_without_positive_evidence_is_zero():
    cam = class_activation_map(torch.tensor([[[[-1.0, -2.0]]]]), torch.ones(1, 1))
    assert torch.equal(cam, torch.zeros(1, 1, 1, 2))


def test_mean_feature_map_worked_by_hand():
    features = torch.cat([planes([1, 2], [3, 4]), planes([3, 2], [1, -8])], 1)
    # The means are [[2, 2], [2, -2]].
    assert torch.equal(mean_feature_map(features), planes([1, 1], [1, 0]))


def test_resize_map_of_two_pixels_worked_by_hand():
    assert torch.allclose(resize_map(torch.tensor([[[[0.0, 1.0]]]]), (1, 4)), torch.tensor([[[[0, 0.25, 0.75, 1]]]]))


@pytest.mark.parametrize("size", [(4, 5), (9, 7), (8, 10), (3, 2), (1, 1), (13, 2)])
def test_resize_map_is_bilinear_and_normalised_again(size):
    cam = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    resized = resize_map(cam, size)
    for n in range(2):
        expected = torch.tensor(bilinear(cam[n, 0].tolist(), *size), dtype=torch.float64)
        low, high = expected.min(), expected.max()
        expected = (expected - low) / (high - low) if high > low else torch.zeros(size)
        assert torch.allclose(resized[n, 0].double(), expected.double(), atol=1e-5)


def test_resize_map_of_a_constant_map_is_zero():
    assert torch.equal(resize_map(torch.full((1, 1, 3, 3), 0.3), (7, 5)), torch.zeros(1, 1, 7, 5))
