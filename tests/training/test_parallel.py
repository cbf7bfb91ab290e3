"""Trainings side by side: the same models as one by one, and nothing is left behind however it ends."""

import contextlib
import io
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import processes_of_session
from PIL import Image

from lficam.errors import InputError
from lficam.progress import Progress
from lficam.training.config import RunConfig
from lficam.training.fit import fit_missing
from lficam.training.parallel import carried, fit_in_workers
from lficam.training.runs import load_run, stored_ids

RECORD = {"epoch": 1, "loss": 1.0, "accuracy": 0.5}


def photographs(root, broken=False):
    """Two classes of six coloured images to train and two to test; of a broken folder nothing of one class can be decoded."""
    for split, count in (("train", 6), ("test", 2)):
        for name, colour in (("cat", 200), ("dog", 40)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                file = root / split / name / f"{i}.png"
                Image.new("RGB", (20, 20), (colour, 30 * i, 99)).save(file)
                if broken and name == "dog":
                    file.write_text("no image")
    return str(root)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs that can be trained and two that cannot, one by one and side by side."""
    root = tmp_path_factory.mktemp("jobs")
    given = {"dataset": "folder", "trunk": "cifar_resnet8", "image_size": 16, "epochs": 3, "batch_size": 5, "lr": 0.01}
    given |= {"data": photographs(root / "good"), "augmentation": "crop-flip"}
    configs = [
        RunConfig(**(given | fields))
        for fields in ({"lr": 1e30}, {"seed": 1}, {"data": photographs(root / "broken", broken=True)}, {"method": "abn"})
    ]
    results = {}
    for jobs in (1, 2):
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
            patch.setattr("lficam.progress.bars_can_be_drawn", lambda: False)
            patch.setenv("LFICAM_RUNS", str(root / f"runs{jobs}"))
            failed = fit_missing(configs, jobs)
            runs = {id: load_run(id) for id in stored_ids()}
        results[jobs] = SimpleNamespace(failed=failed, runs=runs, lines=out.getvalue().splitlines(), store=root / f"runs{jobs}")
    return SimpleNamespace(configs=configs, one_by_one=results[1], side_by_side=results[2])


def test_side_by_side_gives_the_same_bits_as_one_by_one(trained):
    expected, got = trained.one_by_one.runs, trained.side_by_side.runs
    assert got.keys() == expected.keys() == {trained.configs[i].run_id() for i in (1, 3)}
    for id, run in got.items():
        state = run.model.state_dict()
        assert [name for name, value in expected[id].model.state_dict().items() if not torch.equal(value, state[name])] == []
        for history in (run.history, expected[id].history):
            for record in history:
                del record["seconds"]
        assert run.history == expected[id].history
        assert run.metrics["test_accuracy"] == expected[id].metrics["test_accuracy"]


def test_a_run_that_cannot_be_trained_does_not_keep_the_others_from_it(trained):
    diverged, broken = (trained.configs[i].run_id() for i in (0, 2))
    for result in (trained.one_by_one, trained.side_by_side):
        assert result.failed.keys() == {diverged, broken}
        assert type(result.failed[diverged]) is FloatingPointError
        assert re.search(rf"^{diverged}: the loss is (nan|inf) in epoch 1.*lr=1e\+30", str(result.failed[diverged]))
        assert type(result.failed[broken]) is InputError
        assert "no readable train image of class 'dog'" in str(result.failed[broken])
    assert str(trained.side_by_side.failed[broken]) == str(trained.one_by_one.failed[broken])


def test_progress_counts_every_epoch_of_every_run_once(trained):
    numbers = {trained.configs[i].run_id(): i + 1 for i in (1, 3)}
    for result in (trained.one_by_one, trained.side_by_side):
        said = [line.partition(" loss")[0] for line in result.lines]
        for id, number in numbers.items():
            assert [line for line in said if id in line] == [f"run {number} of 4 {id} epoch {n}/3" for n in (1, 2, 3)]
        assert sum("epoch" in line for line in said) == 6


def test_nothing_unfinished_is_left(trained):
    for result in (trained.one_by_one, trained.side_by_side):
        names = {entry.name for entry in result.store.iterdir()}
        assert names - {".locks", ".checked"} == set(result.runs)
    assert multiprocessing.active_children() == []


# What is called in the worker processes must be found there by its name; the config may be anything.


def meet(id, folder, on_epoch):
    """End only when the other one has begun."""
    (Path(folder) / id).touch()
    other = Path(folder) / ("b" if id == "a" else "a")
    deadline = time.monotonic() + 60
    while not other.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    on_epoch(RECORD | {"loss": torch.get_num_threads()})


def die(id, dies, on_epoch):
    on_epoch(RECORD)
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def fail(id, error, on_epoch):
    os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C, which a terminal sends to all processes, is the parent's to answer
    if error:
        raise error
    on_epoch(RECORD)


class Recorder(Progress):
    """Keeps what is reported instead of showing it."""

    def __init__(self, ids):
        super().__init__(dict.fromkeys(ids, 1))
        self.reported = []

    def epoch(self, id, record):
        self.reported.append((id, record))


@pytest.mark.parametrize(
    ("cores", "threads", "expected"),
    [(1, [1, 1], 1), (2, [1, 1], 2), (6, [2, 2], 3), (6, [1, 4], 1), (2, [4], 1), (16, [1], 8), (16, [1, None], 1)],
)
def test_the_cores_carry_as_many_trainings_as_their_threads_fit_in(cores, threads, expected, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert carried([RunConfig(dataset="digits-stl10", trunk="cifar_resnet8", threads=count) for count in threads]) == expected


def test_two_runs_are_trained_at_once_and_share_all_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    progress = Recorder("ab")
    assert fit_in_workers(meet, {"a": tmp_path, "b": tmp_path}, 4, progress.epoch) == {}
    assert sorted(progress.reported, key=str) == [(id, RECORD | {"loss": 3}) for id in "ab"]
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_is_told_and_ends_the_others():
    progress = Recorder("abc")
    started = time.monotonic()
    with pytest.raises(InputError, match="a training process died, most likely for want of memory: train fewer side by side"):
        fit_in_workers(die, {"a": False, "b": True, "c": False}, 4, progress.epoch)
    assert time.monotonic() - started < 50  # nobody slept on
    assert ("b", RECORD) in progress.reported
    assert multiprocessing.active_children() == []


def test_an_error_of_the_program_is_raised_after_all_have_ended():
    progress = Recorder("abc")
    with pytest.raises(ZeroDivisionError, match="of the program") as caught:
        fit_in_workers(fail, {"a": ZeroDivisionError("of the program"), "b": None, "c": None}, 1, progress.epoch)
    assert ", in fail" in caught.value.__notes__[0]  # where it happened, in a process that is gone
    assert progress.reported == [("b", RECORD), ("c", RECORD)]
    assert multiprocessing.active_children() == []


SLOW = """
import os, signal, sys, time
from pathlib import Path

def slow(id, folder, on_epoch):
    on_epoch({"epoch": 1, "loss": 1.0, "accuracy": 0.5})
    (Path(folder) / id).touch()
    time.sleep(60)  # the second epoch

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    from lficam.training.parallel import fit_in_workers
    from lficam.progress import Progress

    with Progress({id: 1000 for id in "abcd"}) as progress:
        fit_in_workers(slow, {id: sys.argv[1] for id in "abcd"}, 2, progress.epoch)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("end", ["Ctrl-C in a terminal", "Ctrl-C in a notebook", "killed"])
def test_no_process_is_left_behind(end, tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    (tmp_path / "begun").mkdir()
    process = subprocess.Popen(
        [sys.executable, script, tmp_path / "begun"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            deadline = time.monotonic() + 60
            while len(list((tmp_path / "begun").iterdir())) < 2:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
            assert len(processes_of_session(process.pid)) >= 3  # it sees them
            if end == "Ctrl-C in a terminal":
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.send_signal(signal.SIGINT if end == "Ctrl-C in a notebook" else signal.SIGKILL)
            assert process.wait(20) == -(signal.SIGKILL if end == "killed" else signal.SIGINT)
            deadline = time.monotonic() + 10
            while processes_of_session(process.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert processes_of_session(process.pid) == []
            assert len(list((tmp_path / "begun").iterdir())) == 2  # what waited was not begun
            if end != "killed":
                errors = process.stderr.read().decode()
                assert errors.count("Traceback") == 1, errors  # of the process that was asked to end, not of its helpers
                assert errors.strip().endswith("KeyboardInterrupt")
        finally:
            for left in processes_of_session(process.pid):
                os.kill(left, signal.SIGKILL)


SLEEPING = """
import time

def sleep(id, config, on_epoch):
    time.sleep(60)
"""
LATE = """
import atexit, multiprocessing, threading, time
from lficam.training.parallel import fit_in_workers
from sleeping import sleep

if __name__ == "__main__":
    ending, started = threading.Event(), threading.Event()
    process = multiprocessing.get_context("spawn").Process
    start = process.start

    def start_late(self):
        ending.wait()
        start(self)
        started.set()

    process.start = start_late
    atexit.register(started.wait)
    atexit.register(ending.set)  # the last is called first
    threading.Thread(target=fit_in_workers, args=(sleep, {"a": None}, 1, print), daemon=True).start()
    time.sleep(1)
"""


def test_a_process_that_starts_while_the_interpreter_ends_is_ended_too(tmp_path):
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    (tmp_path / "late.py").write_text(LATE)
    start = time.monotonic()
    assert subprocess.run([sys.executable, tmp_path / "late.py"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert time.monotonic() - start < 50
