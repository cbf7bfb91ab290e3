"""A finished figure: what it is drawn from, its numbers, and what became of the claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO

import pandas as pd
from matplotlib.figure import Figure
from pandas.api.types import is_numeric_dtype
from PIL import Image
from torch import Tensor

from lficam.figures.charts import Drawing, draw
from lficam.figures.grid import Grid
from lficam.figures.measured import Measured
from lficam.figures.outcomes import outcomes
from lficam.figures.page import NOTEBOOK_DPI
from lficam.figures.plan import Experiment
from lficam.figures.tables import TextTable, in_parts, readable
from lficam.figures.verdicts import Verdict
from lficam.training.runs import Run


@dataclass(frozen=True)
class Result:
    """A finished figure: shown as a picture in a notebook.

    drawing: what it is drawn from. table: its numbers; a column of what the models share is added. verdicts: on the claims it can
        judge, maybe none.
    images: the pictures a grid shows, sample id -> (3, h, w) in [0, 1]. masks: where the object is in them, (1, h, w) bool, where
        that is known.
    measured: what table and verdicts were made of, unless that is the maps of its runs. remarks: what else
        came out, in sentences without their full stop. beside: name -> another drawing of its numbers, with a picture of its own.
    """

    experiment: Experiment
    drawing: Drawing
    table: pd.DataFrame
    verdicts: tuple[Verdict, ...] = ()
    runs: tuple[Run, ...] = ()
    images: Mapping[str, Tensor] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    measured: Measured | None = None
    remarks: tuple[str, ...] = ()
    beside: Mapping[str, "Result"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if shared := self.experiment.shared:
            object.__setattr__(self, "table", self.table.assign(models_share=shared))

    @property
    def outcomes(self) -> list[str]:
        """What became of the claims, in sentences."""
        return outcomes([(self.experiment.source.split(", ")[0], verdict) for verdict in self.verdicts])

    @property
    def says(self) -> list[str]:
        """What came out, in sentences: the outcomes, and what else."""
        return self.outcomes + [f"{remark}." for remark in self.remarks]

    def draw(self) -> Figure:
        """The matplotlib figure, drawn anew."""
        return draw(self.drawing, self.images, self.masks)

    def summary(self) -> TextTable:
        """The table as text, rounded, for reading."""
        return readable(self.table)

    def parts(self, columns: int = 8) -> list[TextTable]:
        """The same in tables of at most so many columns; each begins with those that name the rows."""
        named = [name for name in self.table if is_numeric_dtype(self.table[name])]
        return in_parts(self.summary(), list(self.table).index(named[0]) if named else 0, columns)

    def __repr__(self) -> str:
        return f"<{self.experiment.name}: {self.experiment.title}>"

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        words = [f"{self.experiment.title}: {self.experiment.source}.", *self.says[:1]]
        return self.png(NOTEBOOK_DPI, few_colors=True), {"alt": " ".join(words)}

    def png(self, dpi: float, few_colors: bool = False) -> bytes:
        """The figure as PNG, as small as can be. few_colors: also one with pictures, which charts are in any case."""
        drawn, small = BytesIO(), BytesIO()
        self.draw().savefig(drawn, format="png", dpi=dpi)
        picture = Image.open(drawn).convert("RGB")
        if few_colors or not isinstance(self.drawing, Grid):
            picture = _in_few_colors(picture)
        picture.save(small, format="png", optimize=True)
        return small.getvalue()


def _in_few_colors(picture: Image.Image) -> Image.Image:
    """In 256 colours, at a third of the size; the background, in its corner, stays white."""
    reduced = picture.quantize(256, kmeans=2)
    palette, corner = reduced.getpalette(), reduced.getpixel((0, 0))
    palette[3 * corner : 3 * corner + 3] = [255] * 3
    reduced.putpalette(palette)
    return reduced
