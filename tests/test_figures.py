"""Every regenerated figure: whole, redrawn from its saved maps, its panels the right ones in the right order."""

import json
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from helpers import REFERENCE, file_of
from PIL import Image

from lficam.datasets import load_dataset
from lficam.experiments import experiment
from lficam.figures import pictures
from lficam.outputs import load_drawing
from lficam.plots import DPI, PAGE_WIDTH, Grid, draw
from lficam.provenance import sha256
from lficam.runs import load_run
from lficam.verdicts import ACCURACY_MARGIN

ORDER = {"fig1": ["lfi-cam-without-fin", "lfi-cam", "lfi-cam"], "fig5": ["abn"] * 5 + ["lfi-cam"] * 5}


def images_of(plan):
    if not plan.methods:
        return {}
    run = load_run(plan.configs()[0].run_id())
    return pictures(run, plan.shown(run.dataset))


def test_every_file_is_there_with_its_checksum(plan, record):
    for suffix in (".png", ".pdf", ".csv"):
        file = file_of(plan, suffix)
        assert record["sha256"][file.name] == sha256(file)
    assert Image.open(file_of(plan, ".png")).width == pytest.approx(PAGE_WIDTH * DPI, abs=1)


def test_redrawn_from_its_saved_maps_it_is_the_same_picture(plan, record):
    buffer = BytesIO()
    draw(load_drawing(record), images_of(plan)).savefig(buffer, format="png", dpi=DPI)
    saved = np.asarray(Image.open(file_of(plan, ".png")).convert("RGB")).astype(int)
    redrawn = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
    assert saved.shape == redrawn.shape
    assert np.abs(saved - redrawn).max() <= 2


def test_every_panel_has_the_right_image_caption_and_map(plan, record):
    drawing = load_drawing(record)
    if not isinstance(drawing, Grid):
        assert plan.name == "table1"
        return
    runs = {config.run_id(): load_run(config.run_id()) for config in plan.configs()}
    dataset = load_dataset(plan.dataset)
    seen = set()
    for panel in drawing.panels:
        image, run, cams = expected_panel(plan, panel, list(runs.values()))
        i = plan.shown(dataset)[image]
        seen.add((panel.row, panel.column))
        assert panel.id == dataset.test.ids[i]
        if run is None:
            assert panel.cam is None
            assert panel.caption == f"true: {dataset.classes[dataset.test.labels[i]]}"
            continue
        probability, label = run.explained.probabilities[i].max(0)
        assert panel.caption.startswith(f"{dataset.classes[label]} {probability:.2f}")
        assert ("×" in panel.caption) == bool(label != dataset.test.labels[i])
        assert np.array(panel.cam) == pytest.approx(cams[i, 0].numpy(), abs=1e-4)
    assert len(seen) == len(drawing.panels)
    assert len(drawing.panels) == plan.rows * {"fig1": 4, "fig5": 11, "fig6": 11}.get(plan.name, 3)


def expected_panel(plan, panel, runs):
    """(number of the shown image, run or None for the input, maps) that belong at a panel's place."""
    row, column = panel.row, panel.column
    if plan.name == "fig1":
        without, with_fin = runs
        choice = [(None, None), (without, "mean_features"), (with_fin, "mean_features"), (with_fin, "cam")][column]
        image = row
    elif plan.settings == 1:
        choice, image = ((None, None) if row == 0 else (runs[row - 1], "cam")), column
    elif column == 0:
        choice, image = (None, None), (row - 0.5) / 2
    else:
        image, method = divmod(row, 2)
        choice = (runs[5 * int(method) + column - 1], "cam")
    run, name = choice
    return int(image), run, None if run is None else getattr(run.explained, name)


def test_the_structure_is_that_of_the_committed_reference(plan, record):
    """Not compared with itself: figures/reference is written by `make reference` alone."""
    name = file_of(plan, ".json").name
    reference = json.loads((REFERENCE / name).read_text())
    for key in ("title", "caption", "source", "profile", "overrides"):
        assert record[key] == reference[key]
    assert [run["config"] for run in record["runs"]] == [run["config"] for run in reference["runs"]]
    ours, theirs = load_drawing(record), load_drawing(reference)
    if isinstance(ours, Grid):
        assert [(p.id, p.row, p.column) for p in ours.panels] == [(p.id, p.row, p.column) for p in theirs.panels]
        assert (ours.row_titles, ours.footnote) == (theirs.row_titles, theirs.footnote)
    else:
        assert ours == theirs
    table, expected = pd.read_csv(file_of(plan, ".csv")), pd.read_csv(REFERENCE / file_of(plan, ".csv").name)
    assert list(table.columns) == list(expected.columns)
    text = [column for column in table if table[column].dtype.kind not in "fib" and column != "similar"]
    pd.testing.assert_frame_equal(table[text], expected[text])


@pytest.mark.parametrize("name", ["fig5", "fig6"])
def test_the_stability_table_follows_from_the_runs(outcome, name):
    """Mean IoU again, by loops over pairs and images."""
    plan = experiment(name)
    table = pd.read_csv(file_of(plan, ".csv"))
    for method, label in (("abn", "ABN"), ("lfi-cam", "LFI-CAM")):
        runs = [load_run(config.run_id()) for config in plan.configs() if config.method == method]
        on = [upsampled(run) > 100 / 255 for run in runs]
        values = [
            [(a & b).sum() / (a | b).sum() if (a | b).any() else 0.0 for a, b in zip(on[i], on[j], strict=True)]
            for i in range(5)
            for j in range(i + 1, 5)
        ]
        own = table[table["method"] == label].set_index("setting")
        assert own.loc["all", "iou"] == pytest.approx(np.mean(values), abs=1e-5)
        accuracy = [run.metrics["test_accuracy"] for run in runs]
        similar = [value >= max(accuracy) - ACCURACY_MARGIN - 1e-9 for value in accuracy]
        assert own.loc[list("12345"), "similar"].astype(str).tolist() == [str(value) for value in similar]


def upsampled(run):
    """Maps (N, h, w) resized with Pillow's float bilinear filter and normalised by hand."""
    size = run.config.image_size
    maps = [resize_by_hand(cam[0].numpy().astype(float), size) for cam in run.explained.cam]
    low = [m.min() for m in maps]
    return np.stack([(m - lo) / (m.max() - lo) if m.max() > lo else m * 0 for m, lo in zip(maps, low, strict=True)])


def resize_by_hand(cam, size):
    """Bilinear interpolation, pixel centers at half-integers, edges repeated."""
    weights = np.zeros((size, len(cam)))
    for i in range(size):
        x = (i + 0.5) * len(cam) / size - 0.5
        left = int(np.floor(x))
        weights[i, min(max(left, 0), len(cam) - 1)] += 1 - (x - left)
        weights[i, min(max(left + 1, 0), len(cam) - 1)] += x - left
    return weights @ cam @ weights.T
