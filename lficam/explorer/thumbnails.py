"""Test images to choose from, as small pictures, twelve a sheet."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

from ipywidgets import HTML, Button

from lficam.explorer.answers import Network
from lficam.explorer.widgets import button, line, row, show, small

A_SHEET = 12


class Thumbnails:
    """A sheet of buttons with pictures on them, and two that turn it. Who makes it says what a click does.

    shown: ids of the images on the sheet, one a button, in order.
    """

    def __init__(self) -> None:
        self._name = f"lficam-{uuid4().hex[:8]}"  # two explorers in one notebook have pictures of their own
        self._network: Network | None = None
        self.shown, self._ids, self._first, self._marked = [], [], 0, ""
        size = {"width": "60px", "height": "86px"}
        self.buttons = [Button(layout=size).add_class("lficam-thumbnail").add_class(f"{self._name}-{k}") for k in range(A_SHEET)]
        self.previous = button("Previous", "previous", tooltip="the pictures before these")
        self.next = button("Next", "next", tooltip="the pictures after these")
        self.where = line("").add_class("lficam-where")
        self.icons = HTML(layout={"display": "none"})  # what is on the buttons, as a style sheet
        self.parts = [self.icons, row(self.buttons).add_class("lficam-thumbnails"), row([self.previous, self.next, self.where])]

    def mark(self, image: str) -> None:
        """A frame around this image, wherever it turns up."""
        self._marked = image
        for id, choice in zip(self.shown, self.buttons, strict=False):
            if id == image:
                choice.add_class("lficam-chosen")
                choice.tooltip = f"shown now: test image {id}"
            else:
                choice.remove_class("lficam-chosen")
                choice.tooltip = f"test image {id}"

    @contextmanager
    def searching(self) -> Iterator[None]:
        """While the block runs it says so: to find the least stable images takes seconds."""
        before, self.where.value = self.where.value, small("looking through the test images …")
        try:
            yield
        finally:
            self.where.value = before

    def turn(self, sheets: int) -> None:
        """Sheets on, or back."""
        self.show(self._network, self._ids, self._first + sheets * A_SHEET)

    def show(self, network: Network, ids: Sequence[str], first: int = 0) -> None:
        """The sheet that begins with the `first` of these test images of a network's data set."""
        shown = list(ids[first : first + A_SHEET])
        sheet = [(network.true_class(id) or "other", b64encode(network.thumbnail(id)).decode()) for id in shown]
        self.shown, self._network, self._ids, self._first = shown, network, ids, first  # now that nothing can fail any more
        rules = []
        for k, choice in enumerate(self.buttons):
            show(choice, k < len(sheet))
            if k < len(sheet):
                label, png = sheet[k]
                choice.description = f"{first + k + 1}: {label}"
                rules.append(f"button.{self._name}-{k} {{ background-image: url(data:image/png;base64,{png}) !important }}")
        self.icons.value = f"<style>{' '.join(rules)}</style>"
        where = f"{first + 1} to {first + len(sheet)} of {len(ids)}"
        self.where.value = small(where if sheet else "no test image is like that: choose another class or order")
        self.previous.disabled, self.next.disabled = first == 0, first + A_SHEET >= len(ids)
        self.mark(self._marked)
