"""Getting the photographs of cats and dogs: Microsoft's archive is downloaded, its and Kaggle's are unpacked."""

import zipfile
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

from lficam.data.download import download
from lficam.errors import InputError

# Microsoft's archive of the Asirra photographs.
URL = "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip"
SIZE = 824_887_076  # bytes
SHA256 = "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"


def get_catdog(folder: Path) -> None:
    """Download Microsoft's archive, unless an archive or photographs lie there, and unpack what lies there."""
    if not any(folder.glob("*.zip")) and not any((folder / name).is_dir() for name in ("PetImages", "train")):
        download(URL, folder / URL.rsplit("/", 1)[1], SIZE, SHA256)
    _unpack_zips(folder)


def _unpack_zips(folder: Path) -> None:
    """Unpack the archives that lie in the folder, and those that were in them; each in one piece.

    Raises InputError if one is damaged, or something of it is there already.
    """
    done = set()
    while left := set(folder.glob("*.zip")) - done:
        for archive in sorted(left):
            _unpack_zip(archive, folder)
        done |= left


def _unpack_zip(archive: Path, folder: Path) -> None:
    """In one piece; what is all there already stays as it is."""
    print(f"unpacking {archive}", flush=True)
    with TemporaryDirectory(dir=folder) as unpacked:
        try:
            with zipfile.ZipFile(archive) as file:
                file.extractall(unpacked)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InputError(f"{archive} is damaged ({error}): remove it and get it again") from error
        entries = sorted(Path(unpacked).iterdir())
        there = [entry.name for entry in entries if (folder / entry.name).exists()]
        if len(there) == len(entries):
            return
        if there:
            raise InputError(f"{archive} holds {there[0]}, which is in {folder} already: move one of them away")
        for entry in entries:
            entry.rename(folder / entry.name)
