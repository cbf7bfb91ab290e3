"""Widgets as the explorer uses them: with their whole label, no wider than the window, next to each other where there is room."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from html import escape

from ipywidgets import HTML, Box, Button, Checkbox, Dropdown, FloatSlider, VBox, Widget

from lficam.errors import InputError


class RedLine(HTML):
    """What has gone wrong, in red and for screen readers; hidden while nothing has."""

    def __init__(self) -> None:
        super().__init__(layout={"display": "none"})
        self.add_class("lficam-error")
        self._wrong: dict[str, str] = {}  # job -> why it failed

    @contextmanager
    def watch(self, job: str) -> Iterator[None]:
        """Do a job: if it fails, the line says why until the same job succeeds."""
        words = ""
        try:
            yield
        except InputError as error:
            words = str(error)
        except Exception as error:  # its traceback would end in a log that nobody reads
            words = f"{type(error).__name__}: {error}. The explorer itself is at fault: choose something else, or start it again"
        self._wrong[job] = " ".join(words.split())
        wrong = [escape(words) for words in dict.fromkeys(self._wrong.values()) if words]
        self.value = f'<div role="alert">{"<br>".join(wrong)}</div>' if wrong else ""
        show(self, len(wrong) > 0)


def labelled(kind: type[Widget], label: str, css: str, **options: object) -> Widget:
    """A control with its whole label, as wide as there is room."""
    layout = {"width": "auto", "max_width": "100%"}
    control = kind(description=label, style={"description_width": "initial"}, layout=layout, **options)
    return control.add_class("lficam-wide").add_class(f"lficam-{css}")


def slider(label: str, value: float, low: float = 0.0, step: float = 0.05) -> FloatSlider:
    """Of a share, up to 1."""
    return labelled(FloatSlider, label, "slider", value=value, min=low, max=1.0, step=step, readout_format=".2f")


def tick(label: str, value: bool = True) -> Checkbox:
    """A checkbox that is no wider than its label."""
    return Checkbox(description=label, value=value, indent=False, layout={"width": "auto"})


def button(label: str, css: str, **options: object) -> Button:
    """A button that is as wide as its label."""
    return Button(description=label, layout={"width": "auto"}, **options).add_class(f"lficam-{css}")


def row(parts: Iterable[Widget]) -> Box:
    """Side by side, and on further lines where there is less room."""
    return Box(list(parts)).add_class("lficam-row")


def group(parts: Iterable[Widget], words: str) -> VBox:
    """Controls that belong together, and a line that says what they mean."""
    return VBox([row(parts), line(words)], layout={"width": "100%"})


def line(words: str) -> HTML:
    """A line of help."""
    return HTML(small(words))


def small(words: str) -> str:
    """Words, as HTML, in the type of a help line."""
    return f'<span class="lficam-help">{words}</span>'


def choose_from(control: Dropdown, options: Mapping[str, object]) -> None:
    """Give a control other options, and choose the first."""
    control.options = options
    control.index = 0 if options else None


def show(widget: Widget, shown: bool) -> None:
    """Show or hide a control."""
    widget.layout.display = None if shown else "none"
