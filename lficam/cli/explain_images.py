"""A trained model applied to image files of one's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from lficam.data.augmentation import evaluation_crop, kept_side
from lficam.data.decoding import SUFFIXES
from lficam.data.files import ImageFiles
from lficam.data.folders import image_files
from lficam.data.samples import Samples
from lficam.errors import InputError
from lficam.figures.grid import DPI, Grid, Panel, draw_grid, rounded
from lficam.model.metadata import Metadata
from lficam.model.methods import method_of
from lficam.paths import atomic_file
from lficam.training.runs import Run
from lficam.training.saved import load_trained


def list_images(folder: Path) -> dict[str, Path]:
    """Every image below a folder, at any depth: its path inside the folder, with forward slashes -> file, sorted.

    Hidden files and folders are left out. Raises InputError if there is no such folder or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: check the path")
    files = image_files(folder)
    if not files:
        raise InputError(f"no images in {folder}: expected files that end in {', '.join(sorted(SUFFIXES))}")
    return files


def read_images(files: Mapping[str, Path], metadata: Metadata) -> Samples:
    """Image files (id -> file) as a model takes its test images; nobody knows their labels, which are -1.

    Raises InputError for an image that is missing or cannot be decoded.
    """
    unlabelled = torch.full((len(files),), -1)
    images = ImageFiles(tuple(files), tuple(files.values()), unlabelled)
    return images.decode(kept_side(metadata.image_size, metadata.augmentation))


def explain_files(files: Sequence[Path], name: str, output: Path) -> list[tuple[str, str, float]]:
    """Classify image files with a trained model (`saved.load_trained`) and draw the map of each into `output`/<name>_cam.png.

    Returns one (picture, predicted class, its probability in [0, 1]) a file. Reads every image before it writes anything.
    Raises InputError for an unknown model, a missing or unreadable image, or two images of one name.
    """
    trained = load_trained(name)
    metadata, title = trained.metadata, method_of(trained.model).title
    from_run = f"run {trained.id}" if isinstance(trained, Run) else trained.id
    targets = [output / f"{file.stem}_cam.png" for file in files]
    if repeated := {str(t) for t in targets if targets.count(t) > 1}:
        raise InputError(f"several images would be drawn into {', '.join(sorted(repeated))}: give one of them another name")
    samples = read_images({str(file): file for file in files}, metadata)
    explained = trained.explain(samples)
    crops = evaluation_crop(samples.images, samples.shapes, metadata.image_size, metadata.augmentation)
    results = []
    for i, target in enumerate(targets):
        probability, label = explained.probabilities[i].max(0)
        predicted = metadata.classes[label]
        panels = [
            Panel(samples.ids[i], 0, 0, files[i].name),
            Panel(samples.ids[i], 0, 1, f"{predicted} {probability:.2f}", rounded(explained.cam[i])),
        ]
        grid = Grid(f"{title}: {predicted}", from_run, ["input", "where it looked"], [""], panels)
        with atomic_file(target) as temporary:
            draw_grid(grid, {samples.ids[i]: crops[i]}).savefig(temporary, dpi=DPI)
        results.append((str(target), predicted, probability.item()))
    return results
