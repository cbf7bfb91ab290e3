"""Processes that kill themselves, at a drawn instant: in the middle of a write, or anywhere.

What is drawn follows from a seed. A child is forked from a server that has loaded the library, which saves seconds a child.
"""

import os
import random
import signal
import threading
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

from lficam.sums import changed

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["lficam.reproduce.notebooks", "kills"])


def attempt(work: Callable[..., None], *arguments: object, seed: int, seconds: float, writes: int, **environment: str) -> int:
    """Do some work in a process of its own that is killed; returns its exit code, -9 if it was killed before it was done.

    Every other seed kills it at one of the first `writes` files or folders that it puts in their place, before or after; the others
    after some share of so many seconds.
    """
    process = CONTEXT.Process(target=_work, args=(work, arguments, seed, seconds, writes, environment))
    process.start()
    process.join()
    return process.exitcode


def _work(work: Callable, arguments: tuple, seed: int, seconds: float, writes: int, environment: dict[str, str]) -> None:
    import torch

    os.setsid()  # what it starts dies with it
    os.environ.update(environment)
    torch.set_num_threads(1)
    draw = random.Random(seed)
    if seed % 2:
        timer = threading.Timer(draw.uniform(0, seconds), _kill)
        timer.daemon = True
        timer.start()
    else:
        os.replace = _killing(os.replace, draw.randrange(writes), after=draw.random() < 0.5)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        work(*arguments)


def _killing(real: Callable, number: int, after: bool) -> Callable:
    """In place of `os.replace`, by which everything that is written gets its name."""
    left = [number]

    def replace(*arguments: object) -> None:
        if left[0] == 0 and not after:
            _kill()
        real(*arguments)
        if left[0] == 0:
            _kill()
        left[0] -= 1

    return replace


def _kill() -> None:
    os.killpg(os.getpid(), signal.SIGKILL)


def check_store(store: Path) -> None:
    """Every run in it is whole."""
    for folder in store.glob("[!.]*"):
        assert (folder / "run.json").is_file(), folder
        assert changed(folder) == "", folder


def left_over(folder: Path) -> list[str]:
    """What a killed process has left there beside what belongs there."""
    hidden = (file for file in folder.rglob(".*") if file.name not in (".locks", ".unfinished", ".checked"))
    return sorted(str(file.relative_to(folder)) for file in (*hidden, *folder.glob(".unfinished/*")))
