"""What a trained model takes and what its logits mean: stored with its weights, so that it can be used without its training."""

from dataclasses import dataclass

from lficam.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What one needs to know of a trained model to use it.

    classes: names, in the order of the logits.
    mean, std: per channel, of pixels in [0, 1], by which input is normalised.
    image_size: pixels a side of the crops that it was trained on.
    augmentation: how they were made (`data.augmentation.AUGMENTATIONS`), which says what part of an image is tested.
    unsure_below: probability of the most probable class, below which it had better not be named; 0: it always is.

    Raises InputError if mean and std are not of the same channels, or a std or the size is not positive.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    augmentation: str = "none"
    unsure_below: float = 0.0

    def __post_init__(self):
        for name in ("classes", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists only
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise InputError(f"mean {self.mean}, std {self.std}: expected one mean and one positive std a channel")
        if self.image_size < 1:
            raise InputError(f"image_size={self.image_size}: expected pixels a side")
        if not 0 <= self.unsure_below <= 1:
            raise InputError(f"unsure_below={self.unsure_below}: expected a probability")
