import json
import shutil

import nbformat
import pytest
from filelock import FileLock
from helpers import REFERENCE, file_of

from lficam import reproduce
from lficam.errors import InputError
from lficam.experiments import EXPERIMENTS, experiment
from lficam.paths import figures_dir
from lficam.reproduce import NOTEBOOKS, executed, is_current, make_figures


def test_all_figures_are_made(outcome):
    assert outcome.failed == {}
    assert outcome.without_data == {}
    assert outcome.made == list(EXPERIMENTS)


def test_exactly_the_promised_files_are_written(outcome):
    stems = [f"{name}_{plan.slug}" for name, plan in EXPERIMENTS.items()]
    expected = {f"{stem}{suffix}" for stem in stems for suffix in (".png", ".pdf", ".csv", ".json")} | {"REPORT.md"}
    expected |= {f"notebooks/{stem}.ipynb" for stem in NOTEBOOKS.values()}
    folder = figures_dir() / "embedded"
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file() and file.name != ".lock"}
    assert found == expected


def test_a_second_call_makes_nothing_again(outcome, monkeypatch):
    monkeypatch.setattr(reproduce, "_execute", lambda plan: pytest.fail(f"{plan.name} was executed again"))
    assert make_figures("embedded").kept == list(EXPERIMENTS)


@pytest.mark.parametrize("damage", ["png changed", "csv missing", "other code", "other runs", "notebook changed"])
def test_a_figure_that_is_out_of_date_is_noticed(outcome, tmp_path, monkeypatch, damage):
    shutil.copytree(figures_dir() / "embedded", tmp_path / "embedded")
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    plan = experiment("fig1")
    assert is_current(plan)
    record = json.loads(file_of(plan, ".json").read_text())
    if damage == "png changed":
        file_of(plan, ".png").write_bytes(b"")
    elif damage == "csv missing":
        file_of(plan, ".csv").unlink()
    elif damage == "other code":
        file_of(plan, ".json").write_text(json.dumps(record | {"code": "0"}))
    elif damage == "other runs":
        file_of(plan, ".json").write_text(json.dumps(record | {"runs": record["runs"][:1]}))
    else:
        content = nbformat.read(executed(plan), as_version=4)
        content.cells[-1].source += "  # changed"
        nbformat.write(content, executed(plan))
    assert not is_current(plan)


def test_a_failing_notebook_is_named_and_keeps_its_traceback_and_the_others_come_out(tmp_path, monkeypatch):
    broken = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell('profile = ""\noverrides = {}', metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell("1 / 0"),
        ]
    )
    nbformat.write(broken, tmp_path / "00_architecture.ipynb")
    real = reproduce.notebook
    monkeypatch.setattr(reproduce, "notebook", lambda name: tmp_path / "00_architecture.ipynb" if name == "table1" else real(name))
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path / "figures"))
    outcome = make_figures("embedded", ["table1", "fig1"])
    assert list(outcome.failed) == ["table1"]
    assert "00_architecture.ipynb, cell " in outcome.failed["table1"]
    assert "ZeroDivisionError: division by zero" in outcome.failed["table1"]
    assert "ZeroDivisionError" in executed(experiment("table1")).read_text()
    assert outcome.made == ["fig1"]
    assert "Not made." in outcome.report.read_text()


def test_missing_data_keeps_only_its_own_figure_from_being_made(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    outcome = make_figures("quick", ["fig5", "fig6"])
    assert list(outcome.without_data) == ["fig5", "fig6"]
    assert "no data folder" in outcome.without_data["fig6"]
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_is_turned_away(outcome):
    with FileLock(figures_dir() / "embedded" / ".lock"), pytest.raises(InputError, match="another process"):
        make_figures("embedded")


def test_the_report_shows_every_figure_verdict_and_table(outcome):
    text = outcome.report.read_text()
    for name, plan in EXPERIMENTS.items():
        record = json.loads(file_of(experiment(name), ".json").read_text())
        assert f"({name}_{plan.slug}.png)" in text
        assert plan.caption in text
        assert all(verdict["reason"] in text for verdict in record["verdicts"])
    assert all(f"| {claim}: " in text for claim in ("C1", "C2", "C3"))


def test_the_reference_was_not_touched(outcome):
    names = {file.name for file in REFERENCE.iterdir()}
    stems = {f"{name}_{plan.slug}" for name, plan in EXPERIMENTS.items()}
    assert names == {f"{stem}{suffix}" for stem in stems for suffix in (".png", ".csv", ".json")} | {"REPORT.md", "synthetic.png"}
    assert not REFERENCE.is_relative_to(figures_dir())
