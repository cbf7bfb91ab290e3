"""Where the explorer shows its picture: it says in words what it shows, knows how wide it is, and can be pointed at."""

from pathlib import Path

import anywidget
from traitlets import Bool, Bytes, Float, Int, Tuple, Unicode


class Screen(anywidget.AnyWidget):
    """A picture in the browser; `screen.js` is its other half.

    value: the picture as PNG. words: what it shows, for those who cannot see it; read aloud when they change.
    width: CSS pixels that there are for it, in steps of 10; 0 until a browser shows it.
    pointable: whether it can be pointed at. point: where it was, from its top left, as shares; also while the mouse is dragged.
    answered: how many widths and points have been answered; the browser sends the next point thereafter.
    """

    _esm = Path(__file__).with_suffix(".js")
    value = Bytes().tag(sync=True)
    words = Unicode().tag(sync=True)
    width = Int(0).tag(sync=True)
    pointable = Bool(False).tag(sync=True)
    point = Tuple(Float(), Float(), default_value=(0.0, 0.0)).tag(sync=True)
    answered = Int(0).tag(sync=True)
