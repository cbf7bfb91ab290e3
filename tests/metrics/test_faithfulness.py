import math

import pytest
import torch
from helpers import with_random_statistics
from torch import nn
from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric

import lficam
from lficam.errors import InputError
from lficam.metrics.faithfulness import HIGHER_IS_BETTER, blurred, faithfulness, insertion_deletion
from lficam.model.cam import resize_map


class Linear(nn.Module):
    """logits = (weights * image summed, 0): each pixel adds its own share, whatever the others are."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float32))  # (h, w), of the red channel

    def forward(self, x):
        score = (self.weights * x[:, 0]).sum((1, 2))
        return torch.stack([score, torch.zeros_like(score)], 1)


def maps(*images):
    return torch.tensor([[image] for image in images], dtype=torch.float32)


def white(count, h, w):
    return torch.ones(count, 3, h, w)


def classes(*labels):
    return torch.tensor(labels, dtype=torch.int64)


def test_a_covered_pixel_shows_what_lies_under_the_image():
    # The first pixel decides: log 3 in the image, -log 3 under it, so probabilities of 3/4 and 1/4.
    model, images, cam = Linear(FIRST), white(1, 1, 4), maps(FALLING)
    found = insertion_deletion(model, images, cam, classes(0), under=-white(1, 1, 4))
    assert found["insertion"].item() == pytest.approx((0.25 + 0.75) / 2 / 4 + 0.75 * 3 / 4)
    assert found["deletion"].item() == pytest.approx((0.75 + 0.25) / 2 / 4 + 0.25 * 3 / 4)
    hidden = insertion_deletion(model, images, cam, classes(0), under=images)  # nothing is
    assert hidden["insertion"].item() == hidden["deletion"].item() == pytest.approx(0.75)
    zero = insertion_deletion(model, images, cam, classes(0), under=torch.zeros(1, 3, 1, 1))
    both = faithfulness(model, images, cam, classes(0))
    assert all(torch.equal(value, both[name]) for name, value in zero.items())


def test_a_blurred_image_keeps_its_mean_and_loses_its_details():
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    soft = blurred(images)
    assert soft.shape == images.shape
    assert soft.mean((2, 3)).flatten().tolist() == pytest.approx(images.mean((2, 3)).flatten().tolist(), abs=0.02)
    assert soft.std() < images.std() / 5
    flat = torch.full((1, 3, 28, 28), 0.25)
    assert torch.allclose(blurred(flat), flat, atol=1e-6)


def small_model():
    torch.manual_seed(0)
    model = with_random_statistics(lficam.LFICAM(lficam.trunk("cifar_resnet8"), num_classes=4)).eval()
    nn.init.normal_(model.fc.weight)  # else all probabilities are nearly the same, whatever is covered
    return model


def small_input(count=3, size=28):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, size, size, generator=generator), torch.rand(count, 1, 7, 7, generator=generator)


LOG3 = math.log(3)  # a logit of log 3 against 0 is a probability of 3/4, one of 0 of 1/2
FIRST, LAST = [[LOG3, 0, 0, 0]], [[0, 0, 0, LOG3]]
FALLING, RISING, FLAT = [[1, 0.6, 0.3, 0]], [[0, 0.3, 0.6, 1]], [[0, 0, 0, 0]]
SOON, LATE = (0.5 + 0.75) / 2 / 4 + 0.75 * 3 / 4, 0.5 * 3 / 4 + (0.5 + 0.75) / 2 / 4  # areas: 3/4 from the 1st or last quarter on


@pytest.mark.parametrize(
    ("weights", "label", "cam", "expected"),
    [
        (FIRST, 0, FALLING, {"insertion": SOON, "deletion": LATE, "average_drop": 0, "increase": 0}),
        (FIRST, 0, RISING, {"insertion": LATE, "deletion": SOON, "average_drop": 1 / 3, "increase": 0}),  # 3/4 -> 1/2
        (FIRST, 1, RISING, {"insertion": 1 - LATE, "deletion": 1 - SOON, "average_drop": 0, "increase": 1}),  # 1/4 -> 1/2
        (FIRST, 0, FLAT, {"insertion": SOON, "deletion": LATE, "average_drop": 1 / 3, "increase": 0}),  # from the left
        (LAST, 0, FLAT, {"insertion": LATE, "deletion": SOON, "average_drop": 1 / 3, "increase": 0}),
        (LAST, 0, [[7, 7, 7, 7]], {"insertion": LATE, "deletion": SOON, "average_drop": 1 / 3, "increase": 0}),
        (LAST, 0, [[1, 1, 1, 3]], {"insertion": SOON, "deletion": LATE, "average_drop": 0, "increase": 0}),  # the peak becomes 1
    ],
)
def test_worked_by_hand(weights, label, cam, expected):
    found = faithfulness(Linear(weights), white(1, 1, 4), maps(cam), classes(label), steps=4)
    assert found.keys() == expected.keys() == HIGHER_IS_BETTER.keys()
    for metric, value in expected.items():
        assert found[metric].item() == pytest.approx(value, abs=1e-6), metric


def naive_probability(model, image, label):
    powers = [math.exp(value) for value in model(image.unsqueeze(0))[0].tolist()]
    return powers[label] / sum(powers)


def naive_area(heights, shares):
    return sum((heights[i] + heights[i - 1]) / 2 * (shares[i] - shares[i - 1]) for i in range(1, len(heights)))


@torch.no_grad()
def naive(model, image, cam, label, steps):
    """The four numbers of one image (3, h, w) and its map (h, w), pixel by pixel."""
    h, w = cam.shape
    pixels = sorted(((i, j) for i in range(h) for j in range(w)), key=lambda pixel: -cam[pixel].item())  # sorted is stable
    size = math.ceil(len(pixels) / steps)
    counts = [*range(0, len(pixels), size), len(pixels)]
    deletion, insertion = [], []
    for count in counts:
        covered, uncovered = image.clone(), torch.zeros_like(image)
        for i, j in pixels[:count]:
            covered[:, i, j] = 0
            uncovered[:, i, j] = image[:, i, j]
        deletion.append(naive_probability(model, covered, label))
        insertion.append(naive_probability(model, uncovered, label))
    product = image.clone()
    for i, j in pixels:
        product[:, i, j] *= cam[i, j]
    before, after = naive_probability(model, image, label), naive_probability(model, product, label)
    shares = [count / len(pixels) for count in counts]
    return {
        "insertion": naive_area(insertion, shares),
        "deletion": naive_area(deletion, shares),
        "average_drop": max(0, before - after) / (before + 1e-7),
        "increase": float(after > before),
    }


def check_against_naive(model, images, cams, labels, steps, tolerance):
    found = faithfulness(model, images, cams, labels, steps)
    shown = resize_map(cams, images.shape[-2:])
    for n in range(len(images)):
        expected = naive(model, images[n], shown[n, 0], labels[n].item(), steps)
        for metric, values in found.items():
            assert values[n].item() == pytest.approx(expected[metric], abs=tolerance), (n, metric)
    return found


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 20])  # 3 steps of 5 pixels: 2, 2, 1; 20 are more than there are pixels
def test_the_definition_written_out_on_a_linear_model(steps):
    model = Linear([[0.9, -1.3, 0.4, 2.0, -0.6]])
    images = torch.randn(4, 3, 1, 5, generator=torch.Generator().manual_seed(2))
    cams = maps([[0.2, 1, 0, 0.5, 0.8]], [[1, 1, 0, 0.5, 0.5]], [[0, 0, 0, 0, 0]], [[0, 0, 1, 0, 0]])
    found = check_against_naive(model, images, cams, classes(0, 1, 1, 0), steps, 1e-6)
    assert found["increase"].unique().tolist() == [0, 1]  # both cases are in it


@pytest.mark.parametrize("steps", [20, 50])  # 50 steps are more covered images than one forward pass takes
def test_the_definition_written_out_on_an_lfi_cam(steps):
    images, cams = small_input()
    model = small_model()
    found = check_against_naive(model, images, cams, model(images).argmax(1), steps, 1e-5)
    for metric in ("insertion", "deletion", "average_drop"):
        assert found[metric].std() > 0.01


def test_the_mean_is_that_of_torchcam_over_the_batch():
    model, labels, (images, cams) = small_model(), classes(1, 0, 3), small_input()
    shown = resize_map(cams, (28, 28)).squeeze(1)

    class Maps:
        _hooks_off = torch.no_grad

        def __init__(self):
            self.model = model

        def __call__(self, class_idx, scores):
            return [shown]

        def fuse_cams(self, cams):
            return cams[0]

    expected = {}
    for metric in (DeletionInsertionMetric, ClassificationMetric):
        whole = metric(Maps(), lambda logits: logits.softmax(1))
        whole.update(images, labels.tolist())
        expected |= whole.summary()
    means = {metric: values.mean().item() for metric, values in faithfulness(model, images, cams, labels).items()}
    assert means["insertion"] == pytest.approx(expected["insertion_auc"], abs=1e-6)
    assert means["deletion"] == pytest.approx(expected["deletion_auc"], abs=1e-6)
    assert means["average_drop"] == pytest.approx(expected["avg_drop"], abs=1e-6)
    assert means["increase"] == pytest.approx(expected["conf_increase"], abs=1e-6)


def test_the_map_of_the_area_that_decides_is_more_faithful_than_its_inverse():
    weights = torch.zeros(8, 8)
    weights[2:5, 3:6] = 0.5
    area = (weights > 0).float().expand(2, 1, 8, 8)
    images = 0.5 + torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))  # brighter than what covers it
    model = Linear(weights.tolist())
    right = faithfulness(model, images, area, classes(0, 0))
    wrong = faithfulness(model, images, 1 - area, classes(0, 0))
    for metric in ("insertion", "deletion", "average_drop"):
        better = right[metric] > wrong[metric] if HIGHER_IS_BETTER[metric] else right[metric] < wrong[metric]
        assert better.all(), metric
    # The other class gains where the first loses: it rests on what is covered by the map, not on what is left.
    assert faithfulness(model, images, 1 - area, classes(1, 1))["increase"].tolist() == [1, 1]
    assert faithfulness(model, images, area, classes(1, 1))["increase"].tolist() == [0, 0]


def test_no_value_depends_on_the_other_images():
    model, labels, (images, cams) = small_model(), classes(1, 0, 3), small_input()
    together = faithfulness(model, images, cams, labels)
    for n in range(3):
        alone = faithfulness(model, images[n : n + 1], cams[n : n + 1], labels[n : n + 1])
        for metric in together:
            assert alone[metric].item() == together[metric][n].item(), metric


def test_float32_on_the_cpu_and_nothing_of_the_caller_is_changed():
    model, (images, cams) = small_model(), small_input()
    expected = faithfulness(model, images, cams, classes(0, 0, 0), steps=5)
    model.train()
    model.fc.eval()
    model.trunk.eval()
    modes = [part.training for part in model.modules()]
    weights = {key: value.clone() for key, value in model.state_dict().items()}  # the batch norms' statistics too
    before = images.clone(), cams.clone(), torch.get_rng_state()
    found = faithfulness(model, images, cams, classes(0, 0, 0), steps=5)
    for metric, values in found.items():
        assert torch.equal(values, expected[metric])  # in evaluation mode
        assert (values.dtype, values.device.type, values.shape) == (torch.float32, "cpu", (3,))
        assert not values.requires_grad
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip((images, cams, torch.get_rng_state()), before, strict=True))


def test_modes_come_back_after_an_error():
    model = small_model().train()
    images, cams = small_input()
    with pytest.raises(InputError):
        faithfulness(model, images, cams, classes(0, 0, 4))
    assert all(part.training for part in model.modules())


def test_abn_and_any_other_classifier_work():
    torch.manual_seed(0)
    model = lficam.ABN(lficam.trunk("cifar_resnet8"), num_classes=4).eval()
    images, cams = small_input()
    check_against_naive(model, images, cams, classes(0, 1, 2), 4, 1e-5)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 2))
    check_against_naive(flat, images, cams, classes(0, 1, 0), 4, 1e-5)


IMAGES, CAMS = white(2, 4, 4), torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize(
    ("images", "cams", "labels", "steps", "message"),
    [
        (IMAGES, CAMS * math.nan, classes(0, 0), 4, "map 0 .* NaN"),
        (IMAGES, CAMS[:, 0], classes(0, 0), 4, r"\(2, 4, 4\)"),
        (IMAGES, CAMS[:1], classes(0, 0), 4, "1 maps for 2 images"),
        (IMAGES[:, :1], CAMS, classes(0, 0), 4, r"images are \(2, 1, 4, 4\)"),
        (IMAGES[0], CAMS, classes(0, 0), 4, r"images are \(3, 4, 4\)"),
        (IMAGES[:0], CAMS[:0], classes(), 4, "at least one"),
        (IMAGES, CAMS, classes(0), 4, r"classes are \(1,\).*\(2,\)"),
        (IMAGES, CAMS, torch.zeros(2), 4, "torch.float32: expected .*int64"),
        (IMAGES, CAMS, classes(0, -1), 4, "class -1"),
        (IMAGES, CAMS, classes(0, 2), 4, r"\(1, 2\): .*class 2"),
        (IMAGES, CAMS, classes(0, 0), 0, "steps=0"),
    ],
)
def test_what_cannot_be_measured_is_refused(images, cams, labels, steps, message):
    with pytest.raises(InputError, match=message):
        faithfulness(Linear([[0.0] * 4] * 4), images, cams, labels, steps)


def test_a_model_that_returns_no_logits_is_refused():
    with pytest.raises(InputError, match=r"returned \(1, 3, 4, 4\): expected logits"):
        faithfulness(nn.Identity(), IMAGES, CAMS, classes(0, 0))
