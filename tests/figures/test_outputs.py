import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from lficam.figures.charts import Bars
from lficam.figures.experiments import experiment
from lficam.figures.outputs import code_digest, files_of, save
from lficam.figures.result import Result
from lficam.paths import repository
from lficam.provenance import sha256


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        *[("metrics/similarity.py", True), ("model/cam.py", True), ("training/loop.py", True), ("progress.py", True)],
        *[
            ("explorer/controls.py", False),
            ("cli/commands.py", False),
            ("reproduce/report.py", False),
            ("explorer/screen.js", False),
        ],
    ],
)
def test_only_code_that_makes_figures_makes_them_stale(changed, stale, tmp_path):
    package = Path(shutil.copytree(repository() / "lficam", tmp_path / "lficam"))
    assert code_digest(package) == code_digest()
    (package / changed).write_text((package / changed).read_text() + " ")
    assert (code_digest(package) != code_digest()) == stale


def test_code_that_moves_to_another_package_makes_figures_stale(tmp_path):
    package = Path(shutil.copytree(repository() / "lficam", tmp_path / "lficam"))
    (package / "metrics" / "intervals.py").rename(package / "data" / "intervals.py")
    assert code_digest(package) != code_digest()


def test_a_figure_is_written_with_the_drawings_beside_it_and_its_picture_says_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_FIGURES", str(tmp_path))
    plan = experiment("table1")
    bars = Bars("A title", "a source", ["a"], {"length": [1.0]})
    table = pd.DataFrame({"a": [1.0]})
    result = Result(plan, bars, table, remarks=("It is 1",), beside={"more": Result(plan, bars, table)})
    written = save(result)
    assert sorted(written) == sorted(file.relative_to(tmp_path).as_posix() for file in files_of(plan))
    more = plan.file("_more.png")
    assert json.loads(plan.file(".json").read_text())["sha256"][more.name] == sha256(more)
    png, about = result._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert about == {"alt": f"{plan.title}: {plan.source}. It is 1."}
