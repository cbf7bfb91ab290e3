"""A download against a server of the test's own: whole or not at all, resumed where it stopped."""

import functools
import hashlib
import http.server
import threading

import pytest

from lficam.data import catdog, datasets
from lficam.data.download import download
from lficam.errors import InputError

CONTENT = bytes(range(256)) * 9000
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Sends `content`; `stops_after` bytes of an answer it breaks off."""

    def __init__(self, state, *given):
        self.state = state
        super().__init__(*given)

    def do_GET(self):
        asked = self.headers.get("Range")
        self.state["asked"].append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.state["resumes"] else 0
        part = self.state["content"][start:]
        self.send_response(self.state["status"] if self.state["status"] >= 400 else 206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: self.state["stops_after"]])

    def log_message(self, *given):
        pass


@pytest.fixture
def server():
    state = {"content": CONTENT, "asked": [], "resumes": True, "stops_after": None, "status": 200}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, state)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        state["url"] = f"http://127.0.0.1:{running.server_port}/archive.zip"
        yield state
        running.shutdown()
        thread.join()


def fetch(server, folder, **options):
    download(server["url"], folder / "archive.zip", **({"size": len(CONTENT), "checksum": CHECKSUM} | options))


def test_a_file_arrives_whole(server, tmp_path):
    fetch(server, tmp_path)
    assert (tmp_path / "archive.zip").read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["archive.zip"]
    assert server["asked"] == [None]


@pytest.mark.parametrize("resumes", [True, False])
def test_what_an_interrupted_one_has_is_gone_on_with(resumes, server, tmp_path):
    server["stops_after"] = 1_000_000
    with pytest.raises(InputError, match=r"could not be downloaded .*; 1 of 2 MB are kept: try again") as caught:
        fetch(server, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "archive.zip").exists()
    server |= {"stops_after": None, "resumes": resumes}
    fetch(server, tmp_path)
    assert (tmp_path / "archive.zip").read_bytes() == CONTENT
    assert server["asked"] == [None, "bytes=1000000-"]


@pytest.mark.parametrize("wrong", [{"checksum": "0" * 64}, {"size": len(CONTENT) - 1}])
def test_another_file_than_expected_is_not_kept(wrong, server, tmp_path):
    with pytest.raises(InputError, match=r"is not the expected archive\.zip \(other size or checksum\)"):
        fetch(server, tmp_path, **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_refuses_is_one_line(server, tmp_path):
    server["status"] = 404
    with pytest.raises(InputError, match=r"could not be downloaded \(HTTP Error 404: Not Found\); 0 of 2 MB are kept"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cats_and_dogs_are_downloaded_and_unpacked(server, tmp_path, monkeypatch):
    import io
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("PetImages/Cat/0.jpg", "PetImages/Dog/0.jpg"):
            file.writestr(name, b"picture")
    server["content"] = archive.getvalue()
    monkeypatch.setattr(catdog, "URL", server["url"])
    monkeypatch.setattr(catdog, "SIZE", len(server["content"]))
    monkeypatch.setattr(catdog, "SHA256", hashlib.sha256(server["content"]).hexdigest())
    datasets.DATASETS["catdog"].prepare(tmp_path)
    assert (tmp_path / "PetImages/Cat/0.jpg").read_bytes() == b"picture"
    datasets.DATASETS["catdog"].prepare(tmp_path)  # the archive is there
    assert server["asked"] == [None]
