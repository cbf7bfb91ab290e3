"""Runs with random weights in a store of their own, and pictures to upload, for the tests of what shows trained ones."""

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import torch
from helpers import with_random_statistics
from PIL import Image

from lficam.explorer.gallery import browse, network_of
from lficam.explorer.state import TITLES, State
from lficam.figures.experiments import experiment
from lficam.model.bundled import BUNDLED
from lficam.paths import atomic_folder, runs_dir
from lficam.training.config import published
from lficam.training.loop import build_model
from lficam.training.runs import load_run

OVERRIDES = {"epochs": 1}  # so that no run of these has the id of one that is really trained


def store(config, classes, seed=0, **record):
    """Store a run of a config with random weights; returns its id."""
    torch.manual_seed(seed)
    model = with_random_statistics(build_model(config, len(classes))).eval()
    about = {
        "config": config.model_dump(),
        "classes": classes,
        "mean": [0.1, 0.11, 0.12],
        "std": [0.23, 0.24, 0.25],
        "data": {},
        "metrics": {"test_accuracy": 0.5 + seed / 100, "train_accuracy": 0.5, "seconds": 1.0},
        "history": [],
        "environment": {},
    }
    with atomic_folder(runs_dir() / config.run_id()) as folder:
        model.save_pretrained(folder)
        (folder / "run.json").write_text(json.dumps(about | record))
    return config.run_id()


def store_all():
    """Ids by method: five settings of ABN and LFI-CAM, two seeds without FIN and plain; "catdog": an LFI-CAM of other data."""
    digits = [str(digit) for digit in range(10)]
    five = experiment("fig5", overrides=OVERRIDES).configs()
    configs = experiment("extra4", overrides=OVERRIDES).configs()
    seeds = [
        config for method in ("lfi-cam-without-fin", "plain") for config in configs if config.method == method and config.seed < 2
    ]
    ids = {"catdog": (store(experiment("fig6", overrides=OVERRIDES).configs()[-1], ["3", "5"]),)}
    for seed, config in enumerate([*five, *seeds]):
        ids[config.method] = (*ids.get(config.method, ()), store(config, digits, seed))
    return ids


def states(ids):
    """One state a view, on a picture that the first run predicts wrongly: one run of each method, or all of LFI-CAM."""
    one_each = tuple(ids[method][0] for method in ("lfi-cam", "lfi-cam-without-fin", "abn"))
    image = browse(network_of(one_each[0]), wrong_only=True)[0]
    chosen = {"settings": ids["lfi-cam"], "fin": one_each[:1]}
    return {view: State(image, chosen.get(view, one_each), view) for view in TITLES}


def encoded(image, format="png", **options):
    """An image as a file of this format."""
    content = BytesIO()
    image.save(content, format=format, **options)
    return content.getvalue()


def noise(width, height, seed=0):
    """A picture of which no part is like another, always the same."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def bundle(ids, folder, image_size=None, unsure_below=0.0, augmentation=None):
    """Write runs in the place of the models that come with the package; name -> the run's id.

    image_size, augmentation: of what they are asked about; unsure_below: of LFI-CAM alone.
    """
    names = {}
    for name, method in BUNDLED.items():
        run = load_run(ids[method][0])
        asked = {"image_size": image_size or run.config.image_size, "unsure_below": unsure_below if method == "lfi-cam" else 0.0}
        about = json.loads((runs_dir() / run.id / "run.json").read_text())
        about["config"]["augmentation"] = asked["augmentation"] = augmentation or run.config.augmentation
        run.model.metadata = replace(run.metadata, **asked)
        run.model.save_pretrained(folder / name)
        (folder / name / "run.json").write_text(json.dumps(about | {"config": published(about["config"])}))
        names[name] = run.id
    return names
