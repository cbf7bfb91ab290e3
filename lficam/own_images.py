"""A trained run applied to image files of one's own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lficam.augmentation import evaluation_crop, kept_side
from lficam.errors import InputError
from lficam.figures import NAMES
from lficam.files import read_image
from lficam.inference import explain_samples
from lficam.paths import atomic_file
from lficam.plots import DPI, Grid, Panel, draw_grid, rounded
from lficam.runs import load_run
from lficam.samples import Samples


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
    decoded = [read_image(file, kept_side(size, augmentation)) for file in files]
    samples = Samples(
        ids=tuple(map(str, files)),
        images=torch.from_numpy(np.stack([image for image, _ in decoded])).permute(0, 3, 1, 2),
        labels=torch.full((len(files),), -1),
        shapes=torch.tensor([shape for _, shape in decoded], dtype=torch.float32),
    )
    explained = explain_samples(run.model, samples, run.mean, run.std, size, augmentation)
    crops = evaluation_crop(samples.images, samples.shapes, size, augmentation)
    results = []
    for i, target in enumerate(targets):
        probability, label = explained.probabilities[i].max(0)
        name = run.classes[label]
        panels = [
            Panel(samples.ids[i], 0, 0, files[i].name),
            Panel(samples.ids[i], 0, 1, f"{name} {probability:.2f}", rounded(explained.cam[i])),
        ]
        grid = Grid(f"{NAMES[run.config.method]}: {name}", f"run {run.id}", ["input", "where it looked"], [""], panels)
        with atomic_file(target) as temporary:
            draw_grid(grid, {samples.ids[i]: crops[i]}).savefig(temporary, dpi=DPI)
        results.append((str(target), name, probability.item()))
    return results
