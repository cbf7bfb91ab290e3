"""Every regenerated figure: whole, redrawn from its saved maps, its panels the right ones in the right order."""

import json
import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import REFERENCE, check_text, file_of, load_drawing, untrained_run
from PIL import Image

from lficam.data.datasets import load_dataset
from lficam.data.samples import shuffled
from lficam.figures.charts import Chart, Dots, draw
from lficam.figures.claims import ACCURACY_MARGIN
from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.figures.explanations import BLOCK, effectiveness_figure, explanation_figure, one_of_each
from lficam.figures.grid import PAGE_HEIGHT, Grid
from lficam.figures.page import DPI, NOTEBOOK_DPI, PAGE_WIDTH
from lficam.figures.settings import judge_settings, pair_matrices
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


def masks_of(plan):
    """Where the object is in them, of the figures that outline it."""
    if not plan.name.startswith("fig") and plan.name != "extra9":
        return {}
    test = load_dataset(plan.dataset).test
    return dict(zip(test.ids, test.masks(test.images.shape[-1], "none"), strict=True))


def shown_of(plan, dataset):
    """Positions of the test images in a figure."""
    labels = dataset.test.labels.tolist()
    if plan.name in ("fig2", "fig3", "fig4"):
        return one_of_each(labels, shuffled(len(labels)), plan.shown)
    return plan.shown_images(dataset)


def test_every_file_is_there_with_its_checksum(plan, record):
    for suffix in (".png", ".pdf", ".csv"):
        file = file_of(plan, suffix)
        assert record["sha256"][file.name] == sha256(file)
    assert pixels(file_of(plan, ".png")).shape[1] == pytest.approx(PAGE_WIDTH * DPI, abs=1)


def test_redrawn_from_its_saved_maps_it_is_the_same_picture(plan, record):
    buffer = BytesIO()
    draw(load_drawing(record), images_of(plan), masks_of(plan)).savefig(buffer, format="png", dpi=DPI)
    saved, redrawn = pixels(file_of(plan, ".png")), pixels(buffer)
    assert saved.shape == redrawn.shape
    assert np.abs(saved - redrawn).max() <= 2


@pytest.mark.parametrize("dpi", [NOTEBOOK_DPI, DPI])
def test_its_text_is_legible_on_the_page_and_apart(plan, record, dpi):
    figure = draw(load_drawing(record), images_of(plan), masks_of(plan))
    assert figure.get_figheight() <= PAGE_HEIGHT + 1e-6
    check_text(figure, dpi)


def test_every_panel_has_the_right_image_caption_and_map(plan, record):
    drawing = load_drawing(record)
    if plan.name == "table1" or plan.name.startswith("extra"):
        return
    runs = [load_run(config.run_id()) for config in plan.configs()]
    dataset = load_dataset(plan.dataset)
    shown, seen = shown_of(plan, dataset), set()
    for panel in drawing.panels:
        image, run, cams = expected_panel(plan, panel, runs)
        i = shown[image]
        seen.add((panel.row, panel.column))
        assert panel.id == dataset.test.ids[i]
        if run is None:
            assert panel.cam is panel.difference is None
            assert panel.caption == f"true: {dataset.classes[dataset.test.labels[i]]}"
        elif (plan.name, panel.column) == ("fig1", 4):
            assert np.array(panel.difference) == pytest.approx(cams[i, 0].numpy(), abs=1e-4)
            assert panel.caption == f"differ by up to {cams[i].abs().max():.2f}"
        else:
            probability, label = run.explained.probabilities[i].max(0)
            assert panel.caption.startswith(f"{dataset.classes[label]}: {probability:.2f}")
            assert ("×" in panel.caption) == bool(label != dataset.test.labels[i])
            assert np.array(panel.cam) == pytest.approx(cams[i, 0].numpy(), abs=1e-4)
    assert len(seen) == len(drawing.panels)
    assert len(drawing.panels) == len(shown) * {"fig1": 5, "fig5": 11, "fig6": 11}.get(plan.name, 3)


def expected_panel(plan, panel, runs):
    """(number of the shown image, run or None for the input, maps) that belong at a panel's place."""
    row, column = panel.row, panel.column
    if plan.name == "fig1":
        (without, with_fin), image = runs, row
        of_fin = with_fin.explained
        maps = [None, without.explained.mean_features, of_fin.mean_features, of_fin.cam, of_fin.cam - of_fin.mean_features]
        return image, [None, without, with_fin, with_fin, with_fin][column], maps[column]
    if plan.settings == 1:
        block, method = divmod(row, 3)
        image, run = BLOCK * block + column, runs[method - 1] if method else None
    else:
        image, method = divmod(row, 2)
        run = runs[5 * method + column - 1] if column else None
    return image, run, None if run is None else run.explained.cam


def test_one_image_of_each_class_in_the_order_given():
    labels = [2, 0, 2, 1, 0, 3]
    assert one_of_each(labels, [5, 2, 0, 4, 1, 3], 3) == [5, 2, 4]  # 0 and 1 are of classes that are there already
    assert one_of_each(labels, range(6), 9) == [0, 1, 3, 5]


@pytest.mark.parametrize("name", ["fig2", "fig3", "fig4"])
def test_the_images_of_an_explanation_are_of_ten_classes(name):
    plan = experiment(name)
    dataset = load_dataset(plan.dataset)
    classes = [dataset.test.labels[i].item() for i in shown_of(plan, dataset)]
    assert len(set(classes)) == len(classes) == 10
    assert classes != sorted(classes)


@pytest.mark.parametrize("name", ["fig5", "fig6"])
def test_what_is_not_judged_is_pale_and_in_brackets(outcome, name):
    plan = experiment(name)
    drawing = load_drawing(json.loads(file_of(plan, ".json").read_text()))
    table = pd.read_csv(file_of(plan, ".csv"))
    for m, title in enumerate(("ABN", "LFI-CAM")):
        own = table[(table["method"] == title) & table["test_accuracy"].notna()]
        judged = own["similar"].astype(str).eq("True").tolist()
        cells = [f"{100 * value:.1f} %" for value in own["test_accuracy"]]
        assert drawing.settings[f"accuracy, {title}"] == [
            cell if alike else f"({cell})" for cell, alike in zip(cells, judged, strict=True)
        ]
        for panel in drawing.panels:
            if panel.row % 2 == m and panel.column:
                assert panel.pale is not judged[panel.column - 1]


@pytest.mark.parametrize("name", ["fig5", "fig6"])
def test_the_iou_of_a_row_is_that_of_its_image_among_the_judged_and_among_all(outcome, name):
    """By a loop over pairs."""
    plan = experiment(name)
    drawing = load_drawing(json.loads(file_of(plan, ".json").read_text()))
    shown = shown_of(plan, load_dataset(plan.dataset))
    for m, method in enumerate(("abn", "lfi-cam")):
        runs = [load_run(config.run_id()) for config in plan.configs() if config.method == method]
        best = max(run.metrics["test_accuracy"] for run in runs)
        judged = [run.metrics["test_accuracy"] >= best - ACCURACY_MARGIN - 1e-9 for run in runs]
        on = [upsampled(run)[shown] > 100 / 255 for run in runs]
        for n in range(len(shown)):
            values = {(a, b): (on[a][n] & on[b][n]).sum() / (on[a][n] | on[b][n]).sum() for a in range(5) for b in range(a)}
            chosen = [value for (a, b), value in values.items() if judged[a] and judged[b]]
            first = f"{np.mean(chosen):.2f}" if chosen else "–"
            assert drawing.row_notes[2 * n + m] == f"IoU {first}\n({np.mean(list(values.values())):.2f})"


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
        assert ours.row_titles == theirs.row_titles
        # Other processors train other networks, which differ in the numbers of the footnote.
        assert re.sub(r"\d+", "0", ours.footnote) == re.sub(r"\d+", "0", theirs.footnote)
    elif isinstance(ours, Chart):
        assert [[type(panel) for panel in row] for row in ours.rows] == [[type(panel) for panel in row] for row in theirs.rows]
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
    settings = judge_settings(plan, plan.runs())
    result = pair_matrices(plan, settings)
    for method, matrix in result.drawing.methods.items():
        pairs = result.table[result.table["method"] == method]
        assert len(pairs) == 10
        for a, b, value in pairs[["a", "b", "iou"]].itertuples(index=False):
            assert matrix[int(a) - 1][int(b) - 1] == matrix[int(b) - 1][int(a) - 1] == pytest.approx(value)
        assert [matrix[k][k] for k in range(5)] == [1] * 5
        judged = settings.table[(settings.table["method"] == method) & settings.table["similar"].eq(True)]["setting"].astype(int)
        assert {*judged, *result.drawing.left_out[method]} == set(range(1, 6))
        assert len(judged) + len(result.drawing.left_out[method]) == 5
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
    assert result.drawing.footnote.endswith(" Trained from weights of ImageNet, which may have seen these photographs.")
    assert set(result.table["models_share"]) == {"weights of ImageNet, which may have seen these photographs"}
    check_text(result.draw(), DPI)
