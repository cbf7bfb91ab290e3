"""Train what the store of runs lacks: one run or many, here or side by side, from where an interrupted training stopped.

A run goes into the store in one piece, once it is whole; until then its state lies apart from it. A process that needs a run which
another one trains waits for it.
"""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError

from lficam.data.own_data import is_registered_dataset
from lficam.data.samples import without_fold
from lficam.errors import InputError
from lficam.model.devices import cpu_threads
from lficam.model.trunks import is_registered
from lficam.paths import atomic_folder, lock, runs_dir
from lficam.progress import Progress
from lficam.provenance import environment
from lficam.sums import write_sums
from lficam.training.checkpoint import Record
from lficam.training.config import RunConfig, by_id, run_ids
from lficam.training.explain import explain_samples
from lficam.training.kept_maps import EpochMaps, has_epochs, keep_maps
from lficam.training.loop import train
from lficam.training.memory import warn_if_too_large
from lficam.training.parallel import carried, fit_in_workers
from lficam.training.processes import agreed, part
from lficam.training.runs import Run, dataset_of, is_stored, load_run, metadata_of
from lficam.training.tracking import tracking


def fit_or_load(config: RunConfig) -> Run:
    """The run of a config: from the store if it is there, else trained now and stored."""
    return fit_or_load_all([config])[0]


def fit_or_load_all(configs: Sequence[RunConfig], epochs: bool = False) -> list[Run]:
    """The runs of many configs, in order; trains what the store lacks, with one progress bar.

    epochs: whether they need the maps of their epochs (`Run.epoch_maps`); a run that was stored without them is trained again and
        takes its place, so that figures made from it before are out of date.
    An interrupted call keeps the runs that were finished. A second process that needs the same run waits for it.
    Raises what kept the first of them from being trained.
    """
    # Not from a script: a process beside it would begin with running the script again, from its top.
    jobs = 1 if hasattr(sys.modules["__main__"], "__file__") else None
    for error in fit_missing(configs, jobs, epochs).values():
        raise error
    # The caller's config, not the stored one: it knows where the data lies now.
    return [replace(load_run(id), config=config) for id, config in zip(run_ids(configs), configs, strict=True)]


def fit_missing(configs: Sequence[RunConfig], jobs: int | None = None, epochs: bool = False) -> dict[str, Exception]:
    """Train what the store lacks; a run that cannot be trained does not keep the others from it.

    jobs: how many to train side by side, which pays where one does not fill the GPU; as many as `parallel.carried` says when
        left out. What was registered (`register_trunk`, `register_dataset`) is known in this process alone, and is trained here
        one at a time when they are done.
    epochs: as for `fit_or_load_all`.

    Returns id -> InputError (data that cannot be read) or FloatingPointError (a loss that is not finite) of those.
    """
    wanted = by_id(configs)
    lacking = {id: config for id, config in wanted.items() if _lacks(id, epochs)}
    for id in wanted.keys() - lacking.keys():
        _forget_state(id)
    fit = partial(_fit, epochs=epochs)
    if not lacking:
        return {}
    jobs = min(jobs or carried(lacking.values()), len(lacking))
    elsewhere = {id: config for id, config in lacking.items() if jobs > 1 and not _is_registered(config)}
    with Progress({id: config.epochs for id, config in lacking.items()}) as progress:
        failed = fit_in_workers(fit, elsewhere, jobs, progress.epoch) if elsewhere else {}
        for id, config in lacking.items():
            if id in elsewhere:
                continue
            progress.start(id)
            try:
                fit(id, config, partial(progress.epoch, id))
            except (InputError, FloatingPointError) as error:
                # Their tracebacks would keep the model and its data in memory.
                error.__cause__ = error.__context__ = None
                failed[id] = error.with_traceback(None)
        return failed


def _is_registered(config: RunConfig) -> bool:
    return is_registered(config.trunk) or is_registered_dataset(config.dataset)


def train_again(config: RunConfig) -> None:
    """Train a run anew; the one that is stored stays until the new one takes its place. Raises what keeps it from being trained."""
    id = config.run_id()
    with Progress({id: config.epochs}) as progress:
        progress.start(id)
        _fit(id, config, partial(progress.epoch, id), again=True)


def fit_elsewhere(configs: Sequence[RunConfig], on_epoch: Callable[[str, Record], None]) -> dict[str, Exception]:
    """As `fit_missing`, in one process beside this one, which stays free to answer; each epoch is reported as id and record."""
    return fit_in_workers(_fit, missing(configs), 1, on_epoch)


def missing(configs: Sequence[RunConfig], epochs: bool = False) -> dict[str, RunConfig]:
    """Id -> config of the runs that the store lacks. epochs: as for `fit_or_load_all`."""
    return {id: config for id, config in by_id(configs).items() if _lacks(id, epochs)}


def _lacks(id: str, epochs: bool) -> bool:
    return not is_stored(id) or (epochs and not has_epochs(runs_dir() / id))


def _forget_state(id: str) -> None:
    """Remove the state of a training that was killed when its run was stored already; not while another process works on it."""
    if unfinished(id).is_dir():
        with suppress(InputError), lock(runs_dir(), id, busy="", wait=False):
            shutil.rmtree(unfinished(id))


def unfinished(id: str) -> Path:
    """Where a training that is under way, or was interrupted, keeps its state."""
    return runs_dir() / ".unfinished" / id


def _fit(id: str, config: RunConfig, on_epoch: Callable[[Record], None], epochs: bool = False, again: bool = False) -> None:
    """Train and store one run, from where an interrupted training of it stopped. again: even if it is stored.

    Where one training has several processes, the first of them keeps others out and writes.
    """
    first = part().index == 0
    locked = lock(runs_dir(), id, busy=f"waiting for the process that trains {id}", wait=True)
    with locked if first else nullcontext(), tracking(id, config) if first else nullcontext(print) as track:
        if not agreed(again or bool(missing([config], epochs))):  # another process has trained it meanwhile
            return

        def epoch_ended(record: Record) -> None:
            on_epoch(record)
            track(record)

        for stale in runs_dir().glob(f".{id}.*"):  # a process that was killed while it stored the run
            shutil.rmtree(stale)
        memory = None
        try:
            with cpu_threads(config.threads):
                _train_and_store(id, config, epoch_ended)
        except FloatingPointError as error:
            raise FloatingPointError(f"{id}: {error}") from None
        except torch.OutOfMemoryError as error:
            memory = str(error).split(". ")[0]
        if memory:  # outside of the except block, whose traceback would keep what filled the memory
            torch.cuda.empty_cache()
            raise InputError(
                f"{id}: {memory}. Batches of {config.batch_size} images of {config.image_size} pixels do not fit: use a smaller "
                "image_size, precision=bfloat16, fewer jobs side by side, or, where it is not compared, a smaller batch_size"
            )


def _train_and_store(id: str, config: RunConfig, on_epoch: Callable[[Record], None]) -> None:
    dataset = dataset_of(config)
    epoch_maps = EpochMaps(config, dataset)
    if part().index == 0:
        warn_if_too_large(id, config, len(dataset.classes))
    model, history = train(config, dataset, on_epoch, unfinished(id), epoch_maps, epoch_maps.levels)
    if part().index > 0:
        agreed(True)  # once it is stored
        return
    test = explain_samples(model, dataset.test, dataset.mean, dataset.std, config.image_size, config.augmentation)
    record = {
        "config": config.model_dump(),
        "classes": dataset.classes,
        "mean": dataset.mean,
        "std": dataset.std,
        "data": {
            "train": len(without_fold(dataset.train, config.fold)),
            "test": len(dataset.test),
            "unreadable": dict(dataset.unreadable),
        },
        "metrics": {
            "test_accuracy": test.accuracy(dataset.test.labels),
            "train_accuracy": history[-1]["accuracy"],
            "seconds": round(sum(record["seconds"] for record in history), 1),
        },
        "history": history,
        "environment": environment() | ({"processes": part().count} if part().count > 1 else {}),
    }
    model.metadata = metadata_of(config, dataset)
    try:
        with atomic_folder(runs_dir() / id) as folder:
            model.save_pretrained(folder)
            keep_maps(folder, model, dataset, config, test)
            epoch_maps.save(folder)
            (folder / "run.json").write_text(json.dumps(record, indent=2))
            write_sums(folder)
    except SafetensorError as error:  # of a full disk, too
        raise OSError(f"{id} cannot be stored ({error}): the next call goes on from its last checkpoint") from error
    shutil.rmtree(unfinished(id), ignore_errors=True)
    agreed(True)
