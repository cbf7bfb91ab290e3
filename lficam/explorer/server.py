"""The explorer as a page without code, served by Voilà to this machine alone; it asks no other host for anything."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from lficam.errors import InputError
from lficam.paths import notebooks_dir

_OPTIONS = ("--Voila.ip=127.0.0.1", "--strip_sources=True", "--theme=light", "--template=lficam")
# Another site whose name points here would reach the widgets in a visitor's browser: only names of this machine are answered.
_OPTIONS += ("--Voila.tornado_settings={'allow_remote_access': False}",)
_OPTIONS += ("--MappingKernelManager.cull_idle_timeout=1800", "--MappingKernelManager.cull_interval=60")  # seconds; of pages left
_TEMPLATES = Path(__file__).with_name("share")  # as Jupyter looks for them


def serve(port: int, browser: bool) -> int:
    """Serve it until interrupted; returns Voilà's exit status. Raises InputError if Voilà is not installed."""
    if find_spec("voila") is None:
        raise InputError("the page needs Voilà: pip install 'lficam[notebooks]'")
    command = voila_command(notebooks_dir() / "07_explorer.ipynb", port, browser)
    return subprocess.call(command, env=os.environ | voila_environment())


def voila_command(notebook: Path, port: int, browser: bool) -> list[str]:
    """What serves a notebook as a page."""
    command = [sys.executable, "-m", "voila", str(notebook), *_OPTIONS, f"--port={port}"]
    return command if browser else [*command, "--no-browser"]


def voila_environment() -> dict[str, str]:
    """The variables that it needs beside those that are set."""
    return {"JUPYTER_PATH": os.pathsep.join(filter(None, (str(_TEMPLATES), os.environ.get("JUPYTER_PATH"))))}
