"""Does a map say what the model's answer rests on? Metrics that cover parts of the image, one number an image.

They are torchcam's, which keeps sums over images; the adapter here gives it maps that are already made, by any method, one at a
time. Maps (N, 1, u, v) in [0, 1].
Sources: Petsiuk, Das, Saenko, "RISE", BMVC 2018 (insertion, deletion); Chattopadhay et al., "Grad-CAM++", WACV 2018 (average
drop, increase in confidence).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric
from torchvision.transforms.v2.functional import gaussian_blur

from lficam.errors import InputError
from lficam.model.cam import check_maps, resize_map
from lficam.model.devices import device_of

HIGHER_IS_BETTER = {"insertion": True, "deletion": False, "average_drop": False, "increase": True}
CHUNK = 64  # covered images in one forward pass: the 39 of 20 steps need only one


def faithfulness(model: nn.Module, images: Tensor, cams: Tensor, classes: Tensor, steps: int = 20) -> dict[str, Tensor]:
    """How the probability of a class follows the map when parts of the image are covered: metric -> (N,) float32, on the CPU.

    model: normalised images -> logits (N, C); probabilities are their softmax. It is used in evaluation mode, on the device of its
        parameters, and comes back as it was.
    images: (N, 3, h, w), normalised. Covered means 0, which is the data set's mean colour.
    cams: (N, 1, u, v), brought to the image's size by `resize_map`, so that every peak is 1.
    classes: (N,) int64, the class whose probability is watched, such as the predicted one.
    steps: at most so many parts, of equal numbers of pixels, in which the image is uncovered or covered.

    insertion, deletion: as `insertion_deletion` has them.
    average_drop: share of the probability that is lost when the image is multiplied by the map; in [0, 1] where the source gives
        percent, lower is better.
    increase: 1 if that product makes the probability larger, else 0; higher is better.

    A constant map normalises to 0, so its average drop and increase are those of an image all covered.
    Every image is worked on by itself: no value depends on the others.
    Raises InputError for shapes that do not fit together, maps that are not finite, or a class the model does not have.
    """
    areas = insertion_deletion(model, images, cams, classes, steps)
    return areas | _summaries(model, ClassificationMetric, images, cams, classes, average_drop="avg_drop", increase="conf_increase")


def insertion_deletion(
    model: nn.Module, images: Tensor, cams: Tensor, classes: Tensor, steps: int = 20, under: Tensor | None = None
) -> dict[str, Tensor]:
    """Two of the metrics of `faithfulness`, whose arguments and errors are the same.

    under: what a covered pixel shows, broadcast to the images, such as `blurred(images)`; 0 when left out. What a model makes of
        covered images is its own habit: look at more than one.

    insertion: area under the probability while pixels are uncovered, highest value first; in [0, 1], higher is better.
    deletion: the same while they are covered, highest value first; in [0, 1], lower is better.

    Pixels of equal value go row by row from the top left. So a constant map, which ranks nothing, is not left out: its insertion
    and deletion are those of that order.
    """
    if steps < 1:
        raise InputError(f"steps={steps}: expected 1 or more, usually 20")
    metric = partial(DeletionInsertionMetric, steps=steps, batch_size=CHUNK)
    return _summaries(model, metric, images, cams, classes, under, insertion="insertion_auc", deletion="deletion_auc")


@torch.no_grad()
def _summaries(
    model: nn.Module,
    metric_of: Callable[..., ClassificationMetric | DeletionInsertionMetric],
    images: Tensor,
    cams: Tensor,
    classes: Tensor,
    under: Tensor | None = None,
    **names: str,
) -> dict[str, Tensor]:
    """What one of torchcam's metrics says of each image. names: ours -> torchcam's."""
    check_maps(cams)
    check_classes(images, classes)
    if len(cams) != len(images):
        raise InputError(f"{len(cams)} maps for {len(images)} images: expected one map for each image")
    device = device_of(model)
    highest = int(classes.max())

    def probabilities(logits: Tensor) -> Tensor:
        if logits.ndim != 2 or logits.shape[1] <= highest:
            raise InputError(f"the model returned {tuple(logits.shape)}: expected logits (N, C) with C above class {highest}")
        return logits.float().softmax(1)

    maps = _Maps(model)
    metric, rows = metric_of(maps, probabilities), []
    canvases = [None] * len(images) if under is None else under.to(device).expand_as(images).split(1)
    for image, canvas, cam, label in zip(images.split(1), canvases, cams.split(1), classes.tolist(), strict=True):
        image = image.to(device)  # (1, 3, h, w)
        if canvas is not None:
            metric.baseline = canvas
        maps.cam = resize_map(cam.to(device), image.shape[-2:]).squeeze(1)  # (1, h, w)
        metric.reset()
        metric.update(image, label)
        found = metric.summary()
        rows.append([found[name] for name in names.values()])
    return dict(zip(names, torch.tensor(rows).unbind(1), strict=True))


def blurred(images: Tensor) -> Tensor:
    """Images (N, 3, h, w) without their details, as insertion begins in RISE: by a Gaussian, standard deviation h / 10."""
    side = images.shape[-2]
    return gaussian_blur(images, kernel_size=2 * (side // 4) + 1, sigma=side / 10)


class _Maps:
    """What torchcam's metrics ask of a method that makes maps: here it returns the one that was put into `cam` (1, h, w)."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.cam = torch.empty(0)

    def __call__(self, class_idx: int, scores: Tensor) -> list[Tensor]:
        return [self.cam]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        return cams[0]

    def _hooks_off(self) -> AbstractContextManager[None]:
        return nullcontext()


def check_classes(images: Tensor, classes: Tensor) -> None:
    """Raises InputError unless images are (N, 3, h, w), N at least 1, and classes (N,) int64, none of them negative."""
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise InputError(f"images are {tuple(images.shape)}: expected (N, 3, h, w), at least one")
    if classes.shape != images.shape[:1] or classes.dtype != torch.int64:
        raise InputError(
            f"classes are {tuple(classes.shape)} of {classes.dtype}: expected ({len(images)},) of torch.int64, one for each image"
        )
    if classes.min() < 0:
        raise InputError(f"class {int(classes.min())}: expected 0 or more, an index into the model's classes")
