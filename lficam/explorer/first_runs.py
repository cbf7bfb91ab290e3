"""The few small models that the explorer trains where there are none yet, and the button that does it."""

from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import Any

import ipywidgets
from ipywidgets import HTML, VBox

from lficam.errors import InputError
from lficam.explorer.widgets import RedLine, button, labelled, show
from lficam.figures.experiments import experiment
from lficam.model.methods import METHODS
from lficam.training.checkpoint import Record
from lficam.training.config import RunConfig
from lficam.training.fit import fit_elsewhere, missing


def small_set(overrides: Mapping[str, Any]) -> list[RunConfig]:
    """Enough of the embedded profile for every view: the four methods under one setting, and LFI-CAM under a second one."""
    seeds = experiment("extra3", "embedded", overrides).configs()
    first = [config for config in seeds if config.seed == seeds[0].seed]
    settings = [config for config in experiment("fig5", "embedded", overrides).configs() if METHODS[config.method].fin]
    return [*first, next(config for config in settings if config not in first)]


def train_elsewhere(configs: Sequence[RunConfig], on_epoch: Callable[[float, str], None]) -> None:
    """Train what the store lacks, in a process beside this one, which stays free to answer.

    on_epoch: called after every epoch with the share that is done and words on it; what it raises ends the training.
    Raises InputError for whatever keeps one of them from being trained.
    """
    try:
        lacking = missing(configs)
        number = {id: k for k, id in enumerate(lacking, 1)}

        def epoch_ended(id: str, record: Record) -> None:
            done = number[id] - 1 + record["epoch"] / lacking[id].epochs
            on_epoch(done / len(lacking), f"Training model {number[id]} of {len(lacking)}")

        for error in fit_elsewhere(configs, epoch_ended).values():
            raise error
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"the training failed: {reason}; mend this, then press the button again") from error


class Offer:
    """What is shown where nothing has been trained: a button that trains the small set, and its progress.

    overrides: fields of RunConfig for every training. then: called when all are trained, by the thread of the training.
    """

    def __init__(self, error: RedLine):
        self.words, self.error = HTML(), error
        self.train = button("Train five small models (about a minute)", "train", button_style="primary")
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
        configs = None
        with self.error.watch("training"):
            configs = small_set(self.overrides)
        if configs is not None:  # else the red line says why
            self.train.disabled = True
            show(self.progress, True)
            self.training = Thread(target=self._train, args=(configs,), daemon=True)
            self.training.start()

    def _train(self, configs: Sequence[RunConfig]) -> None:
        with self.error.watch("training"):
            try:
                train_elsewhere(configs, self._on_epoch)
            finally:
                self.train.disabled = False
                show(self.progress, False)
            self.then()

    def _on_epoch(self, share: float, words: str) -> None:
        self.progress.description, self.progress.value = words, share
