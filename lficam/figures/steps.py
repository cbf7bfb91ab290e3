"""Small pictures of what a computation makes of one image, step by step, for notebooks that teach."""

from collections.abc import Mapping, Sequence

from matplotlib import colormaps
from matplotlib.patches import Rectangle
from torch import Tensor

from lficam.figures.colors import style_of
from lficam.figures.page import COLOR_MAP, MARGIN, PAGE_WIDTH, SMALL, SMALL_LINE, Page
from lficam.model.cam import normalize_map

_SIDE, _GAP = 1.3, 0.08  # inches of a picture, at most, and between two


def strip(title: str, pictures: Mapping[str, Tensor]) -> Page:
    """Pictures side by side, each with its name below.

    pictures: (3, h, w) in [0, 1], or planes (h, w) of any values, shown from their lowest to their highest.
    """
    side = min(_SIDE, (PAGE_WIDTH - 2 * MARGIN + _GAP) / len(pictures) - _GAP)
    names = [name.count("\n") + 1 for name in pictures]
    words = f"{title}: {', '.join(name.replace(chr(10), ' ') for name in pictures)}"
    page = Page(PAGE_WIDTH, 0.35 + side + SMALL_LINE * max(names) + 0.1, words)
    page.text(MARGIN, 0.1, title, SMALL, va="top", weight="bold")
    for k, (name, picture) in enumerate(pictures.items()):
        x = MARGIN + k * (side + _GAP)
        values = picture.detach().float().cpu()
        colors = (
            values.permute(1, 2, 0).clamp(0, 1).numpy() if values.dim() == 3 else colormaps[COLOR_MAP](_scaled(values))[..., :3]
        )
        page.image(x, 0.3, side, side, colors)
        page.text(x + side / 2, 0.33 + side, name, SMALL, side + _GAP, ha="center", va="top")
    return page


def weights(title: str, values: Tensor, names: Sequence[str], level: float) -> Page:
    """Bars of weights from 0, with a dashed line at a level: what each would be if all were the same."""
    room, height = PAGE_WIDTH - 2 * MARGIN, 0.9
    page = Page(
        PAGE_WIDTH, 1.6, f"{title}: {', '.join(f'{name} {value:.3f}' for name, value in zip(names, values.tolist(), strict=True))}"
    )
    page.text(MARGIN, 0.1, title, SMALL, va="top", weight="bold")
    step, inch, base = room / len(values), height / (1.1 * float(values.max())), 0.35 + height
    for k, (value, name) in enumerate(zip(values.tolist(), names, strict=True)):
        place = (MARGIN + (k + 0.15) * step, base - value * inch)
        page.axes.add_patch(Rectangle(place, 0.7 * step, value * inch, facecolor=style_of("LFI-CAM").color))
        page.text(MARGIN + (k + 0.5) * step, base + 0.04, name, SMALL, ha="center", va="top")
    page.axes.plot([MARGIN, MARGIN + room], [base - level * inch] * 2, color="0.3", linewidth=0.9, linestyle="--")
    return page


def _scaled(plane: Tensor) -> object:
    return normalize_map(plane[None, None])[0, 0].numpy()
