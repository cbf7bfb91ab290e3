"""Trainings in worker processes, several side by side.

Each worker has a pipe: it is sent a run to train, and sends back every epoch's record, then how it ended. A pipe closes when the
process at its other end dies, so neither waits for the other in vain. (A pool of `concurrent.futures` can: it finishes all that is
queued before it lets Ctrl-C through, and may notice late that a worker has died.)
"""

import atexit
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait

import torch

from lficam.errors import InputError
from lficam.training.checkpoint import Record
from lficam.training.config import RunConfig

Fit = Callable[[str, RunConfig, Callable[[Record], None]], None]  # (id, config, on_epoch) -> None
OnEpoch = Callable[[str, Record], None]  # (id, record) -> None


# Each takes 1 GB of memory, whatever it trains.
MOST_AT_ONCE = 8


def carried(configs: Collection[RunConfig]) -> int:
    """How many of these trainings the cores carry at once: 1 where one of them takes all cores."""
    threads = [config.threads or torch.get_num_threads() for config in configs]
    return min(max(1, torch.get_num_threads() // max(threads)), MOST_AT_ONCE)


def fit_in_workers(fit: Fit, configs: Mapping[str, RunConfig], jobs: int, on_epoch: OnEpoch) -> dict[str, Exception]:
    """Call `fit` for each run id and config, `jobs` at a time, and report every epoch.

    Returns id -> InputError or FloatingPointError of those that failed so. Raises InputError if a process died.
    """
    context = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU
    count = min(jobs, len(configs))
    threads = max(1, torch.get_num_threads() // count) if count > 1 else None
    workers = {}

    def end() -> None:
        for process in workers.values():
            process.terminate()

    atexit.register(end)  # where a thread waits for the workers, the interpreter would wait for them at its own end
    try:
        for _ in range(count):
            pipe, its_end = context.Pipe()
            process = context.Process(target=_work, args=(fit, its_end, threads))
            process.start()
            its_end.close()
            workers[pipe] = process
        if not threading.main_thread().is_alive():  # the interpreter has been ending since before `end` knew of them
            end()
        errors = _distribute(configs, list(workers), on_epoch)
    except BaseException:  # Ctrl-C, say
        end()
        raise
    finally:
        atexit.unregister(end)
        for pipe, process in workers.items():
            pipe.close()  # that is how a worker knows that it may end
            process.join()
    for error in errors.values():
        if not isinstance(error, InputError | FloatingPointError):
            raise error
    return errors


def _distribute(configs: Mapping[str, RunConfig], pipes: list[Connection], on_epoch: OnEpoch) -> dict[str, Exception]:
    """Give each worker a run as soon as it has none; returns what went wrong, by run id."""
    errors, waiting = {}, iter(configs.items())
    while pipes:
        for pipe in wait(pipes):
            try:
                id, record, error = pipe.recv()
                if record is None:
                    pipe.send(next(waiting))
            except StopIteration:
                pipes.remove(pipe)
            except (EOFError, OSError) as death:
                raise InputError("a training process died, most likely for want of memory: train fewer side by side") from death
            if record:
                on_epoch(id, record)
            if error:
                errors[id] = error
    return errors


def _work(fit: Fit, pipe: Connection, threads: int | None) -> None:
    """A worker process: train what comes through the pipe until it closes. threads: as many as there are if None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to every process; the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if threads:
        torch.set_num_threads(threads)
    pipe.send((None, None, None))
    with suppress(EOFError):
        while True:
            id, config = pipe.recv()
            pipe.send((id, None, _error_in(partial(fit, id, config, partial(_report, pipe, id)))))


def _report(pipe: Connection, id: str, record: Record) -> None:
    pipe.send((id, record, None))


def _error_in(call: Callable[[], None]) -> Exception | None:
    try:
        call()
    except Exception as error:
        error.add_note(traceback.format_exc())  # which an error sent to another process loses
        return error
    return None


def _end_with_parent() -> None:
    """Do not train on for nobody when the parent was killed."""
    multiprocessing.parent_process().join()
    os._exit(1)
