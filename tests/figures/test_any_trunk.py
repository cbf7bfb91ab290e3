"""Extra figure 9 on planted maps, and on numbers worked by hand."""

from dataclasses import replace

import pytest
import torch
from helpers import check_text, plant_maps, untrained_run

from lficam.figures.any_trunk import judge_trunks, trunks_figure
from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.figures.measured import Measured
from lficam.figures.page import DPI
from lficam.figures.small_trunks import CUSTOMISED, SMALL_TRUNKS, three_stages
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import trunk

TWO = ("cifar_resnet8", CUSTOMISED)


@pytest.fixture(scope="module")
def runs():
    return [untrained_run("lfi-cam"), untrained_run("lfi-cam", seed=1, trunk=CUSTOMISED)]


@pytest.fixture(scope="module")
def result(runs):
    for run in runs:
        masks = run.masks().float()
        plant_maps(run, masks if run.config.trunk == CUSTOMISED else 1 - masks)
    return trunks_figure(replace(experiment("extra9"), trunks=TWO), runs)


def test_each_trunk_has_a_row_with_its_cost_and_where_its_map_lies(runs, result):
    table = result.table.set_index("trunk")
    assert list(table.index) == ["ResNet-8", "customised"]
    assert table["energy"].tolist() == pytest.approx([0, 1])
    assert table["features"].tolist() == [64, 64]
    for run, row in zip(runs, table.itertuples(), strict=True):
        assert row.parameters_millions == pytest.approx(sum(p.numel() for p in run.model.parameters()) / 1e6)
        fin = 4 * 64 * 64 * 9 * 7 * 7 / 1e6  # four convolutions of 3 x 3 on 7 x 7 cells
        assert row.fin_share * row.multiply_adds_millions == pytest.approx(fin, rel=1e-4)


def test_it_shows_the_same_images_for_every_trunk(result):
    panels = result.drawing.panels
    assert len(panels) == 4 * 3
    for row in range(4):
        assert len({panel.id for panel in panels if panel.row == row}) == 1
    assert list(result.drawing.settings) == ["features, map", "parameters", "multiply-adds", "accuracy", "inside"]
    assert result.drawing.settings["inside"] == ["0.00", "1.00"]
    check_text(result.draw(), DPI)


def test_the_table_follows_from_what_was_measured(result):
    assert result.table.equals(judge_trunks(result.measured).table)
    values = {"test_accuracy": torch.tensor([1.0, 0.0]), "fin_share": torch.tensor([0.25, 0.25])}
    other = {"test_accuracy": torch.tensor([1.0, 1.0]), "fin_share": torch.tensor([0.5, 0.5])}
    remarks = judge_trunks(Measured({"a": values, "b": other}, ["1", "2"])).remarks
    assert remarks == (
        "LFI-CAM on 2 kinds of trunks: test accuracy 50.0 to 100.0 %, 25 to 50 % of the multiply-adds are the FIN's",
    )


@pytest.mark.parametrize("name", SMALL_TRUNKS)
def test_each_is_small_and_makes_the_map_of_the_others(name):
    with torch.device("meta"):
        model = LFICAM(trunk(name), num_classes=10).eval()
        explained = model.explain(torch.empty(1, 3, 28, 28))
    assert explained.cam.shape == (1, 1, 7, 7)
    assert model.num_features <= 128


def test_the_customised_one_is_a_trunk_by_its_name():
    assert [type(stage) for stage in trunk(CUSTOMISED)] == [type(stage) for stage in three_stages()]
    assert experiment("extra9").shared == ""
    for profile in ("photos", "quick", "paper"):
        assert {config.trunk for config in replace(EXPERIMENTS["extra9"], profile=profile).configs()} == set(SMALL_TRUNKS)
