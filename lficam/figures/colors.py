"""One colour and one marker for each method and kind of map, the same in every chart.

The colours of Okabe and Ito, which colour-blind readers tell apart, and greys for what has learned nothing.
"""

from typing import NamedTuple


class Style(NamedTuple):
    """A colour and a marker, as matplotlib takes them."""

    color: str
    marker: str


# What a name holds -> how it is drawn; the first that it holds counts.
_STYLES = {
    "untrained": Style("#7f7f7f", "X"),
    "random map": Style("#b0b0b0", "*"),
    "Grad-CAM": Style("#cc79a7", "^"),
    "Score-CAM": Style("#cc79a7", ">"),
    "LayerCAM": Style("#cc79a7", "<"),
    "without FIN": Style("#e69f00", "s"),
    "no FIN": Style("#e69f00", "s"),
    "LFI-CAM": Style("#d55e00", "o"),
    "with FIN": Style("#d55e00", "o"),
    "ABN": Style("#0072b2", "D"),
    "plain": Style("#009e73", "v"),
}
_OTHER = Style("#333333", "o")  # a difference of two methods, too


def style_of(name: str) -> Style:
    """How what has this name is drawn."""
    if " - " in name:
        return _OTHER
    return next((style for part, style in _STYLES.items() if part in name), _OTHER)
