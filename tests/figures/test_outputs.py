import shutil
from pathlib import Path

import pytest

from lficam.figures.outputs import code_digest
from lficam.paths import repository


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
