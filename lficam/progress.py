"""One progress bar over many trainings; one line an epoch where there is no terminal and no notebook."""

import sys
import time
from typing import Self


class Progress:
    """Use as a context manager around `total` trainings of `epochs` epochs altogether.

    Says which run of how many, the epoch, the loss and the time left.
    """

    def __init__(self, total: int, epochs: int):
        self._total, self._epochs = total, epochs
        self._run, self._name, self._run_epochs, self._done = 0, "", 0, 0
        self._started = time.perf_counter()
        self._bar = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() or _in_notebook():
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self._epochs, unit="epoch", dynamic_ncols=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def start(self, name: str, epochs: int) -> None:
        """The next run begins."""
        self._run, self._name, self._run_epochs = self._run + 1, name, epochs
        if self._bar is not None:
            self._bar.set_description(f"run {self._run} of {self._total} {name}")

    def epoch(self, record: dict[str, float]) -> None:
        """An epoch of the current run has ended; `record` is the one that training makes."""
        self._done += 1
        where = f"epoch {record['epoch']}/{self._run_epochs}"
        state = f"loss {record['loss']:.3f} accuracy {record['accuracy']:.3f}"
        if self._bar is not None:
            self._bar.set_postfix_str(f"{where} {state}")
            self._bar.update()
        else:
            left = (time.perf_counter() - self._started) / self._done * (self._epochs - self._done)
            minutes, seconds = divmod(round(left), 60)
            print(f"run {self._run} of {self._total} {self._name} {where} {state} left {minutes}:{seconds:02d}", flush=True)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
