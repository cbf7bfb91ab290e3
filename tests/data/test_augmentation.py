import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as T

from lficam.data.augmentation import AUGMENTATIONS, augment, crop, evaluation_crop, random_resized_boxes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count, size, seed=0):
    return torch.randint(0, 256, (count, 3, size, size), generator=generator(seed), dtype=torch.uint8)


def square(images):
    return torch.full((len(images), 2), float(images.shape[-1]))


def as_bytes(images):
    """Back to the 256 levels; fails where a pixel is not one of them (sampling coordinates are rounded, so 1e-3 of the range)."""
    levels = images * 255
    assert (levels - levels.round()).abs().max() < 0.255
    return levels.round().to(torch.uint8)


def test_center_crop_of_a_square_image_cuts_off_its_border():
    images = noise(2, 256)
    assert torch.equal(as_bytes(evaluation_crop(images, square(images), 224, "resized-crop-flip")), images[:, :, 16:240, 16:240])


def test_center_crop_of_an_image_of_the_right_size_is_the_image():
    images = noise(2, 32)
    assert torch.equal(evaluation_crop(images, square(images), 32, "crop-flip"), images.float() / 255)


@pytest.mark.parametrize(("height", "width"), [(128, 256), (256, 128), (128, 192), (512, 128)])
def test_center_crop_of_a_squashed_photograph_is_torchvisions(height, width):
    """Ramps, since those survive squashing and resizing: their value says where a pixel lies in the original."""
    across = torch.linspace(0, 1, width).expand(height, width)
    down = torch.linspace(0, 1, height)[:, None].expand(height, width)
    photograph = torch.stack([across, down, torch.zeros_like(down)])[None]
    # Resize(256), CenterCrop(224) at half the size
    expected = T.center_crop(T.resize(photograph, 128, antialias=True), 112)
    squashed = F.interpolate(photograph, (128, 128), mode="bilinear", antialias=True)
    kept = (squashed * 255).round().to(torch.uint8)
    cropped = evaluation_crop(kept, torch.tensor([[float(height), float(width)]]), 112, "resized-crop-flip")
    assert cropped.shape == (1, 3, 112, 112)
    assert (cropped - expected).abs().max() < 1.5 / 255  # half a level lost by rounding to bytes, and the resampling


def test_the_shape_of_each_photograph_counts_for_itself():
    images = noise(1, 64).repeat(3, 1, 1, 1)
    shapes = torch.tensor([[100.0, 100.0], [100.0, 300.0], [300.0, 100.0]])
    together = evaluation_crop(images, shapes, 56, "resized-crop-flip")
    for i in range(3):
        assert torch.allclose(
            together[i : i + 1], evaluation_crop(images[i : i + 1], shapes[i : i + 1], 56, "resized-crop-flip"), atol=1e-6
        )
    assert not torch.allclose(together[0], together[1], atol=0.1)


def test_cropping_a_quarter_is_slicing():
    images = noise(4, 16)
    boxes = torch.tensor([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 0.5], [0.5, 0, 0.5, 0.5], [0.25, 0.125, 0.5, 0.5]])
    expected = torch.stack([images[0, :, :8, :8], images[1, :, :8, 8:], images[2, :, 8:, :8], images[3, :, 4:12, 2:10]])
    assert torch.equal(as_bytes(crop(images, boxes, 8)), expected)


def test_flipping_is_exact_and_for_each_image():
    images = noise(3, 16)
    whole = torch.tensor([[0.0, 0, 1, 1]]).repeat(3, 1)
    flipped = as_bytes(crop(images, whole, 16, torch.tensor([True, False, True])))
    assert torch.equal(flipped, torch.stack([images[0].flip(-1), images[1], images[2].flip(-1)]))


def test_a_flipped_crop_is_the_flip_of_the_crop():
    images = noise(1, 16)
    box = torch.tensor([[0.25, 0.5, 0.5, 0.5]])
    assert torch.equal(as_bytes(crop(images, box, 8, torch.tensor([True]))), images[:, :, 4:12, 8:].flip(-1))


def test_outside_the_image_it_is_black():
    images = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    shifted = as_bytes(crop(images, torch.tensor([[-0.25, 0.5, 1, 1]]), 8))
    expected = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    expected[:, :, 2:, :4] = 255
    assert torch.equal(shifted, expected)


def every_shift(image, padding=4):
    """The 81 crops that RandomCrop(size, padding=4) can give."""
    size = image.shape[-1]
    padded = F.pad(image, [padding] * 4)
    steps = range(2 * padding + 1)
    return torch.stack([padded[:, i : i + size, j : j + size] for i in steps for j in steps])


def which(image, candidates):
    return (candidates == image).flatten(1).all(1).nonzero().flatten().tolist()


@pytest.mark.parametrize(("augmentation", "flips"), [("crop", False), ("crop-flip", True)])
def test_crops_are_integer_shifts_of_the_padded_image(augmentation, flips):
    count = 2000
    image = noise(1, 12)[0]
    images = image.expand(count, -1, -1, -1)
    augmented = as_bytes(augment(images, square(images), 12, augmentation, generator()))
    candidates = every_shift(image)
    if flips:
        candidates = torch.cat([candidates, candidates.flip(-1)])
    found = [which(one, candidates) for one in augmented]
    assert {len(matches) for matches in found} == {1}  # each is one of them, and we can tell which
    seen = torch.bincount(torch.tensor(found).flatten(), minlength=len(candidates)).double()
    # Uniform: chi-squared with n - 1 degrees of freedom has mean n - 1 and variance 2 (n - 1); five standard deviations.
    freedom = len(candidates) - 1
    expected = count / len(candidates)
    assert abs(((seen - expected) ** 2 / expected).sum().item() - freedom) < 5 * (2 * freedom) ** 0.5


def test_without_augmentation_training_sees_the_test_crop():
    images = noise(2, 32)
    for size in (32, 28):
        assert torch.equal(
            augment(images, square(images), size, "none", generator()), evaluation_crop(images, square(images), size, "none")
        )


def test_resized_crops_flip_every_second_image():
    count = 1000
    ramp = torch.linspace(0, 255, 32).round().to(torch.uint8).expand(count, 3, 32, 32)
    augmented = augment(ramp, square(ramp), 32, "resized-crop-flip", generator())
    flipped = (augmented[:, 0, 16, 24] < augmented[:, 0, 16, 8]).double().mean().item()
    assert flipped == pytest.approx(0.5, abs=5 * (0.25 / count) ** 0.5)


@pytest.mark.parametrize("augmentation", [name for name in AUGMENTATIONS if name != "none"])
def test_the_same_seed_gives_the_same_crops(augmentation):
    images = noise(8, 32)
    first, again, other = (augment(images, square(images), 32, augmentation, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (8, 3, 32, 32)
    assert first.dtype == torch.float32
    assert 0 <= first.min() <= first.max() <= 1


def test_augmentation_leaves_the_global_generator_alone():
    images = noise(4, 32)
    before = torch.get_rng_state()
    for augmentation in AUGMENTATIONS:
        augment(images, square(images), 32, augmentation, generator())
    assert torch.equal(torch.get_rng_state(), before)


def torchvision_boxes(height, width, count):
    """(count, 4) as shares, by torchvision itself."""
    image = torch.empty(3, height, width, device="meta")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        boxes = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    return torch.tensor(boxes, dtype=torch.float64) / torch.tensor([height, width, height, width])


def largest_difference(a, b):
    """Between the shares of both samples that lie below each of 200 levels (Kolmogorov and Smirnov's statistic)."""
    together = torch.cat([a, b])
    levels = torch.linspace(together.min().item() - 0.001, together.max().item() + 0.001, 200, dtype=torch.float64)
    below = [torch.searchsorted(sample.sort().values, levels).double() / len(sample) for sample in (a, b)]
    return (below[0] - below[1]).abs().max().item()


# Square; a usual photograph; one where all ten tries fail now and then; a mild one whose fallback is rare.
@pytest.mark.parametrize(("height", "width"), [(1000, 1000), (1200, 900), (600, 3000), (3000, 600), (800, 1600)])
def test_boxes_are_distributed_as_torchvisions(height, width):
    ours, theirs = 20_000, 4_000
    boxes = random_resized_boxes(torch.tensor([[height, width]]).float().expand(ours, 2), generator()).double()
    reference = torchvision_boxes(height, width, theirs)
    for measure in (
        lambda box: box[:, 2] * box[:, 3],  # share of the area
        lambda box: (box[:, 3] * width) / (box[:, 2] * height),  # aspect ratio, width by height, in pixels
        lambda box: box[:, 0],
        lambda box: box[:, 1],
        lambda box: box[:, 0] - box[:, 1],  # top and left do not depend on each other
        lambda box: box[:, 2],
        lambda box: box[:, 3],
    ):
        a, b = measure(boxes), measure(reference)
        # Two samples of one distribution differ by more than 2.2 sqrt(1/n + 1/m) in one of 8,000 cases.
        assert largest_difference(a, b) < 2.2 * (1 / ours + 1 / theirs) ** 0.5
        error = (a.var() / ours + b.var() / theirs).sqrt().item()
        assert a.mean().item() == pytest.approx(b.mean().item(), abs=5 * error + 1e-3)  # torchvision rounds to pixels


@pytest.mark.parametrize(("height", "width"), [(100, 2000), (2000, 100)])
def test_an_extreme_panorama_gives_torchvisions_fallback(height, width):
    boxes = random_resized_boxes(torch.tensor([[height, width]]).float().expand(50, 2), generator())
    reference = torchvision_boxes(height, width, 50).float()
    assert torch.equal(reference, reference[:1].expand(50, 4))
    assert (boxes - reference).abs().max() < 1 / 2000  # it rounds to pixels


def test_boxes_stay_inside_the_image():
    shapes = torch.rand(5000, 2, generator=generator(3)) * 1000 + 50
    top, left, height, width = random_resized_boxes(shapes, generator()).unbind(1)
    assert min(top.min(), left.min()) >= 0
    assert min(height.min(), width.min()) > 0
    assert max((top + height).max(), (left + width).max()) <= 1 + 1e-6
    aspect = width * shapes[:, 1] / (height * shapes[:, 0])
    assert aspect.min() >= 3 / 4 - 1e-4
    assert aspect.max() <= 4 / 3 + 1e-4


def test_every_image_gets_its_own_box():
    boxes = random_resized_boxes(torch.full((100, 2), 256.0), generator())
    assert len(boxes.unique(dim=0)) == 100
