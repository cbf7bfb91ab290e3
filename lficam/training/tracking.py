"""Optional: every epoch's record in TensorBoard, through accelerate's trackers, where `LFICAM_TRACKER=tensorboard` is set."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lficam.errors import InputError
from lficam.paths import runs_dir
from lficam.training.config import RunConfig, published


@contextmanager
def tracking(id: str, config: RunConfig) -> Iterator[Callable[[dict[str, float]], None]]:
    """A function that takes each epoch's record; `tensorboard --logdir <runs>/tensorboard` shows them.

    Raises InputError for a tracker that is unknown or not installed.
    """
    tracker = os.environ.get("LFICAM_TRACKER", "")
    if not tracker:
        yield lambda record: None
        return
    from accelerate import Accelerator  # late: it costs a second
    from accelerate.utils import is_tensorboard_available

    if tracker != "tensorboard" or not is_tensorboard_available():
        raise InputError(
            f"LFICAM_TRACKER={tracker!r}: expected tensorboard, with its package installed (pip install tensorboard), or nothing"
        )
    accelerator = Accelerator(mixed_precision="no", log_with="tensorboard", project_dir=runs_dir() / "tensorboard")
    accelerator.init_trackers(id, published(config.model_dump()))
    try:
        yield lambda record: accelerator.log(record, step=record["epoch"])
    finally:
        accelerator.end_training()
