import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from torch import nn

from lficam.cli.commands import main
from lficam.data.datasets import load_dataset
from lficam.data.files import ImageFiles
from lficam.figures.charts import Bars, Chart, Dots, Lines
from lficam.figures.grid import Grid, Panel
from lficam.figures.plan import Experiment
from lficam.figures.printed_table import PrintedTable
from lficam.paths import figures_dir, repository
from lficam.provenance import sha256
from lficam.training.config import RunConfig
from lficam.training.explain import Explained
from lficam.training.kept_maps import KeptMaps
from lficam.training.loop import build_model
from lficam.training.runs import Run

REFERENCE = repository() / "figures" / "reference"  # written by `make reference` alone
BOUNDS = repository() / "tests" / "embedded_bounds.csv"  # written by tests/measure_bounds.py alone


def reference_now() -> dict[str, str]:
    """Path -> checksum of every file of the committed reference."""
    return {file.relative_to(REFERENCE).as_posix(): sha256(file) for file in REFERENCE.rglob("*") if file.is_file()}


def file_of(plan: Experiment, suffix: str) -> Path:
    assert plan.folder.is_relative_to(figures_dir())
    return plan.file(suffix)


QUANTITIES = ["test_accuracy", "pointing", "energy", "iou", "iou_published", "iou_equal_map_size"]


def numbers(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    """What training decides in a figure's table: (row, quantity) -> value. Of a single setting only its accuracy counts."""
    found = {}
    if "method" not in table or "epoch" in table:  # Table 1; and while models learn, which nothing was measured of
        return found
    names = table["map"] if "setting" not in table and "map" in table else table["method"]
    for name, (_, row) in zip(names, table.iterrows(), strict=True):
        setting = str(row.get("setting", ""))
        if not setting and pd.isna(row["test_accuracy"]):  # a map that anyone can draw
            continue
        for quantity in ["test_accuracy"] if setting.isdigit() else [] if setting == "similar" else QUANTITIES:
            if quantity in table and not pd.isna(row[quantity]):
                found[f"{name} {setting}".strip(), quantity] = float(row[quantity])
    return found


def maps(*images):
    """(N, 1, h, w) from lists of rows."""
    return torch.tensor([[image] for image in images], dtype=torch.float32)


def random_maps(count, u, v, seed):
    """Maps with a 0 and a 1 in each, so that normalising them again changes nothing."""
    cams = torch.rand(count, 1, u, v, generator=torch.Generator().manual_seed(seed))
    low, high = cams.amin((2, 3), keepdim=True), cams.amax((2, 3), keepdim=True)
    return (cams - low) / (high - low)


def load_drawing(record: dict):
    """What a figure's JSON was drawn from, ready for `charts.draw`."""
    values = dict(record["drawing"])
    match values.pop("kind"):
        case "Grid":
            return Grid(**(values | {"panels": [Panel(**panel) for panel in values["panels"]]}))
        case "Bars":
            return Bars(**values)
        case "PrintedTable":
            return PrintedTable(**values)
        case "Chart":
            rows = [[(Lines if "lines" in panel else Dots)(**panel) for panel in row] for row in values["rows"]]
            return Chart(**(values | {"rows": rows}))


def with_random_statistics(model):
    """Batch norms as if trained: none of their four vectors is at its neutral value."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.5, 1.5)
    return model


def check_text(figure, dpi):
    """All text is 7 pt or more, on the page, and apart; letters are not equally wide at every resolution."""
    figure.set_dpi(dpi)
    renderer = FigureCanvasAgg(figure).get_renderer()
    assert figure.get_figwidth() <= 6.9
    assert min(text.get_fontsize() for text in figure.texts) >= 7
    boxes = {text: text.get_window_extent(renderer) for text in figure.texts if text.get_text()}
    for text, box in boxes.items():
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    texts = list(boxes)
    assert not [(a, b) for i, a in enumerate(texts) for b in texts[:i] if boxes[a].overlaps(boxes[b])]


def photographs(root):
    """The smallest image folder: one black image for each split and class."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(root / split / name / "1.png")
    return root


RED, GREEN, BLUE, GREY = (250, 10, 20), (10, 240, 30), (20, 30, 230), (120, 120, 120)


def write_image(file, image=(120, 60, 30), **options):
    """An image file; a colour stands for a plain 40 x 40 image of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (40, 40), image) if isinstance(image, tuple) else image
    image.save(file, **options)
    return file


def two_halves(width, height):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def four_quarters(size):
    """Pixels (size, size, 3): red, green; blue, grey. No flip and no turn leaves it as it is."""
    half = size // 2
    pixels = np.empty((size, size, 3), np.uint8)
    pixels[:half, :half], pixels[:half, half:], pixels[half:, :half], pixels[half:, half:] = RED, GREEN, BLUE, GREY
    return pixels


def check_four_quarters(image, tolerance=0):
    """That an image (3, s, s) of 256 levels is `four_quarters`, corner by corner."""
    corners = {"top left": (1, 1), "top right": (1, -2), "bottom left": (-2, 1), "bottom right": (-2, -2)}
    for (place, (row, column)), colour in zip(corners.items(), (RED, GREEN, BLUE, GREY), strict=True):
        assert np.abs(np.asarray(image[:, row, column]).astype(int) - colour).max() <= tolerance, place


def images_of(paths, workers=0):
    return ImageFiles(tuple(map(str, paths)), tuple(paths), torch.arange(len(paths)), workers)


def flip_a_byte(file):
    """Change one byte in the middle of a file, not its size."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def without_network(monkeypatch):
    """Every request fails, as on a machine that is not connected; returns the addresses that were asked for."""
    from urllib.error import URLError

    asked = []

    def refuse(request, *args, **kwargs):
        asked.append(getattr(request, "full_url", request))
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return asked


def untrained_run(method, seed=0, images=12, accuracy=0.8, **setting):
    """A run on the first embedded STL10 images with random weights, which costs no training."""
    config = RunConfig(**({"dataset": "digits-stl10", "method": method, "trunk": "cifar_resnet8", "seed": seed} | setting))
    data = load_dataset(config.dataset, image_size=config.image_size)
    data = replace(data, test=data.test.take(range(images)))
    metrics = {"test_accuracy": accuracy, "train_accuracy": accuracy, "seconds": 1.0}
    model = with_random_statistics(build_model(config, len(data.classes))).eval()
    run = Run(
        id=f"{method}-{seed}",
        config=config,
        model=model,
        history=[],
        metrics=metrics,
        environment={},
        data={"train": images, "test": images, "unreadable": {}},
        classes=data.classes,
        mean=data.mean,
        std=data.std,
    )
    run.__dict__["dataset"] = data  # what the cached property would hold
    return run


def plant_maps(run, cams, untrained=None):
    """Give a run maps (N, 1, u, v) of its test images, all taken for the first class; untrained: those of its epoch 0."""
    data, first = run.dataset, run.classes[0]
    names = ["cam", "mean_features", *(["cam_of_label"] if run.config.method == "plain" else [])]
    answers = {
        "split": "test",
        "id": data.test.ids,
        "label": [run.classes[label] for label in data.test.labels],
        "predicted": first,
    }
    run.__dict__["explained"] = Explained(data.test.ids, torch.full((len(cams), len(run.classes)), 0.1), cams, cams, None)
    run.__dict__["kept"] = KeptMaps(dict.fromkeys(names, cams), pd.DataFrame(answers))
    run.__dict__["epoch_maps"] = {0: cams if untrained is None else untrained}


def few_digits(**fields):
    """A training of seconds: three classes of the embedded digits, twelve images each."""
    given = {"dataset": "digits-stl10", "trunk": "cifar_resnet8", "max_classes": 3, "max_per_class": 12, "epochs": 3}
    return RunConfig(**(given | {"batch_size": 8, "lr": 0.05} | fields))


def set_options(**fields):
    """Fields of RunConfig as the command line takes them."""
    return [part for name, value in fields.items() for part in ("--set", f"{name}={value}")]


def processes_of_session(session):
    """Ids of the processes, other than those that have ended and that nobody has asked about. Reads /proc."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, its_session = file.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(file.parent.name))
    return found


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def command(monkeypatch, capsys, *arguments):
    """Call the command line in this process, which saves seconds a call."""
    monkeypatch.setattr(sys, "argv", ["lficam", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    return Done(ended.value.code or 0, *capsys.readouterr())
