"""Every regenerated figure: whole, redrawn from its saved maps, its panels the right ones in the right order."""

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import REFERENCE, check_text, file_of, load_drawing, untrained_run
from PIL import Image

from lficam.data.datasets import load_dataset
from lficam.figures.charts import Chart, Dots, draw
from lficam.figures.claims import ACCURACY_MARGIN
from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.figures.explanations import effectiveness_figure, explanation_figure
from lficam.figures.grid import DPI, PAGE_WIDTH, Grid
from lficam.figures.result import NOTEBOOK_DPI
from lficam.figures.settings import pair_matrix_figure
from lficam.figures.verdicts import Verdict, judge_stability
from lficam.metrics.intervals import Interval
from lficam.provenance import sha256
from lficam.training.config import RunConfig
from lficam.training.runs import load_run


def pixels(file):
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(int)


class Pictures(dict):
    """Images by id; "a | b" is two of them side by side."""

    def __missing__(self, id):
        return torch.cat([self[half] for half in id.split(" | ")], 2)


def images_of(plan):
    """The embedded test images by id, as they are in the data set."""
    if not plan.methods:
        return {}
    test = load_dataset(plan.dataset).test
    return Pictures({id: image / 255 for id, image in zip(test.ids, test.images, strict=True)})


def test_every_file_is_there_with_its_checksum(plan, record):
    for suffix in (".png", ".pdf", ".csv"):
        file = file_of(plan, suffix)
        assert record["sha256"][file.name] == sha256(file)
    assert pixels(file_of(plan, ".png")).shape[1] == pytest.approx(PAGE_WIDTH * DPI, abs=1)


def test_redrawn_from_its_saved_maps_it_is_the_same_picture(plan, record):
    buffer = BytesIO()
    draw(load_drawing(record), images_of(plan)).savefig(buffer, format="png", dpi=DPI)
    saved, redrawn = pixels(file_of(plan, ".png")), pixels(buffer)
    assert saved.shape == redrawn.shape
    assert np.abs(saved - redrawn).max() <= 2


@pytest.mark.parametrize("dpi", [NOTEBOOK_DPI, DPI])
def test_its_text_is_legible_on_the_page_and_apart(plan, record, dpi):
    check_text(draw(load_drawing(record), images_of(plan)), dpi)


def test_every_panel_has_the_right_image_caption_and_map(plan, record):
    drawing = load_drawing(record)
    if plan.name == "table1" or plan.name.startswith("extra"):
        return
    runs = {config.run_id(): load_run(config.run_id()) for config in plan.configs()}
    dataset = load_dataset(plan.dataset)
    seen = set()
    for panel in drawing.panels:
        image, run, cams = expected_panel(plan, panel, list(runs.values()))
        i = plan.shown_images(dataset)[image]
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
    assert len(drawing.panels) == plan.shown * {"fig1": 4, "fig5": 11, "fig6": 11}.get(plan.name, 3)


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
    # As configs: a field that came after the reference was made stands at its default there.
    assert [RunConfig(**run["config"]) for run in record["runs"]] == [RunConfig(**run["config"]) for run in reference["runs"]]
    ours, theirs = load_drawing(record), load_drawing(reference)
    if isinstance(ours, Grid):
        assert [(p.id, p.row, p.column) for p in ours.panels] == [(p.id, p.row, p.column) for p in theirs.panels]
        assert (ours.row_titles, ours.footnote) == (theirs.row_titles, theirs.footnote)
    elif isinstance(ours, Chart):
        assert [type(panel) for panel in ours.panels] == [type(panel) for panel in theirs.panels]
        for panel, reference_panel in zip(ours.panels, theirs.panels, strict=True):
            if isinstance(panel, Dots):
                assert (panel.label, panel.names) == (reference_panel.label, reference_panel.names)
            else:
                assert (panel.x, list(panel.lines)) == (reference_panel.x, list(reference_panel.lines))
    else:
        assert ours == theirs
    table, expected = pd.read_csv(file_of(plan, ".csv")), pd.read_csv(REFERENCE / file_of(plan, ".csv").name)
    assert list(table.columns) == list(expected.columns)
    text = [column for column in table if table[column].dtype.kind not in "fib" and column not in ("similar", "verdict")]
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


@pytest.mark.parametrize("name", ["fig5", "fig6"])
def test_the_verdicts_follow_from_the_table(outcome, name):
    plan = experiment(name)
    table = pd.read_csv(file_of(plan, ".csv"))
    record = json.loads(file_of(plan, ".json").read_text())
    for claim, label in (("C2", "ABN"), ("C3", "LFI-CAM")):
        own = table[table["method"] == label].set_index("setting")
        iou, settings = own.loc["similar", "iou"], int(own.loc["similar", "settings"])
        expected = judge_stability(claim, label, None if np.isnan(iou) else Interval(iou, 0, 1), settings, 5)
        (verdict,) = (verdict for verdict in record["verdicts"] if verdict["claim"] == claim)
        assert verdict["outcome"] == expected.outcome
        assert verdict["reason"].startswith(expected.reason)  # then what comes for free
        assert own.loc["similar", "verdict"] == f"{claim} {Verdict.from_record(verdict).words}"
        mean, low, high, _ = verdict["measured"]
        assert low <= mean <= high
        assert mean == pytest.approx(iou, abs=1e-5)


def test_maps_of_one_size_are_compared_by_averages_over_areas(outcome):
    """ABN's 14 x 14 map is averaged over 2 x 2 cells to LFI-CAM's 7 x 7, by hand here."""
    plan = experiment("fig5")
    table = pd.read_csv(file_of(plan, ".csv")).set_index(["method", "setting"])
    runs = [load_run(config.run_id()) for config in plan.configs() if config.method == "abn"]
    size = runs[0].config.image_size
    on = []
    for run in runs:
        coarse = run.explained.cam[:, 0].numpy().astype(float).reshape(-1, 7, 2, 7, 2).mean((2, 4))
        on.append(normalised([resize_by_hand(cam, size) for cam in coarse]) > 100 / 255)
    values = [(a & b).sum((1, 2)) / np.maximum((a | b).sum((1, 2)), 1) for i, a in enumerate(on) for b in on[:i]]
    assert table.loc[("ABN", "all"), "iou_equal_map_size"] == pytest.approx(np.mean(values), abs=1e-4)
    assert table.loc[("ABN", "all"), "map"] == "14x14"
    same = table.loc["LFI-CAM"]
    assert same["iou_equal_map_size"].tolist() == pytest.approx(same["iou"].tolist(), abs=1e-4)


def test_agreement_between_settings_is_the_table_of_pairs_in_a_square(outcome):
    plan = experiment("fig5")
    result = pair_matrix_figure(plan, plan.runs())
    for method, matrix in result.drawing.methods.items():
        pairs = result.table[result.table["method"] == method]
        assert len(pairs) == 10
        for a, b, value in pairs[["a", "b", "iou"]].itertuples(index=False):
            assert matrix[int(a) - 1][int(b) - 1] == matrix[int(b) - 1][int(a) - 1] == pytest.approx(value)
        assert [matrix[k][k] for k in range(5)] == [1] * 5
    shown = [float(text.get_text()) for text in result.draw().axes[0].texts]
    assert shown == pytest.approx([value for row in result.drawing.methods["ABN"] for value in row], abs=0.0051)


def upsampled(run):
    """Maps (N, h, w) resized with Pillow's float bilinear filter and normalised by hand."""
    size = run.config.image_size
    maps = [resize_by_hand(cam[0].numpy().astype(float), size) for cam in run.explained.cam]
    return normalised(maps)


def normalised(maps):
    return np.stack([(m - m.min()) / (m.max() - m.min()) if m.max() > m.min() else m * 0 for m in maps])


def resize_by_hand(cam, size):
    """Bilinear interpolation, pixel centers at half-integers, edges repeated."""
    weights = np.zeros((size, len(cam)))
    for i in range(size):
        x = (i + 0.5) * len(cam) / size - 0.5
        left = int(np.floor(x))
        weights[i, min(max(left, 0), len(cam) - 1)] += 1 - (x - left)
        weights[i, min(max(left + 1, 0), len(cam) - 1)] += x - left
    return weights @ cam @ weights.T


@pytest.mark.parametrize(("name", "draw_figure"), [("fig1", effectiveness_figure), ("fig3", explanation_figure)])
def test_a_figure_from_imagenet_weights_says_what_they_may_have_seen(name, draw_figure):
    plan = replace(EXPERIMENTS[name], profile="photos")
    result = draw_figure(plan, [untrained_run(method) for method in plan.methods])
    assert result.drawing.footnote.endswith("\nTrained from weights of ImageNet, which may have seen these photographs.")
    assert set(result.table["models_share"]) == {"weights of ImageNet, which may have seen these photographs"}
    check_text(result.draw(), DPI)
