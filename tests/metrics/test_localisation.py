import pytest
import torch

from lficam.errors import InputError
from lficam.metrics.localisation import energy, pointing


def maps(*images):
    return torch.tensor([[image] for image in images], dtype=torch.float32)


def masks(*images):
    return maps(*images).bool()


@pytest.mark.parametrize(
    ("cam", "mask", "expected"),
    [
        ([[1, 0.9], [0.2, 0]], [[1, 0], [0, 0]], 1),
        ([[1, 0.9], [0.2, 0]], [[0, 1], [1, 1]], 0),
        ([[0.4, 0.1], [0.2, 0]], [[1, 0], [0, 0]], 1),  # the peak needs not be 1
        ([[1, 1], [0, 0]], [[1, 0], [1, 1]], 1 / 2),  # two peaks, one inside
        ([[1, 1], [1, 0]], [[1, 0], [1, 1]], 2 / 3),
        ([[0, 0], [0, 0]], [[1, 0], [0, 0]], 1 / 4),  # a map without a peak points everywhere: chance
        ([[1, 0], [0, 0]], [[0, 0], [0, 0]], 0),
        ([[1, 0], [0, 0]], [[1, 1], [1, 1]], 1),
    ],
)
def test_pointing_worked_by_hand(cam, mask, expected):
    assert pointing(maps(cam), masks(mask)).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cam", "mask", "expected"),
    [
        ([[1, 0.5], [0.5, 0]], [[1, 1], [0, 0]], 3 / 4),
        ([[1, 0.5], [0.5, 0]], [[0, 0], [0, 1]], 0),
        ([[1, 0.5], [0.5, 0]], [[1, 1], [1, 0]], 1),
        ([[0.2, 0.2], [0.2, 0.2]], [[1, 0], [0, 0]], 1 / 4),
        ([[0, 0], [0, 0]], [[1, 1], [0, 0]], 0),
        ([[1, 0.5], [0.5, 0]], [[0, 0], [0, 0]], 0),
    ],
)
def test_energy_worked_by_hand(cam, mask, expected):
    assert energy(maps(cam), masks(mask)).item() == pytest.approx(expected)
    assert energy(maps(cam) * 3, masks(mask)).item() == pytest.approx(expected)  # a share has no unit


def test_both_are_one_number_an_image():
    cam = maps([[1, 0.5], [0.5, 0]], [[0, 0], [0, 0]], [[1, 1], [0, 0]])
    mask = masks([[1, 1], [0, 0]], [[1, 1], [0, 0]], [[0, 1], [0, 1]])
    assert torch.allclose(pointing(cam, mask), torch.tensor([1, 1 / 2, 1 / 2]))
    assert torch.allclose(energy(cam, mask), torch.tensor([3 / 4, 0, 1 / 2]))


@pytest.mark.parametrize("metric", [pointing, energy])
def test_shapes_must_agree(metric):
    with pytest.raises(InputError, match=r"\(2, 1, 4, 4\) and \(2, 1, 8, 8\)"):
        metric(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 8, 8, dtype=torch.bool))
    with pytest.raises(InputError, match=r"\(4, 4\)"):
        metric(torch.zeros(4, 4), torch.zeros(4, 4, dtype=torch.bool))
    with pytest.raises(InputError, match=r"\(2, 3, 4, 4\)"):
        metric(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.bool))


@pytest.mark.parametrize("metric", [pointing, energy])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
def test_a_mask_is_true_or_false(metric, dtype):
    with pytest.raises(InputError, match=rf"torch\.bool, got {dtype}"):
        metric(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2, dtype=dtype))
