import json
import shutil
from collections import Counter

import nbformat
import numpy as np
import pytest
from filelock import FileLock
from helpers import REFERENCE, file_of, reference_now
from PIL import Image

from lficam.data.digits import RECIPES
from lficam.errors import InputError
from lficam.figures.claims import STATEMENTS
from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.paths import figures_dir, runs_dir
from lficam.progress import Progress
from lficam.reproduce import notebooks
from lficam.reproduce.check import CHARTS, FROM_VALUES
from lficam.reproduce.notebooks import executed, is_current, make_figures
from lficam.reproduce.report import write_report
from lficam.training import config as config_module
from lficam.training import fit, loop

BESIDE = {"table1_architecture_costs.png", "fig5_stability_stl10_pairs.png", "fig6_stability_catdog_pairs.png"}


def test_all_figures_are_made(outcome):
    assert outcome.failed == {}
    assert outcome.without_data == {}
    assert sorted(outcome.made) == sorted(EXPERIMENTS)


def test_exactly_the_promised_files_are_written(outcome):
    plans = EXPERIMENTS.values()
    expected = {f"{plan.stem}{suffix}" for plan in plans for suffix in (".png", ".pdf", ".csv", ".json")}
    expected |= {f"{EXPERIMENTS[name].stem}.safetensors" for name in (*FROM_VALUES, *CHARTS)} | BESIDE
    expected |= {f"notebooks/{plan.notebook}.ipynb" for plan in plans} | {"REPORT.md", "report.html"}
    folder = figures_dir() / "embedded"
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert found == expected


def test_a_figures_data_is_looked_at_once_to_see_whether_it_is_current(outcome, monkeypatch):
    looked, fingerprint = Counter(), config_module.data_fingerprint
    monkeypatch.setattr(config_module, "data_fingerprint", lambda *data: looked.update([data]) or fingerprint(*data))
    monkeypatch.setattr(notebooks, "fit_missing", lambda configs, jobs, epochs: {})
    assert sorted(make_figures("embedded").kept) == sorted(EXPERIMENTS)
    plans = map(experiment, EXPERIMENTS)
    assert looked == Counter(data for plan in plans for data in {(one.dataset, one.data) for one in plan.configs()})


def test_a_second_call_makes_nothing_again(outcome, monkeypatch):
    monkeypatch.setattr(notebooks, "_execute", lambda plans: pytest.fail(f"{plans[0].name} was executed again"))
    assert sorted(make_figures("embedded").kept) == sorted(EXPERIMENTS)


@pytest.mark.parametrize(
    "damage", ["png changed", "csv missing", "other code", "other masks", "other runs", "retrained", "notebook changed"]
)
def test_a_figure_that_is_out_of_date_is_noticed(outcome, tmp_path, monkeypatch, damage):
    shutil.copytree(figures_dir() / "embedded", tmp_path / "embedded")
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    plan = experiment("fig1")
    ids = [config.run_id() for config in plan.configs()]
    assert is_current(plan, ids)
    record = json.loads(file_of(plan, ".json").read_text())
    if damage == "png changed":
        file_of(plan, ".png").write_bytes(b"")
    elif damage == "csv missing":
        file_of(plan, ".csv").unlink()
    elif damage == "other code":
        file_of(plan, ".json").write_text(json.dumps(record | {"code": "0"}))
    elif damage == "other masks":
        file_of(plan, ".json").write_text(json.dumps(record | {"objects": "0"}))
    elif damage == "other runs":
        file_of(plan, ".json").write_text(json.dumps(record | {"runs": record["runs"][:1]}))
    elif damage == "retrained":
        folder = runs_dir() / plan.configs()[0].run_id()
        monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
        for config in plan.configs():
            shutil.copytree(folder.parent / config.run_id(), tmp_path / "runs" / config.run_id())
        (tmp_path / "runs" / folder.name / "sha256.json").write_text("{}")
    else:
        content = nbformat.read(executed(plan), as_version=4)
        content.cells[-1].source += "  # changed"
        nbformat.write(content, executed(plan))
    assert not is_current(plan, ids)


@pytest.mark.usefixtures("outcome")  # Figure 1 is made of its runs
def test_a_failing_notebook_is_named_and_keeps_its_traceback_and_the_others_come_out(tmp_path, monkeypatch):
    broken = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell('profile = ""\noverrides = {}', metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell("1 / 0"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(broken, tmp_path / "00_architecture.ipynb")
    real = notebooks.notebook
    monkeypatch.setattr(
        notebooks, "notebook", lambda plan: tmp_path / "00_architecture.ipynb" if plan.name == "table1" else real(plan)
    )
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path / "figures"))
    outcome = make_figures("embedded", ["table1", "fig1"])
    assert list(outcome.failed) == ["table1"]
    assert "00_architecture.ipynb, In [3]" in outcome.failed["table1"]
    assert "ZeroDivisionError: division by zero" in outcome.failed["table1"]
    assert "ZeroDivisionError" in executed(experiment("table1")).read_text()
    assert outcome.made == ["fig1"]
    assert "Not made." in outcome.report.read_text()


def test_an_interrupted_notebook_leaves_the_older_figure_which_does_not_pass_for_current(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    plan = experiment("table1")
    assert make_figures("embedded", ["table1"]).made == ["table1"]
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*") if file.is_file() and ".locks" not in file.parts}
    monkeypatch.setattr(notebooks, "code_digest", lambda: "newer")
    import papermill

    def interrupted(source, target, *arguments, **options):
        target.write_text('{"cells": [')  # half of it
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_figures("embedded", ["table1"])
    assert {file: file.read_bytes() for file in before} == before
    assert not is_current(plan, [])
    assert [file.name for file in (plan.folder / "notebooks").iterdir()] == ["00_architecture.ipynb"]


@pytest.mark.parametrize("content", ["", '{"cells": [', "[]"])
@pytest.mark.parametrize("name", ["table1_architecture.json", "table1_architecture.csv", "notebooks/00_architecture.ipynb"])
def test_what_was_half_written_is_not_current_and_stops_no_report(name, content, outcome, tmp_path, monkeypatch, capsys):
    shutil.copytree(figures_dir() / "embedded", tmp_path / "embedded", ignore=shutil.ignore_patterns("extra*"))
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    assert is_current(experiment("table1"), [])
    (tmp_path / "embedded" / name).write_text(content)
    assert not is_current(experiment("table1"), [])
    text = write_report(tmp_path / "embedded", "embedded").read_text()
    said = "table1_architecture.json or its table is damaged" in capsys.readouterr().err
    assert said == (name.endswith(".json") or (name.endswith(".csv") and not content))
    assert ("Architecture of the FIN\n\nNot made." in text) == said


def test_what_was_half_written_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    plan = experiment("table1")
    executed(plan).parent.mkdir(parents=True)
    for file in (executed(plan), plan.file(".json")):
        file.write_text('{"cells": [')
    assert make_figures("embedded", ["table1"]).made == ["table1"]
    assert is_current(plan, [])


def test_an_executed_notebook_names_no_folder_of_this_machine(outcome):
    for plan in EXPERIMENTS.values():
        text = executed(experiment(plan.name)).read_text()
        assert str(notebooks.notebooks_dir()) not in text
        assert str(figures_dir()) not in text


def test_figures_that_are_up_to_date_need_no_place_to_write(outcome, monkeypatch):
    monkeypatch.setattr(notebooks.os, "access", lambda folder, mode: False)
    monkeypatch.setattr(notebooks, "lock", lambda *arguments, **options: pytest.fail("a lock was asked for"))
    found = make_figures("embedded")
    assert sorted(found.kept) == sorted(EXPERIMENTS)
    assert found.report.is_file()


def test_a_training_that_diverges_fails_its_figure_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    outcome = make_figures("embedded", ["table1", "fig1"], {"lr": 1e30, "epochs": 1})
    assert outcome.made == ["table1"]
    assert "the loss is" in outcome.failed["fig1"]


def test_fresh_trains_and_draws_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(notebooks, "_execute", lambda plans: None)
    monkeypatch.setattr(notebooks, "write_report", lambda folder, profile: None)
    trained = []
    monkeypatch.setattr(fit, "_fit", lambda id, config, progress, epochs: trained.append(id))
    overrides = {"epochs": 1}
    plan = experiment("fig1", overrides=overrides)
    for config in plan.configs():
        (tmp_path / "runs" / config.run_id()).mkdir(parents=True)
        (tmp_path / "runs" / config.run_id() / "run.json").write_text("{}")
    make_figures("embedded", ["fig1"], overrides)
    assert trained == []
    make_figures("embedded", ["fig1"], overrides, fresh=True)
    assert trained == [config.run_id() for config in plan.configs()]


def test_fresh_forgets_a_training_that_was_interrupted(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(notebooks, "_execute", lambda plans: None)
    monkeypatch.setattr(notebooks, "write_report", lambda folder, profile: None)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setitem(RECIPES, "digits-imagenet", RECIPES["digits-imagenet"]._replace(train=24, test=10))
    overrides = {"epochs": 3}
    first, second = (config.run_id() for config in experiment("fig1", overrides=overrides).configs())
    epochs, stop_at = [], 3

    def epoch(self, id, record):
        epochs.append((id, record["epoch"]))
        if record["epoch"] == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "epoch", epoch)
    with pytest.raises(KeyboardInterrupt):
        make_figures("embedded", ["fig1"], overrides)
    assert (fit.unfinished(first) / "state.safetensors").is_file()
    epochs.clear()
    with pytest.raises(KeyboardInterrupt):  # goes on
        make_figures("embedded", ["fig1"], overrides)
    assert epochs == [(first, 3)]
    epochs.clear()
    stop_at = None
    make_figures("embedded", ["fig1"], overrides, fresh=True)
    assert epochs == [(id, number) for id in (first, second) for number in (1, 2, 3)]
    assert list((tmp_path / "runs" / ".unfinished").iterdir()) == []


def test_fresh_keeps_the_unfinished_trainings_of_other_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(notebooks, "_execute", lambda plans: None)
    monkeypatch.setattr(notebooks, "write_report", lambda folder, profile: None)
    monkeypatch.setattr(fit, "_fit", lambda id, config, progress, epochs: None)
    for name in ("fig1", "fig2"):
        for config in experiment(name).configs():
            fit.unfinished(config.run_id()).mkdir(parents=True)
    make_figures("embedded", ["fig1"], fresh=True)
    kept = {folder.name for folder in (tmp_path / "runs" / ".unfinished").iterdir()}
    assert kept == {config.run_id() for config in experiment("fig2").configs()}


def test_relative_folders_mean_the_same_to_the_notebooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LFICAM_FIGURES", "out")
    outcome = make_figures("embedded", ["table1"])
    assert outcome.made == ["table1"]
    assert (tmp_path / "out" / "embedded" / "table1_architecture.png").is_file()


def test_figure_6_on_a_folder_of_photographs(tmp_path, monkeypatch):
    """The whole way on files: what `lficam figures --only 6 --profile quick` does with someone's own images."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 6)):
        for label in ("cat", "dog"):
            (tmp_path / "photos" / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / split / label / f"{i}.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))
    changed = {"trunk": "cifar_resnet8", "image_size": 16, "epochs": 1, "precision": "float32"}
    outcome = make_figures("quick", ["fig6"], changed | {"data": "photos"})
    assert outcome.failed == {}
    (file,) = (tmp_path / "figures").rglob("fig6_*.json")
    record = json.loads(file.read_text())
    assert "Cat&Dog (16 + 12 photographs), quick profile, changed: trunk=cifar_resnet8" in record["source"]
    assert "photos" not in file.read_text()  # the folder is the user's own affair
    assert len(record["drawing"]["panels"]) == 4 * 11
    assert {panel["id"].split("/")[0] for panel in record["drawing"]["panels"]} == {"test"}


def test_missing_data_keeps_only_its_own_figure_from_being_made(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    outcome = make_figures("quick", ["fig5", "fig6"])
    assert list(outcome.without_data) == ["fig5", "fig6", "extra1", "extra2"]
    assert "no data folder" in outcome.without_data["fig6"]
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_makes_all_its_figures_whichever_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    monkeypatch.setattr(notebooks, "fit_missing", lambda configs, jobs, epochs: {})
    executed_together = []
    monkeypatch.setattr(notebooks, "_execute", lambda plans: executed_together.append([plan.name for plan in plans]))
    monkeypatch.setattr(notebooks, "write_report", lambda folder, profile: None)
    assert make_figures("embedded", ["extra1"]).made == ["extra1", "fig5"]
    make_figures("embedded", ["extra5", "fig1"])
    assert executed_together == [["extra1", "fig5"], ["extra5", "extra3", "extra4", "extra6", "extra7", "extra8"], ["fig1"]]


def test_a_second_process_is_turned_away(outcome):
    with FileLock(figures_dir() / ".locks" / "embedded.lock"), pytest.raises(InputError, match="another process"):
        make_figures("embedded")


def test_the_report_shows_every_figure_verdict_and_table(outcome):
    text = outcome.report.read_text()
    for name, plan in EXPERIMENTS.items():
        record = json.loads(file_of(experiment(name), ".json").read_text())
        assert f"({plan.stem}.png)" in text
        assert plan.caption in text
        assert all(verdict["reason"] in text for verdict in record["verdicts"])
    assert all(f"| {claim}: " in text for claim in STATEMENTS)


def test_the_reference_was_not_touched(reference_before, outcome):
    assert reference_now() == reference_before
    names = {file.name for file in REFERENCE.iterdir()}
    expected = {f"{plan.stem}{suffix}" for plan in EXPERIMENTS.values() for suffix in (".png", ".csv", ".json")}
    expected |= {f"{EXPERIMENTS[name].stem}.safetensors" for name in (*FROM_VALUES, *CHARTS)} | BESIDE
    assert names == expected | {"REPORT.md", "chelsea_cam.png", "trainings"}
    assert not REFERENCE.is_relative_to(figures_dir())
