"""The few small models that the explorer trains: told epoch by epoch, and ended in whatever way one line and no process."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import processes_of_session

from lficam.errors import InputError
from lficam.explorer.first_runs import small_set, train_elsewhere
from lficam.training.runs import stored_ids

TINY = {"epochs": 1, "max_classes": 3, "max_per_class": 12}  # trained in a second


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / "runs"))


def test_the_small_set_has_something_for_every_view():
    configs = small_set({})
    assert [config.method for config in configs] == ["abn", "lfi-cam-without-fin", "lfi-cam", "plain", "lfi-cam"]
    assert len({config.setting for config in configs[:4]}) == 1
    assert configs[4].setting != configs[2].setting
    assert {(config.dataset, config.seed) for config in configs} == {("digits-stl10", 0)}


def test_every_epoch_is_told_with_its_share_of_what_was_lacking():
    first, *others = small_set(TINY | {"epochs": 2})
    told = []
    train_elsewhere([first], lambda *words: told.append(words))
    assert told == [(1 / 2, "Training model 1 of 1"), (1, "Training model 1 of 1")]
    told.clear()
    train_elsewhere([first, *others[:2]], lambda *words: told.append(words))
    assert told == [(epoch / 4, f"Training model {model} of 2") for epoch, model in ((1, 1), (2, 1), (3, 2), (4, 2))]
    assert stored_ids() == sorted(config.run_id() for config in (first, *others[:2]))
    train_elsewhere([first, *others[:2]], lambda *words: pytest.fail("nothing was lacking"))


def train_and_fail(configs):
    """The words of the failure."""
    with pytest.raises(InputError) as failed:
        train_elsewhere(configs, lambda share, words: None)
    assert multiprocessing.active_children() == []
    words = str(failed.value)
    assert "\n" not in words
    assert words.startswith("the training failed: ")
    assert words.endswith("; mend this, then press the button again")
    return words.removeprefix("the training failed: ").removesuffix("; mend this, then press the button again")


def die(id, config, on_epoch):
    os._exit(7)


def run_out_of_room(id, config, on_epoch):
    raise OSError(28, "No space left on device")


def test_a_process_that_dies_without_a_word(monkeypatch):
    monkeypatch.setattr("lficam.training.fit._fit", die)
    assert train_and_fail(small_set(TINY)).startswith("a training process died")


def test_an_error_that_nobody_expects_is_said_with_its_name(monkeypatch):
    monkeypatch.setattr("lficam.training.fit._fit", run_out_of_room)
    assert train_and_fail(small_set(TINY)) == "OSError: [Errno 28] No space left on device"


def test_a_loss_that_diverges():
    diverging = small_set(TINY)[0].model_copy(update={"lr": 1e30})
    words = train_and_fail([diverging])
    assert words.startswith(f"FloatingPointError: {diverging.run_id()}: the loss is ")


def test_what_keeps_a_model_from_being_trained_is_said_without_a_traceback():
    words = train_and_fail([small_set(TINY)[0].model_copy(update={"dataset": "stl10", "data": "nowhere"})])
    assert "nowhere" in words
    assert "Error" not in words
    assert "Traceback" not in words


def test_a_training_ends_with_whoever_waits_for_it():
    told, start = [], time.monotonic()

    def interrupt(*words):
        told.append(words)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_elsewhere(small_set(TINY | {"epochs": 5000})[:1], interrupt)
    assert told == [(1 / 5000, "Training model 1 of 1")]
    assert multiprocessing.active_children() == []
    assert time.monotonic() - start < 60
    assert stored_ids() == []


SCRIPT = """
import time
from lficam.explorer import Explorer

if __name__ == "__main__":
    explorer = Explorer("embedded", {"epochs": 5000, "max_classes": 3, "max_per_class": 12})
    explorer.offer.train.click()
    while not explorer.offer.progress.value and not explorer.error.value:
        time.sleep(0.01)
    print(explorer.offer.progress.description, explorer.error.value, flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_the_interpreter_can_end_while_it_trains(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, script], start_new_session=True, **pipes) as process:
        try:
            assert process.stdout.readline().strip() == "Training model 1 of 5"
            assert len(processes_of_session(process.pid)) >= 2  # it sees them
            out, errors = process.communicate(timeout=20)
            assert (process.returncode, out, errors) == (0, "", "")
            deadline = time.monotonic() + 10
            while processes_of_session(process.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert processes_of_session(process.pid) == []
        finally:
            for left in processes_of_session(process.pid):
                os.kill(left, signal.SIGKILL)
