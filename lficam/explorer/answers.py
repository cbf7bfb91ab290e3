"""What a trained run sees of one picture and says about it, also when something of it is changed.

Channels are kept or dropped in the order of their importance, and a grey square hides a part of the picture (occlusion: Zeiler,
Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from io import BytesIO
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from lficam.data.augmentation import normalize
from lficam.data.datasets import dataset_info
from lficam.data.free_photographs import UNKNOWN
from lficam.data.photograph import Photograph
from lficam.errors import InputError
from lficam.explorer.own_pictures import UPLOAD, own_photograph, own_picture
from lficam.metrics.baselines import baseline_maps
from lficam.metrics.map_names import GRAD_CAM
from lficam.metrics.similarity import iou
from lficam.model.cam import Explanation, resize_map
from lficam.model.devices import device_of
from lficam.model.methods import METHODS, Method
from lficam.training.bundled_runs import BundledRun
from lficam.training.runs import Run

KEPT = 32  # answers of each kind; of a large network, which takes 700 MB, one takes up to 1.6
PHOTOGRAPHS = "Photographs"  # what the free ones, that come with the package, are called
THUMBNAILS = 4096  # of some 5 kB
SIDE = 56  # pixels of a thumbnail

Box = tuple[int, int, int, int]  # top, left, bottom, right, in pixels


class Answer(NamedTuple):
    """What a network says about one picture; float32 on the CPU.

    probabilities: (C,). cam: (1, u, v) in [0, 1]. importance: (K,), None for ABN. features: (K, u, v), None of a changed picture.
    """

    probabilities: Tensor
    cam: Tensor
    importance: Tensor | None
    features: Tensor | None


def kept(most: int) -> Callable[[Callable], Callable]:
    """A method that computes each answer once. The last ones are kept, with the object: when that goes, they go."""

    def decorate(method: Callable) -> Callable:
        parameters, name = signature(method), f"_kept_{method.__name__}"

        @wraps(method)
        def ask(self: object, *args: object, **kwargs: object) -> object:
            asked = parameters.bind(self, *args, **kwargs)
            asked.apply_defaults()
            question, answers = asked.args[1:], vars(self).setdefault(name, {})  # oldest first
            answers[question] = answers.pop(question) if question in answers else method(self, *question)
            if len(answers) > most:
                del answers[next(iter(answers))]
            return answers[question]

        return ask

    return decorate


@dataclass(frozen=True, eq=False)
class Network:
    """A trained run as the explorer uses it. An image is the id of a test image, or the key of an upload.

    untrained: whether the run's model is the same before it has learned anything.
    Do not write into a tensor that is returned: it is kept.
    """

    run: Run
    untrained: bool = False

    @property
    def method(self) -> Method:
        return METHODS[self.run.config.method]

    @property
    def title(self) -> str:
        return f"{self.method.title} untrained" if self.untrained else self.method.title

    @property
    def data(self) -> str:
        """What its test images are."""
        return PHOTOGRAPHS if isinstance(self.run, BundledRun) else dataset_info(self.run.config.dataset).title

    @property
    def channels(self) -> int | None:
        """K, the channels that an LFI-CAM weighs by what it has learned; None for a run of another method."""
        return self.run.model.num_features if self.method.fin else None

    @kept(KEPT)
    def picture(self, image: str) -> Tensor:
        """What the network sees before it is normalised: (3, s, s) in [0, 1]. Raises InputError if there is no such image."""
        if image.startswith(UPLOAD):
            return own_picture(image, self.run.config.image_size, self.run.config.augmentation)
        return self.run.pictures([self._position(image)])[image]

    @kept(KEPT)
    def photograph(self, image: str) -> Photograph:
        """The picture uncropped, what the network sees of it, and the object. Raises InputError if there is no such image."""
        augmentation = self.run.config.augmentation
        if image.startswith(UPLOAD):
            return own_photograph(image, augmentation)
        position = self._position(image)
        masks = self.run.masks([position])
        known = masks[0] if masks is not None and masks.any() else None
        return self.run.dataset.test.photograph(position, augmentation)._replace(mask=known)

    def hidden(self, image: str, box: Box | None) -> Tensor:
        """The picture (3, s, s) in [0, 1], inside the box the data set's mean colour, which is 0 to the network."""
        shown = self.picture(image)
        if box is None:
            return shown
        top, left, bottom, right = box
        shown = shown.clone()
        shown[:, top:bottom, left:right] = torch.tensor(self.run.mean, dtype=shown.dtype).view(3, 1, 1)
        return shown

    @kept(THUMBNAILS)
    def thumbnail(self, image: str) -> bytes:
        """The picture as PNG of 56 pixels a side; a small one is enlarged without blurring it."""
        pixels = self.picture(image).mul(255).round().byte().permute(1, 2, 0).numpy()
        resampling = Image.Resampling.NEAREST if len(pixels) < SIDE else Image.Resampling.BOX
        png = BytesIO()
        Image.fromarray(pixels).resize((SIDE, SIDE), resampling).save(png, format="png")
        return png.getvalue()

    def true_class(self, image: str) -> str | None:
        """The class of a test image; None of an uploaded picture, or of one that shows none of the classes.

        Raises InputError if there is no such image.
        """
        if image.startswith(UPLOAD):
            return None
        label = int(self.run.dataset.test.labels[self._position(image)])
        return None if label == UNKNOWN else self.run.classes[label]

    @kept(KEPT)
    @torch.inference_mode()
    def answer(self, image: str, box: Box | None = None) -> Answer:
        """What it says about a picture, inside the box hidden by the data set's mean colour. Raises InputError if there is none."""
        said = _answer(self.run.model.explain(self._input(image, box)))
        return said if box is None else said._replace(features=None)  # the larger part, and nobody looks at it

    @kept(KEPT)
    def grad_cam(self, image: str, box: Box | None = None) -> Tensor:
        """Grad-CAM of an LFI-CAM for the class that it predicts: (1, u, v) in [0, 1]. Raises InputError if there is no picture."""
        predicted = self.answer(image, box).probabilities.argmax().view(1)
        return baseline_maps(GRAD_CAM, self.run.model, self._input(image, box), predicted)[0]

    @kept(KEPT)
    @torch.inference_mode()
    def with_channels(self, image: str, k: int, keep: bool) -> Answer:
        """What an LFI-CAM says when only the k most important channels count, or (keep=False) all but these.

        The weights need not sum to 1 again: the map is scaled to [0, 1] in any case.
        Raises InputError for a run without learned importance, or if no channel would be left.
        """
        learned, count = self.answer(image), self.channels
        if count is None:
            title = METHODS["lfi-cam"].title
            raise InputError(f"{self.method.title} has no learned importance of its channels: choose a run of {title}")
        lowest, highest = (1, count) if keep else (0, count - 1)
        if not lowest <= k <= highest:
            raise InputError(f"k={k} of {count} channels to {'keep' if keep else 'drop'}: expected {lowest} to {highest}")
        order = ranked(learned.importance)
        importance = learned.importance.clone()
        importance[order[k:] if keep else order[:k]] = 0
        there = device_of(self.run.model)
        return _answer(self.run.model.attend(learned.features[None].to(there), importance[None].to(there)))

    def compared(self, cam: Tensor) -> Tensor:
        """A map (1, u, v) as maps are shown and compared, at the size of the picture: (1, s, s) in [0, 1]."""
        return resize_map(cam[None], (self.run.config.image_size,) * 2)[0]

    def _input(self, image: str, box: Box | None) -> Tensor:
        """(1, 3, s, s), normalised, where the model is."""
        return normalize(self.hidden(image, box)[None], self.run.mean, self.run.std).to(device_of(self.run.model))

    def _position(self, image: str) -> int:
        ids = self.run.dataset.test.ids
        if image not in ids:
            raise InputError(f"no test image {image!r} in {self.run.config.dataset}: choose one of its thumbnails")
        return ids.index(image)


def ranked(importance: Tensor) -> Tensor:
    """Channels from the most important on: (K,) -> (K,) int64."""
    return importance.argsort(descending=True, stable=True)


def iou_matrix(maps: Sequence[Tensor], threshold: float) -> Tensor:
    """IoU of every two of S maps (1, h, w) of one size: (S, S). Higher is more alike; 0 for a map of which nothing is on."""
    stacked, count = torch.stack(list(maps)), len(maps)
    return iou(stacked.repeat_interleave(count, 0), stacked.repeat(count, 1, 1, 1), threshold).view(count, count)


def box_of(square: tuple[float, float, float], side: int) -> Box | None:
    """The pixels that a square hides: its centre x, y and its side, as shares of the picture. None if it hides none.

    side: of the picture, in pixels.
    """
    x, y, size = square
    width = round(size * side)  # first, so that it is the same wherever the square is
    top, left = (math.floor(centre * side - width / 2 + 0.5) for centre in (y, x))
    top, left, bottom, right = (min(max(edge, 0), side) for edge in (top, left, top + width, left + width))
    return (top, left, bottom, right) if top < bottom and left < right else None


def _answer(e: Explanation) -> Answer:
    importance = None if e.importance is None else e.importance[0].float().cpu()
    return Answer(e.logits.float().softmax(1)[0].cpu(), e.cam[0].float().cpu(), importance, e.features[0].float().cpu())
