"""`make stress`, outside of the tests: processes killed inside training, saving, notebooks and drawing, and many at once.

    python tests/stress.py [SECONDS_OF_A_WHOLE_ATTEMPT]

Prints what it did; ends with a failed assertion if a stored run is damaged, weights differ, or something is left over.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers import few_digits
from kills import CONTEXT, attempt, check_store, left_over

from lficam.errors import InputError
from lficam.reproduce.notebooks import make_figures
from lficam.training import loop
from lficam.training.fit import fit_missing, fit_or_load

KILLS, RUNS, PROCESSES = 30, 6, 3
OVERRIDES = {"epochs": 2, "max_per_class": 20}


def figures() -> None:
    """Train two small models, execute a notebook, draw Figure 1."""
    loop.CHECKPOINT_SECONDS = 0
    outcome = make_figures("embedded", ["fig1"], OVERRIDES)
    assert not outcome.failed, outcome.failed


def many() -> None:
    """Six runs, of which other processes train some."""
    loop.CHECKPOINT_SECONDS = 0
    assert fit_missing([few_digits(seed=seed) for seed in range(RUNS)]) == {}


def on_a_small_disk() -> None:
    """A training whose checkpoints and model do not fit."""
    loop.CHECKPOINT_SECONDS = 0
    try:
        fit_or_load(few_digits())
    except (OSError, InputError) as error:
        print(f"one line: {error}")
        sys.exit(3)


def weights(store: Path) -> dict[str, bytes]:
    """Of every run in a store."""
    return {file.parent.name: file.read_bytes() for file in store.glob("*/model.safetensors")}


def killed_while_making_figures(root: Path, seconds: float) -> None:
    """Thirty kills; what is done is removed, so that the next begins again."""
    alone = {"LFICAM_RUNS": str(root / "alone"), "LFICAM_FIGURES": str(root / "alone-figures")}
    _in_a_process(figures, alone)
    here = {"LFICAM_RUNS": str(root / "runs"), "LFICAM_FIGURES": str(root / "figures")}
    killed = done = 0
    for seed in range(1000):
        if killed == KILLS:
            break
        code = attempt(figures, seed=seed, seconds=seconds, writes=24, **here)
        assert code in (0, -9), code
        check_store(root / "runs")
        killed += code == -9
        if code == 0:
            done += 1
            assert weights(root / "runs") == weights(root / "alone")
            assert left_over(root / "runs") == left_over(root / "figures") == []
            shutil.rmtree(root / "runs")
            shutil.rmtree(root / "figures")
    _in_a_process(figures, here)
    assert weights(root / "runs") == weights(root / "alone")
    assert left_over(root / "runs") == left_over(root / "figures") == []
    print(f"{killed} kills while figures were made, {done} attempts done: every run whole, the same weights, nothing left")


def three_at_once(root: Path) -> None:
    """Three processes on six runs, one of them killed; each run is trained once in the end."""
    alone, here = ({"LFICAM_RUNS": str(root / name)} for name in ("six-alone", "six"))
    _in_a_process(many, alone)
    started = [CONTEXT.Process(target=_with, args=(many, here)) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    time.sleep(8)
    started[0].kill()
    for process in started:
        process.join()
    assert [process.exitcode for process in started[1:]] == [0] * (PROCESSES - 1)
    check_store(root / "six")
    assert weights(root / "six") == weights(root / "six-alone")
    assert left_over(root / "six") == []
    print(f"{PROCESSES} processes on {RUNS} runs, one of them killed: all trained, the same weights, nothing left")


def small_disk(root: Path) -> None:
    """A tmpfs of 600 kB, where one may mount."""
    disk = root / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        print(f"no small disk: {mounted.stderr.decode().strip()}")
        return
    try:
        code = _in_a_process(on_a_small_disk, {"LFICAM_RUNS": str(disk)}, expected=3)
        check_store(disk)
        print(f"a full disk: exit {code}, no damaged run")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _in_a_process(work: object, environment: dict[str, str], expected: int = 0) -> int:
    process = CONTEXT.Process(target=_with, args=(work, environment))
    process.start()
    process.join()
    assert process.exitcode == expected, process.exitcode
    return process.exitcode


def _with(work: object, environment: dict[str, str]) -> None:
    import os

    import torch

    os.environ.update(environment)
    torch.set_num_threads(1)  # as in `attempt`: what is added up by two threads has other last bits
    work()


if __name__ == "__main__":
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        small_disk(Path(folder))
        three_at_once(Path(folder))
        killed_while_making_figures(Path(folder), float(sys.argv[1]) if len(sys.argv) > 1 else 20)
    print(f"{time.perf_counter() - started:.0f} s")
