"""The few small models that the explorer trains where there are none yet, and the button that does it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Thread
from typing import Any

import ipywidgets
from ipywidgets import HTML, VBox

from lficam.errors import InputError
from lficam.explorer.widgets import RedLine, button, labelled, show
from lficam.figures.experiments import experiment
from lficam.model.methods import METHODS
from lficam.training.config import RunConfig

_TRAIN = """
import json, sys
from lficam.model.methods import METHODS
from lficam.training.config import RunConfig
from lficam.errors import InputError
from lficam.training.runs import fit_or_load_all
try:
    fit_or_load_all([RunConfig(**config) for config in json.loads(sys.argv[1])])
except InputError as error:
    sys.exit(str(error))
"""
_EPOCH = re.compile(r"run (\d+) of (\d+) \S+ epoch (\d+)/(\d+) ")  # how a line of `progress.Progress` begins


def small_set(overrides: Mapping[str, Any]) -> list[RunConfig]:
    """Enough of the embedded profile for every view: the three methods under one setting, and LFI-CAM under a second one."""
    first = [config for config in experiment("extra3", "embedded", overrides).configs() if config.seed == 0]
    settings = [config for config in experiment("fig5", "embedded", overrides).configs() if METHODS[config.method].fin]
    return [*first, next(config for config in settings if config not in first)]


def train_elsewhere(configs: Sequence[RunConfig]) -> Iterator[tuple[float, str]]:
    """Train what the store lacks, in a process of its own, so that this one stays free to answer; it ends with the iteration.

    Yields after every epoch the share that is done and words on it. Raises InputError with the last words of a failure.
    """
    command, line = [sys.executable, "-c", _TRAIN, json.dumps([config.model_dump() for config in configs])], ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout:
                if epoch := _EPOCH.match(line):
                    run, runs, done, epochs = map(int, epoch.groups())
                    yield (run - 1 + done / epochs) / runs, f"Training model {run} of {runs}"
        except GeneratorExit:
            process.terminate()
            raise
    if process.returncode:
        reason = line.strip() or f"exit code {process.returncode}"
        raise InputError(f"the training failed: {reason}; mend this, then press the button again")


class Offer:
    """What is shown where nothing has been trained: a button that trains the small set, and its progress.

    overrides: fields of RunConfig for every training. then: called when all are trained, by the thread of the training.
    """

    def __init__(self, error: RedLine):
        self.words, self.error = HTML(), error
        self.train = button("Train four small models (about a minute)", "train", button_style="primary")
        self.progress = labelled(ipywidgets.FloatProgress, "Training", "progress", min=0, max=1)
        self.widget = VBox([self.words, self.train, self.progress])
        self.overrides: Mapping[str, Any] = {}
        self.then: Callable[[], None] | None = None
        self.training: Thread | None = None
        show(self.progress, False)
        self.train.on_click(self._start)

    def _start(self, _: object) -> None:
        if self.train.disabled:  # a second click, on its way while the first was answered
            return
        with self.error.watch("training"):
            self.training = Thread(target=self._train, args=(small_set(self.overrides),), daemon=True)
            self.train.disabled = True
            show(self.progress, True)
        self.training.start()

    def _train(self, configs: Sequence[RunConfig]) -> None:
        with self.error.watch("training"):
            try:
                for share, self.progress.description in train_elsewhere(configs):
                    self.progress.value = share
            finally:
                self.train.disabled = False
                show(self.progress, False)
            self.then()
