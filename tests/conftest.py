import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_runs
from helpers import file_of, reference_now

from lficam.explorer.gallery import browse, network_of
from lficam.explorer.state import State
from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.figures.plan import Experiment
from lficam.reproduce.notebooks import Outcome, make_figures


@pytest.fixture(scope="session")
def reference_before() -> dict[str, str]:
    """Checksums of the committed reference before any figure is made."""
    return reference_now()


@pytest.fixture(scope="session")
def outcome(reference_before: dict[str, str]) -> Outcome:
    """All embedded figures, made once for the whole session from nothing (or from runs that were trained before)."""
    return make_figures("embedded", jobs=2)  # of a thread each, which is all that the tests leave torch by itself


@pytest.fixture(scope="session", params=EXPERIMENTS)
def plan(request: pytest.FixtureRequest, outcome: Outcome) -> Experiment:
    """Each embedded figure, made."""
    assert request.param not in outcome.failed, outcome.failed[request.param]
    return experiment(request.param)


@pytest.fixture(scope="session")
def record(plan: Experiment) -> dict:
    """The JSON of each embedded figure."""
    return json.loads(file_of(plan, ".json").read_text())


@pytest.fixture
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of trained runs of the test's own."""
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, ...]]]:
    """Ids of runs with random weights, by method, in a store of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LFICAM_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield tiny_runs.store_all()


@pytest.fixture(scope="module")
def images(runs: dict[str, tuple[str, ...]]) -> list[str]:
    """Ids of their test images."""
    return browse(network_of(runs["lfi-cam"][0]))


@pytest.fixture(scope="module")
def states(runs: dict[str, tuple[str, ...]]) -> dict[str, State]:
    """A state of the explorer for each view."""
    return tiny_runs.states(runs)
