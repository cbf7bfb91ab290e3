"""Large files from the network: what an interrupted download has is kept and gone on with; nothing is used before it is checked."""

import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tqdm.auto import tqdm

from lficam.errors import InputError
from lficam.progress import bars_can_be_drawn
from lficam.provenance import sha256

CHUNK = 2**20  # bytes
TIMEOUT = 30  # seconds without an answer


def download(url: str, file: Path, size: int, checksum: str) -> None:
    """Fetch `url` into `file`, which appears only when it is whole; what is there of an earlier try is not fetched again.

    size: in bytes. checksum: SHA-256, in hexadecimal digits.
    Raises InputError if the network or the server fails, or what came is not the file that was expected.
    """
    part = file.with_name(f".{file.name}.part")
    there = part.stat().st_size if part.is_file() else 0
    if there < size:
        try:
            _fetch(url, part, there, size)
        except (urllib.error.URLError, ConnectionError, TimeoutError, HTTPException) as error:  # not those of the disk
            kept = part.stat().st_size if part.is_file() else 0
            raise InputError(
                f"{url} could not be downloaded ({error}); {kept / 1e6:,.0f} of {size / 1e6:,.0f} MB are kept: try again, or put "
                f"{file.name} into {file.parent} yourself"
            ) from error
    if part.stat().st_size != size or sha256(part) != checksum:
        part.unlink()
        raise InputError(f"what came from {url} is not the expected {file.name} (other size or checksum): try again later")
    part.replace(file)


def _fetch(url: str, part: Path, there: int, size: int) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        goes_on = answer.status == 206  # else the server sends all of it again
        bar = tqdm(total=size, initial=there if goes_on else 0, unit="B", unit_scale=True, disable=not bars_can_be_drawn())
        with part.open("ab" if goes_on else "wb") as target, bar:
            while chunk := answer.read(CHUNK):
                target.write(chunk)
                bar.update(len(chunk))
    if part.stat().st_size < size:
        raise urllib.error.URLError("the connection ended early")
