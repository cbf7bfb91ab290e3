"""Figures 5 and 6 on any data: `lficam compare`."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from helpers import check_text, command, load_drawing, photographs, set_options
from PIL import Image

from lficam.errors import InputError, MissingDataError
from lficam.figures.agreement import stability_figure
from lficam.figures.experiments import comparison, experiment
from lficam.figures.page import DPI, NOTEBOOK_DPI
from lficam.figures.profiles import SETTINGS
from lficam.paths import figures_dir, runs_dir
from lficam.provenance import sha256
from lficam.training.runs import load_run

METHODS = ["abn", "lfi-cam-without-fin", "lfi-cam", "plain"]
NAMES = ["ABN", "LFI-CAM without FIN", "LFI-CAM", "plain network (CAM)"]


# --- what is trained ------------------------------------------------------------------------------------------------


def test_four_methods_are_trained_under_five_settings_in_order():
    configs = comparison("stl10", "embedded").configs()
    assert [config.method for config in configs] == [method for method in METHODS for _ in range(5)]
    settings = [(0.1, 32, 1e-4), (0.1, 16, 5e-4), (0.05, 32, 5e-4), (0.05, 16, 1e-4), (0.01, 8, 5e-4)]
    assert [(config.lr, config.batch_size, config.weight_decay) for config in configs] == 4 * settings
    assert {(config.dataset, config.trunk, config.epochs) for config in configs} == {("digits-stl10", "cifar_resnet8", 8)}
    assert len({config.run_id() for config in configs}) == 20


def test_quick_takes_the_data_set_as_it_is_under_the_published_settings(tmp_path):
    plan = comparison("folder", overrides={"data": str(photographs(tmp_path)), "epochs": "2"})
    configs = plan.configs()
    assert plan.profile == "quick"
    assert [(config.lr, config.batch_size, config.weight_decay) for config in configs] == [tuple(s) for s in SETTINGS] * 4
    assert {(c.dataset, c.trunk, c.epochs, c.precision) for c in configs} == {("folder", "resnet18", 2, "bfloat16")}
    assert [config.stem_stride for config in configs] == [2] * 5 + [1] * 15  # maps of 14 x 14 by every method
    assert plan.source == "image folder, quick profile, changed: epochs=2"
    assert plan.file(".png").name == "compare_folder.png"


@pytest.mark.parametrize("profile", ["quick", "paper", "embedded"])
def test_the_embedded_digits_can_be_compared_in_every_profile_by_their_own_name(profile):
    assert {config.dataset for config in comparison("digits-catdog", profile).configs()} == {"digits-catdog"}


def test_it_shares_the_runs_of_figure_5():
    ids = {config.run_id() for config in comparison("stl10", "embedded").configs()}
    assert {config.run_id() for config in experiment("fig5").configs()} < ids


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mnist",), ["unknown data set 'mnist'", "folder"]),
        (("",), ["unknown data set ''"]),
        ((None,), ["unknown data set 'None'"]),
        (("folder", "embedded"), ["unknown data set 'digits-folder'", "digits-stl10"]),
        (("stl10", "huge"), ["unknown profile 'huge'", "quick"]),
        (("stl10", "embedded", {"lr": 0.1}), ["'lr' cannot be overridden in compare", "epochs"]),
        (("stl10", "embedded", {"batch_size": 8}), ["'batch_size'"]),
        (("stl10", "embedded", {"weight_decay": 0}), ["'weight_decay'"]),
        (("stl10", "embedded", {"method": "abn"}), ["'method'"]),
        (("stl10", "embedded", {"dataset": "folder"}), ["'dataset'"]),
        (("stl10", "embedded", {"colour": 3}), ["'colour'"]),
        (("stl10", "embedded", {"epochs": "many"}), ["epochs='many'", "integer"]),
        (("stl10", "embedded", ["epochs"]), ["mapping"]),
    ],
)
def test_wrong_input_is_named_with_what_is_allowed(arguments, words):
    with pytest.raises(InputError) as caught:
        comparison(*arguments)
    assert not isinstance(caught.value, MissingDataError)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_missing_data_is_said_at_once(tmp_path):
    with pytest.raises(MissingDataError, match=r"no data folder .*nowhere"):
        comparison("folder", "quick", {"data": str(tmp_path / "nowhere")})


# --- the whole way --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """`lficam compare` on a folder of 24 small images, once: what it printed, how it ended and its plan."""
    root = tmp_path_factory.mktemp("comparison")
    numbers = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for kind in ("cat", "dog"):
            folder = root / "photos" / split / kind
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = numbers.integers(0, 120, (8, 12, 3), dtype=np.uint8)
                pixels[:, : 6 if kind == "cat" else None] += 60
                Image.fromarray(pixels).save(folder / f"{i}.png")
    overrides = {"data": str(root / "photos"), "epochs": "1", "trunk": "cifar_resnet8", "image_size": "16", "precision": "float32"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LFICAM_FIGURES", str(root / "figures"))
        patch.setenv("LFICAM_RUNS", str(root / "runs"))
        yield lambda capsys: command(patch, capsys, "compare", "folder", *set_options(**overrides)), overrides


@pytest.fixture
def made(compared, capsys):
    """As `compared`; the second time nothing is trained."""
    call, overrides = compared
    return call(capsys), comparison("folder", "quick", overrides)


def test_a_comparison_of_ones_own_images_is_trained_drawn_and_judged(made):
    done, plan = made
    assert done.returncode == 0, done.stderr
    assert plan.folder.parent == figures_dir()
    files = {f"compare_folder{suffix}" for suffix in (".png", ".pdf", ".csv", ".json", "_pairs.png")}
    assert {file.name for file in plan.folder.iterdir()} == files
    assert sorted(file.parent.name for file in runs_dir().glob("*/run.json")) == sorted(c.run_id() for c in plan.configs())
    verdicts = [line for line in done.stdout.splitlines() if re.match(r"C\d ", line)]
    assert [re.match(r"(C\d) (supported|not supported|inconclusive): ", line).group(1) for line in verdicts] == ["C2", "C3"]
    assert str(plan.folder / "compare_folder") in done.stdout.splitlines()[-1]
    for name in NAMES:
        assert re.search(rf"^ *{re.escape(name)} +all ", done.stdout, re.MULTILINE), name


def test_its_files_belong_together_and_do_not_say_where_the_images_are(made):
    _, plan = made
    text = plan.file(".json").read_text()
    record = json.loads(text)
    for suffix in (".png", ".pdf", ".csv"):
        assert record["sha256"][plan.file(suffix).name] == sha256(plan.file(suffix))
    assert [run["id"] for run in record["runs"]] == [config.run_id() for config in plan.configs()]
    assert "image folder, quick profile, changed: epochs=1, trunk=cifar_resnet8" in record["source"]
    assert plan.overrides["data"] not in text
    assert record["verdicts"] == [v for v in record["verdicts"] if v["claim"] in ("C2", "C3")] != []


def test_its_table_has_every_method_and_setting(made):
    _, plan = made
    table = pd.read_csv(plan.file(".csv"), dtype={"setting": str})
    assert table["method"].tolist() == [name for name in NAMES for _ in range(7)]
    assert table["setting"].tolist() == [*"12345", "all", "similar"] * 4
    rows = table[table["setting"].isin([*"12345"])]
    runs = [load_run(config.run_id()) for config in plan.configs()]
    assert rows["test_accuracy"].tolist() == pytest.approx([run.metrics["test_accuracy"] for run in runs], abs=1e-5)
    assert rows["lr"].tolist() == [run.config.lr for run in runs]
    assert rows["iou"].between(0, 1).all()
    assert (table[table["setting"] == "similar"]["verdict"].isna().tolist()) == [False, True, False, True]  # no claim on these


def test_its_panels_are_the_maps_of_the_runs_in_order(made):
    _, plan = made
    drawing = load_drawing(json.loads(plan.file(".json").read_text()))
    runs = plan.runs()
    shown = plan.shown_images(runs[0].dataset)
    assert len(shown) == 2
    assert drawing.row_titles == [
        title for _ in shown for title in ("ABN", "LFI-CAM\nwithout FIN", "LFI-CAM", "plain\nnetwork (CAM)")
    ]
    panels = {(panel.row, panel.column): panel for panel in drawing.panels}
    assert len(panels) == len(drawing.panels) == 2 * 21
    for n, i in enumerate(shown):
        assert panels.pop((4 * n, 0)).cam is None
        for m in range(4):
            for k in range(5):
                panel, run = panels.pop((4 * n + m, k + 1)), runs[5 * m + k]
                assert panel.id == run.dataset.test.ids[i]
                assert np.array(panel.cam) == pytest.approx(run.explained.cam[i, 0].numpy(), abs=1e-4)
    assert panels == {}


@pytest.mark.parametrize("dpi", [NOTEBOOK_DPI, DPI])
def test_its_text_is_legible_on_the_page_and_apart(dpi, made):
    _, plan = made
    check_text(stability_figure(plan, plan.runs()).draw(), dpi)


def test_a_second_call_trains_nothing_and_writes_the_same(made, compared, capsys, monkeypatch):
    done, plan = made
    before = {file.name: file.read_bytes() for file in plan.folder.iterdir()}
    monkeypatch.setattr("lficam.training.fit.train", lambda *arguments: pytest.fail("trained again"))
    again = compared[0](capsys)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert {file.name: file.read_bytes() for file in plan.folder.iterdir()} == before
