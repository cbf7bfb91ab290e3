"""What the commands share: the application, options, and how it ends.

Wrong input is one line on standard error and exit code 2. A figure or a training that fails is exit code 1.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

import typer

from lficam.errors import InputError

app = typer.Typer(no_args_is_help=True)

ProfileOption = Annotated[str, typer.Option(help="embedded, photos, quick or paper.")]
JobsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        help="Models to train side by side; pays where one does not fill the GPU. Left out: one a core on embedded data, else one.",
        show_default=False,
    ),
]
CompareOption = Annotated[str, typer.Option(metavar="DATASET", help="The runs of `lficam compare DATASET` instead.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="A field of RunConfig, such as epochs=2. Can be repeated.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lficam {version('lficam')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print it and exit.")] = False,
) -> None:
    """LFI-CAM: train it, explain images, regenerate the figures of its supplement."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and context.invoked_subcommand != "train":
        raise InputError(
            f"only `lficam train` runs in several processes: start `lficam {context.invoked_subcommand}` without a launcher"
        )


@contextmanager
def resumable() -> Iterator[None]:
    """Around what goes on from where it was interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        from lficam.training.processes import part  # late: it imports torch

        if part().index > 0:  # of one training in several processes the first speaks
            sys.exit(130)
        fail(
            "interrupted: the same command goes on; of a training under way an epoch and up to two minutes are done again", code=130
        )


def overrides_of(pairs: list[str]) -> dict[str, Any]:
    """What `--set` was given, as text. Raises InputError for what is no KEY=VALUE."""
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--set {pair!r}: expected key=value, such as epochs=2")
        overrides[key] = value
    return overrides


def fail(message: str, code: int = 2) -> None:
    """End with one line on standard error."""
    print(f"lficam: {message}", file=sys.stderr)
    sys.exit(code)
