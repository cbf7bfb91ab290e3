"""A trained run applied to image files of one's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from lficam.data.augmentation import evaluation_crop, kept_side
from lficam.data.files import ImageFiles
from lficam.data.folders import SUFFIXES, image_files
from lficam.data.samples import Samples
from lficam.errors import InputError
from lficam.figures.grid import DPI, Grid, Panel, draw_grid, rounded
from lficam.model.methods import METHODS
from lficam.paths import atomic_file
from lficam.training.config import RunConfig
from lficam.training.runs import load_run


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


def read_images(files: Mapping[str, Path], config: RunConfig) -> Samples:
    """Image files (id -> file) as the model of this config takes its test images; nobody knows their labels, which are -1.

    Raises InputError for an image that is missing or cannot be decoded.
    """
    unlabelled = torch.full((len(files),), -1)
    images = ImageFiles(tuple(files), tuple(files.values()), unlabelled)
    return images.decode(kept_side(config.image_size, config.augmentation))


def explain_files(files: Sequence[Path], run_id: str, output: Path) -> list[tuple[str, str, float]]:
    """Classify image files with a trained run and draw the map of each into `output`/<name>_cam.png.

    Returns one (picture, predicted class, its probability in [0, 1]) a file. Reads every image before it writes anything.
    Raises InputError for an unknown run, a missing or unreadable image, or two images of one name.
    """
    run = load_run(run_id)
    size, augmentation = run.config.image_size, run.config.augmentation
    targets = [output / f"{file.stem}_cam.png" for file in files]
    if repeated := {str(t) for t in targets if targets.count(t) > 1}:
        raise InputError(f"several images would be drawn into {', '.join(sorted(repeated))}: give one of them another name")
    samples = read_images({str(file): file for file in files}, run.config)
    explained = run.explain(samples)
    crops = evaluation_crop(samples.images, samples.shapes, size, augmentation)
    results = []
    for i, target in enumerate(targets):
        probability, label = explained.probabilities[i].max(0)
        name = run.classes[label]
        panels = [
            Panel(samples.ids[i], 0, 0, files[i].name),
            Panel(samples.ids[i], 0, 1, f"{name} {probability:.2f}", rounded(explained.cam[i])),
        ]
        grid = Grid(f"{METHODS[run.config.method].title}: {name}", f"run {run.id}", ["input", "where it looked"], [""], panels)
        with atomic_file(target) as temporary:
            draw_grid(grid, {samples.ids[i]: crops[i]}).savefig(temporary, dpi=DPI)
        results.append((str(target), name, probability.item()))
    return results
