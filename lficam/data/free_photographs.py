"""A handful of free photographs that come with the package, each with its licence in `photographs/README.md`."""

from collections.abc import Sequence
from pathlib import Path

import torch

from lficam.data.files import ImageFiles
from lficam.data.samples import Dataset

FOLDER = Path(__file__).with_name("photographs")
UNKNOWN = -1  # the label of a picture that shows none of the classes

# File -> what it shows, in the words of STL10's classes; None: something else.
SHOWS = {
    "chelsea.png": "cat",
    "airplane.jpg": "airplane",
    "boats.jpg": "ship",
    "coffee.jpg": None,
    "camera.jpg": None,
    "rocket.jpg": None,
}


def free_photographs(classes: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> Dataset:
    """The photographs as the test images of a network with these classes, whose input is normalised so; there is none to train on.

    A picture of none of the classes has the label `UNKNOWN`.
    """
    labels = torch.tensor([classes.index(name) if name in classes else UNKNOWN for name in SHOWS.values()])
    test = ImageFiles(tuple(SHOWS), tuple(FOLDER / name for name in SHOWS), labels)
    return Dataset("photographs", tuple(classes), tuple(mean), tuple(std), train=test.take([]), test=test)
