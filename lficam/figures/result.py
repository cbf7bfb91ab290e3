"""A finished figure: what it is drawn from, its numbers, and what became of the claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from lficam.figures.charts import Drawing, draw
from lficam.figures.grid import Grid
from lficam.figures.measured import Measured
from lficam.figures.outcomes import outcomes
from lficam.figures.plan import Experiment
from lficam.figures.tables import readable
from lficam.figures.verdicts import Verdict
from lficam.training.runs import Run

NOTEBOOK_DPI = 110  # on a screen; keeps a notebook small


@dataclass(frozen=True)
class Result:
    """A finished figure: shown as a picture in a notebook.

    drawing: what it is drawn from. table: its numbers; a column of what the models share is added. verdicts: on the claims it can
        judge, maybe none.
    images: the pictures a grid shows, sample id -> (3, h, w) in [0, 1].
    measured: what table and verdicts were made of, unless that is the maps of its runs. remarks: what else
        came out, in sentences without their full stop.
    """

    experiment: Experiment
    drawing: Drawing
    table: pd.DataFrame
    verdicts: tuple[Verdict, ...] = ()
    runs: tuple[Run, ...] = ()
    images: Mapping[str, Tensor] = field(default_factory=dict)
    measured: Measured | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if shared := self.experiment.shared:
            object.__setattr__(self, "table", self.table.assign(models_share=shared))

    @property
    def says(self) -> list[str]:
        """What came out, in sentences."""
        judged = outcomes([(self.experiment.source.split(", ")[0], verdict) for verdict in self.verdicts])
        return judged + [f"{remark}." for remark in self.remarks]

    def draw(self) -> Figure:
        """The matplotlib figure, drawn anew."""
        return draw(self.drawing, self.images)

    def summary(self) -> pd.DataFrame:
        """The table as text, rounded, for reading."""
        return readable(self.table)

    def __repr__(self) -> str:
        return f"<{self.experiment.name}: {self.experiment.title}>"

    def _repr_png_(self) -> bytes:
        return self.png(NOTEBOOK_DPI)

    def png(self, dpi: float) -> bytes:
        """The figure as PNG, as small as can be."""
        drawn, small = BytesIO(), BytesIO()
        self.draw().savefig(drawn, format="png", dpi=dpi)
        picture = Image.open(drawn).convert("RGB")
        if not isinstance(self.drawing, Grid):
            picture = picture.quantize(256)  # enough for a chart, at a third of the size
        picture.save(small, format="png", optimize=True)
        return small.getvalue()
