"""The explorer as a page: what is started, and what of it reaches other hosts. In a browser it is opened in tests/browser."""

import json
from http.client import HTTPConnection
from pathlib import Path

import pytest
from browser.servers import voila
from helpers import command
from jinja2 import DictLoader, Environment

from lficam.explorer import server
from lficam.explorer.server import voila_command, voila_environment
from lficam.paths import notebooks_dir

TEMPLATE = Path(server.__file__).with_name("share") / "voila" / "templates" / "lficam"


def test_the_page_is_for_this_machine_alone():
    started = voila_command(Path("a.ipynb"), 9000, browser=False)
    assert {"--Voila.ip=127.0.0.1", "--port=9000", "--no-browser", "--template=lficam", "--strip_sources=True"} <= set(started)
    assert "--no-browser" not in voila_command(Path("a.ipynb"), 9000, browser=True)


def test_its_template_is_found_beside_those_of_the_user(monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "/mine")
    first, second = voila_environment()["JUPYTER_PATH"].split(":")
    assert (Path(first) / "voila" / "templates" / "lficam" / "index.html.j2").is_file()
    assert second == "/mine"
    monkeypatch.delenv("JUPYTER_PATH")
    assert voila_environment()["JUPYTER_PATH"] == first


def test_style_sheets_elsewhere_lose_their_address_and_those_here_keep_it():
    base = '{% block notebook_css %}<link href="https://a.org/b.css"><link href="static/c.css">{% endblock %}'
    templates = {"voila/templates/lab/index.html.j2": base, "index.html.j2": (TEMPLATE / "index.html.j2").read_text()}
    drawn = Environment(loader=DictLoader(templates)).get_template("index.html.j2").render()
    assert drawn.split() == ["<link", 'data-elsewhere="a.org/b.css"><link', 'href="static/c.css">']
    assert json.loads((TEMPLATE / "conf.json").read_text()) == {"base_template": "lab"}


def test_the_command_serves_the_notebook_and_ends_as_it_does(monkeypatch, capsys):
    started = []
    monkeypatch.setattr(server.subprocess, "call", lambda command, env: started.append((command, env)) or 3)
    done = command(monkeypatch, capsys, "explorer", "--port", "9001", "--no-browser")
    assert done.returncode == 3
    ((arguments, environment),) = started
    assert arguments == voila_command(notebooks_dir() / "07_explorer.ipynb", 9001, browser=False)
    assert environment["JUPYTER_PATH"]


def test_without_voila_it_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    done = command(monkeypatch, capsys, "explorer")
    assert done.returncode == 2
    assert done.stderr == "lficam: the page needs Voilà: pip install 'lficam[notebooks]'\n"


@pytest.mark.parametrize("port", ["0", "70000", "here"])
def test_a_port_that_there_is_not_is_refused(port, monkeypatch, capsys):
    assert command(monkeypatch, capsys, "explorer", "--port", port).returncode == 2


def test_a_name_of_another_host_is_not_answered(tmp_path):
    """Where somebody else's name points to this machine, that one's pages could else drive the widgets in a visitor's browser."""
    with voila(tmp_path) as site:
        host = site.address.removeprefix("http://").rstrip("/")
        for path in ("/", "/api/kernels", "/voila/static/main.js"):
            connection = HTTPConnection(host)
            connection.request("GET", path, headers={"Host": "example.org"})
            assert connection.getresponse().status == 403, path
            connection.close()
