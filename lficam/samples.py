"""What every data set looks like to the rest of the library."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """One split, decoded and kept in memory.

    ids: one name a sample, unique and the same on every machine; maps are paired by it.
    images: (N, 3, s, s) uint8. A photograph is squashed to the square; `shapes` says what it was.
    labels: (N,) int64, an index into the data set's classes.
    shapes: (N, 2) float32, height and width of the original in pixels.
    masks: (N, 1, s, s) bool, where the object is; None where nobody knows.
    """

    ids: tuple[str, ...]
    images: Tensor
    labels: Tensor
    shapes: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Dataset:
    """train and test samples of the same classes; mean and std are per channel, of pixels in [0, 1]."""

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    train: Samples
    test: Samples
