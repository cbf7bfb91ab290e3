"""The two servers that show the explorer: Voilà as `make explorer` starts it, and JupyterLab.

Both run on a free port of this machine alone, on a copy of the notebook, with settings of their own: nothing of the user's is
read or written.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from playwright.sync_api import Page

from lficam.explorer.server import voila_command, voila_environment
from lficam.paths import repository

NOTEBOOK = repository() / "notebooks" / "07_explorer.ipynb"

# No news, which would be asked for elsewhere, and no saving of the copy while it is looked at.
LAB_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}


class Site(NamedTuple):
    """Where the explorer is served. open: brings a page to where the notebook is executed. log: the server's."""

    name: str
    address: str
    open: Callable[[Page], None]
    log: Path


@contextmanager
def voila(folder: Path, overrides: dict[str, int] | None = None, **environment: str) -> Iterator[Site]:
    """The notebook as a page."""
    notebook = _copied(folder, overrides)
    port = _free_port()
    with _running(voila_command(notebook, port, browser=False), port, "/", folder, environment | voila_environment()) as (
        address,
        log,
    ):
        yield Site("voila", address, lambda page: page.goto(address), log)


@contextmanager
def jupyterlab(folder: Path) -> Iterator[Site]:
    """The notebook in JupyterLab; opening it runs all its cells by the menu."""
    notebook = _copied(folder)
    for name, values in LAB_SETTINGS.items():
        file = folder / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    options = [f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--allow-root", "--no-browser", "--ip=127.0.0.1"]
    port = _free_port()
    command = [sys.executable, "-m", "jupyterlab", *options, f"--port={port}"]
    with _running(command, port, f"/lab/tree/{notebook.relative_to(folder)}", folder, {}) as (address, log):
        yield Site("jupyterlab", address, lambda page: _run_all_cells(page, address), log)


def _run_all_cells(page: Page, address: str) -> None:
    page.goto(address)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.locator(".jp-Toolbar-kernelName", has_text="Python 3").wait_for()  # without a kernel, a dialog would ask for one
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()


def _copied(folder: Path, overrides: dict[str, int] | None = None) -> Path:
    copy = folder / "notebooks" / NOTEBOOK.name
    copy.parent.mkdir()
    copy.write_text(NOTEBOOK.read_text().replace("overrides = {}", f"overrides = {overrides or {}}"))
    return copy


@contextmanager
def _running(
    command: list[str | Path], port: int, path: str, folder: Path, environment: dict[str, str]
) -> Iterator[tuple[str, Path]]:
    """A server on a port until the block ends: its address with this path, its log."""
    log = folder / "server.log"
    address = f"http://127.0.0.1:{port}{path}"
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {f"JUPYTERLAB_{name}_DIR": str(folder / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    own |= {"IPYTHONDIR": str(folder / "ipython")}
    with log.open("w") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | own | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(port, server, log)
            yield address, log
        finally:
            server.terminate()  # it ends its kernels
            server.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int, server: subprocess.Popen, log: Path, seconds: float = 60) -> None:
    """Until something answers; a page of Voilà's would start a kernel, so a file that no server has is asked for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{port}/static/none")
        except HTTPError as answer:
            answer.close()
            return
        except URLError:
            time.sleep(0.1)
    raise AssertionError(f"the server does not answer on port {port}:\n{log.read_text()}")
