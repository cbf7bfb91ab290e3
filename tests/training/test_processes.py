"""One training in several processes: the same run as in one, by torchrun on the CPU."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import few_digits
from safetensors.torch import load_file

from lficam.data.samples import Part
from lficam.training.runs import load_run

# In every process, with checkpoints after each epoch. "exact": as an exact comparison needs, with batch norms as they were made, in
# float64, without what is stored besides; "stored": as `lficam train` does.
PROGRAM = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from lficam.training import fit, loop
from lficam.training.config import RunConfig
from lficam.training.processes import leave, part
from lficam.training.runs import dataset_of

def frozen(self, x):
    return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)

store, how = sys.argv[1:3]
configs = [RunConfig.model_validate_json(config) for config in sys.argv[3:]]
loop.CHECKPOINT_SECONDS = 0
torch.set_num_threads(1)
if how == "exact":
    nn.BatchNorm2d.forward = frozen
    build_model, normalize = loop.build_model, loop.normalize
    loop.build_model = lambda *arguments: build_model(*arguments).double()
    loop.normalize = lambda *arguments: normalize(*arguments).double()
for config in configs:
    if how == "exact":
        checkpoint = Path(store, ".unfinished", config.run_id())
        model, _ = loop.train(config, dataset_of(config), lambda record: None, checkpoint)
        if part().index == 0:
            save_file(model.state_dict(), Path(store, config.run_id() + ".safetensors"))
    else:
        fit.fit_or_load(config)
leave()
"""


def launched(program, configs, how, processes, store):
    """Command line and environment."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, str(program), str(store), how, *(config.model_dump_json() for config in configs)]
    return command, os.environ | {"LFICAM_RUNS": str(store), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def program(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


def train(program, configs, how, processes, store):
    """The weights of each."""
    command, environment = launched(program, configs, how, processes, store)
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return [load_file(store / f"{config.run_id()}.safetensors") for config in configs] if how == "exact" else []


def assert_equal(weights, others):
    assert weights.keys() == others.keys()
    for name, values in weights.items():
        assert values.dtype == torch.float64 or not values.dtype.is_floating_point
        assert torch.allclose(others[name], values, atol=1e-9, rtol=1e-7), name


def test_every_sample_of_a_batch_is_in_one_part():
    for batch in range(1, 9):
        for count in range(1, 5):
            parts = [list(range(batch))[Part(k, count).of(batch)] for k in range(count)]
            assert [sample for part in parts for sample in part] == list(range(batch))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
            assert all(len(range(batch)[Part(k, count).at_least_one(batch)]) >= 1 for k in range(count))


def test_with_frozen_norms_the_weights_are_those_of_one_process(program, tmp_path):
    """36 images in batches of 7, the last of 1: three processes have unequal slices, and of the last one two have none."""
    configs = [few_digits(method=method, epochs=4, batch_size=7) for method in ("lfi-cam", "abn", "plain")]  # 24 steps
    one, three = (train(program, configs, "exact", count, tmp_path / str(count)) for count in (1, 3))
    for alone, together in zip(one, three, strict=True):
        assert_equal(alone, together)


def test_losses_stay_close_and_the_record_says_how_many_processes_there_were(program, tmp_path, monkeypatch):
    config = few_digits(epochs=3)
    for count in (1, 2):
        train(program, [config], "stored", count, tmp_path / str(count))
    runs = []
    for count in (1, 2):
        monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / str(count)))
        runs.append(load_run(config.run_id()))
    one, two = runs
    assert "processes" not in one.environment
    assert two.environment["processes"] == 2
    assert [record["loss"] for record in two.history] == pytest.approx([record["loss"] for record in one.history], abs=0.3)


def test_it_goes_on_with_another_number_of_processes_after_one_was_killed(program, tmp_path, monkeypatch):
    config = few_digits(epochs=8, batch_size=7)
    command, environment = launched(program, [config], "exact", 2, tmp_path / "killed")
    started = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    state = tmp_path / "killed" / ".unfinished" / config.run_id() / "before.safetensors"
    try:
        deadline = time.monotonic() + 120
        while not state.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        (worker, *_) = children(started.pid)
        os.kill(worker, signal.SIGKILL)
        assert started.wait(60) != 0  # all of them end
        assert children(started.pid) == []
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
    assert state.is_file()
    (resumed,), (alone,) = (train(program, [config], "exact", 1, tmp_path / name) for name in ("killed", "alone"))
    assert_equal(alone, resumed)


def children(pid):
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(file.parent.name))
    return found
