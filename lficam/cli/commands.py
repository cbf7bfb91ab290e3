"""The command line: `lficam figures`, `report`, `compare`, `data`, `train`, `runs` (`making`), and `explain`, `explorer`, `export`,
`stability`, `evaluate` (`using`)."""

from lficam.cli import making, using  # noqa: F401  which is what gives the application its commands
from lficam.cli.app import app, fail
from lficam.errors import InputError


def main() -> None:
    """Entry point: as `app`, with clear errors."""
    try:
        app()
    except InputError as error:
        fail(str(error))
    except (FloatingPointError, OSError) as error:  # a training that diverged; a disk that is full, a folder that is read-only
        fail(str(error), code=1)
