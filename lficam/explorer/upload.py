"""A button that hands over a file. It sends slices, since a server ends the connection at a message of more than 10 MiB."""

from collections.abc import Callable, Sequence
from pathlib import Path

import anywidget
from traitlets import Int, Unicode


class Upload(anywidget.AnyWidget):
    """A button for choosing a file; `upload.js` is its other half.

    most: bytes; a file with more is not sent, and no more than that is kept of one that is.
    receive: is called with the name and the content of a file, None instead of too large a content.
    """

    _esm = Path(__file__).with_suffix(".js")
    description = Unicode().tag(sync=True)
    tooltip = Unicode().tag(sync=True)
    most = Int().tag(sync=True)

    def __init__(self, **traits: object):
        super().__init__(**traits)
        self.receive: Callable[[str, bytes | None], None] | None = None
        self._slices: list[bytes] = []
        self.on_msg(self._on_slice)

    def _on_slice(self, _: object, about: dict[str, object], buffers: Sequence[memoryview]) -> None:
        if not buffers:
            self.receive(about["name"], None)
            return
        if about["start"] == 0:
            self._slices = []
        self._slices += map(bytes, buffers)
        arrived = sum(map(len, self._slices))
        if arrived > self.most:  # whatever was said of its size
            self._slices = []
            self.receive(about["name"], None)
        elif arrived == about["size"]:
            content, self._slices = b"".join(self._slices), []
            self.receive(about["name"], content)
