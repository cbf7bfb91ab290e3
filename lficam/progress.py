"""One progress bar over many trainings; one line an epoch where there is no terminal and no notebook."""

import sys
import time
from collections.abc import Mapping
from typing import Self


class Progress:
    """Use as a context manager around trainings, run id -> its epochs.

    Says which run of how many, the epoch, the loss and the time left. Runs may be trained side by side.
    """

    def __init__(self, epochs: Mapping[str, int]):
        self._epochs = dict(epochs)
        self._done = dict.fromkeys(epochs, 0)
        self._resumed = 0  # epochs of interrupted trainings, which took none of the time since
        self._started = time.perf_counter()
        self._bar = None

    def __enter__(self) -> Self:
        if bars_can_be_drawn():
            from tqdm.auto import tqdm

            # smoothing=0: the time left follows from the mean rate, as below
            self._bar = tqdm(total=sum(self._epochs.values()), unit="epoch", dynamic_ncols=True, smoothing=0)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def start(self, id: str) -> None:
        """A run begins."""
        if self._bar is not None:
            self._bar.set_description(self._name(id))

    def epoch(self, id: str, record: Mapping[str, float]) -> None:
        """An epoch of a run has ended; `record` is the one that training makes."""
        passed = int(record["epoch"]) - self._done[id]
        self._done[id] += passed
        self._resumed += passed - 1
        where = f"epoch {record['epoch']}/{self._epochs[id]}"
        state = f"loss {record['loss']:.3f} accuracy {record['accuracy']:.3f}"
        if self._bar is not None:
            self._bar.set_description(self._name(id), refresh=False)
            self._bar.set_postfix_str(f"{where} {state}")
            self._bar.initial += passed - 1
            self._bar.update(passed)
        else:
            minutes, seconds = divmod(round(self._seconds_left()), 60)
            print(f"{self._name(id)} {where} {state} left {minutes}:{seconds:02d}", flush=True)

    def _name(self, id: str) -> str:
        return f"run {list(self._epochs).index(id) + 1} of {len(self._epochs)} {id}"

    def _seconds_left(self) -> float:
        done, total = sum(self._done.values()), sum(self._epochs.values())
        return (time.perf_counter() - self._started) / (done - self._resumed) * (total - done)


def bars_can_be_drawn() -> bool:
    """Whether somebody watches: in a terminal or a notebook."""
    ipython = sys.modules.get("IPython")
    return sys.stderr.isatty() or (ipython is not None and ipython.get_ipython() is not None)
