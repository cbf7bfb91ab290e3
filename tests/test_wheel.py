"""The package as others install it: a wheel in an environment without this repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from lficam.paths import repository

ROOT = repository()
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built of copies, so that nothing of the build is left in the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("lficam", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    build = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder / "dist"), str(folder)]
    subprocess.run(PIP + build, check=True, capture_output=True)
    (file,) = (folder / "dist").iterdir()
    return file


@pytest.fixture(scope="module")
def lficam(wheel, tmp_path_factory):
    """Calls the installed command in an empty folder. What it requires is borrowed from this environment, not the checkout."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root / "env", with_pip=False)
    python = root / "env" / "bin" / "python"
    subprocess.run([*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = (root / "env").glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (root / "empty").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LFICAM_", "PYTHONPATH"))}

    def call(*arguments, command="lficam"):
        return subprocess.run(
            [root / "env" / "bin" / command, *arguments],
            cwd=root / "empty",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    call.site, call.cwd = site, root / "empty"
    return call


def test_the_wheel_holds_all_that_the_library_reads_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    library = {
        str(file.relative_to(ROOT)) for file in (ROOT / "lficam").rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }
    assert library <= names
    assert {"lficam/py.typed", "lficam/explorer/explorer.css", "lficam/model/model_card.jinja"} <= names
    notebooks = {name for name in names if name.endswith(".ipynb")}
    assert {Path(name).name for name in notebooks} == {file.name for file in (ROOT / "notebooks").glob("*.ipynb")}
    assert all(".dist-info/" in name for name in names - library - notebooks)


def test_its_metadata_say_what_it_is(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
    said = message_from_bytes(archive.read(name))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (said["Version"], said["Author"], said["License-Expression"]) == (project["version"], "The lficam developers", "MIT")
    assert set(said.get_all("Classifier")) == set(project["classifiers"])
    assert {"Paper, https://arxiv.org/abs/2105.00937"} <= set(said.get_all("Project-URL"))
    assert said.get_payload().startswith("# lficam")


def test_the_installed_library_is_the_one_that_runs(lficam):
    done = lficam("-c", "import lficam; print(lficam.__file__)", command="python")
    assert done.stdout.strip() == str(lficam.site / "lficam" / "__init__.py"), done.stderr
    assert lficam("--version").stdout.startswith("lficam 0.")


def test_figures_are_made_in_an_empty_folder(lficam):
    """Table 1, which trains nothing: its notebook comes with the wheel."""
    done = lficam("figures", "--only", "0")
    assert done.returncode == 0, done.stderr
    made = lficam.cwd / "figures" / "embedded"
    assert {"table1_architecture.csv", "report.html", "notebooks"} <= {file.name for file in made.iterdir()}
    assert lficam("figures", "--only", "0").stdout.startswith("up to date: table1")
    assert {folder.name for folder in lficam.cwd.iterdir()} <= {"figures", "runs"}


def test_a_photograph_is_explained_by_a_model_that_comes_along(lficam, tmp_path):
    chelsea = lficam.site / "lficam" / "data" / "photographs" / "chelsea.png"
    done = lficam("explain", str(chelsea), "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path}/chelsea_cam.png: cat")
    assert (tmp_path / "chelsea_cam.png").stat().st_size > 50_000
