"""Tests and notebooks write to temporary folders.

Trained runs that are in the store already are copied there, so that they need not be trained again.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Set on import, before pytest collects the notebooks: their kernels inherit the environment.
_TEMPORARY = Path(tempfile.mkdtemp(prefix="lficam-tests-"))
_STORE = Path(os.environ.get("LFICAM_RUNS") or Path(__file__).parent / "runs")
if _STORE.is_dir():
    for run in _STORE.glob("digits-*"):
        shutil.copytree(run, _TEMPORARY / "runs" / run.name)
if "LFICAM_DATA" in os.environ:
    os.environ.setdefault("LFICAM_TEST_DATA", os.environ["LFICAM_DATA"])  # real images, for the tests that look at some
for name in ("runs", "figures", "data"):
    os.environ[f"LFICAM_{name.upper()}"] = str(_TEMPORARY / name)

os.environ["ACCELERATE_USE_CPU"] = "true"  # what the tests compare bit by bit is a CPU's arithmetic
# Tensors this small are slower on two threads, ten times so on a busy machine; kernels and other processes are told so, too.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the embedded models, whose training is most of the work: `make test` runs the rest beside it."""
    for item in items:
        if item.path.suffix == ".ipynb" or {"outcome", "trained_models"} & {*item.fixturenames}:
            item.add_marker("trained")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the tests made."""
    shutil.rmtree(_TEMPORARY, ignore_errors=True)
