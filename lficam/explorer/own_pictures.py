"""Pictures of one's own: they stay in memory alone, the last few of them."""

import hashlib
from functools import lru_cache

from torch import Tensor

from lficam.data.decoding import check_upload
from lficam.data.photograph import Photograph, photograph_in, seen_in
from lficam.errors import InputError

UPLOAD = "upload:"  # what the key of an uploaded picture starts with
KEPT_UPLOADS = 20

_uploads: dict[str, bytes] = {}  # key -> a file that can be read, oldest first


def add_upload(name: str, content: bytes) -> str:
    """Keep a picture of one's own, the last 20 of them; returns the key by which it is shown, "upload:" and a SHA-256.

    name: of the file, for the message if it is refused; it is not kept.
    Raises InputError for a content that `decoding.check_upload` refuses.
    """
    content = bytes(content)
    key = UPLOAD + hashlib.sha256(content).hexdigest()
    _uploads[key] = _uploads.pop(key) if key in _uploads else check_upload(name, content)
    while len(_uploads) > KEPT_UPLOADS:
        del _uploads[next(iter(_uploads))]
    return key


@lru_cache(maxsize=64)
def own_picture(key: str, size: int, augmentation: str) -> Tensor:
    """What a network sees of it that was trained on images of this size, with this augmentation: (3, size, size) in [0, 1].

    Do not write into it: it is kept. Raises InputError if the picture no longer is.
    """
    return seen_in(_content(key), size, augmentation)


@lru_cache(maxsize=64)
def own_photograph(key: str, augmentation: str) -> Photograph:
    """The whole of it, with the part that such a network sees. Raises InputError if it is no longer kept."""
    return photograph_in(_content(key), augmentation)


def _content(key: str) -> bytes:
    if key not in _uploads:
        raise InputError(f"your picture is no longer kept (the last {KEPT_UPLOADS} are): upload it again")
    return _uploads[key]
