"""Tables as people read them: in a notebook, in Markdown."""

import pandas as pd

from lficam.metrics.intervals import Interval


class TextTable(pd.DataFrame):
    """A table whose cells a notebook shows whole, where pandas cuts them off after 50 characters."""

    @property
    def _constructor(self) -> type["TextTable"]:
        return TextTable

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.max_colwidth", None):
            return super()._repr_html_()


def with_interval(name: str, measured: Interval | None) -> dict[str, float]:
    """A quantity and its interval as three columns of a table's row: name, name_low, name_high; none of them for None."""
    return {} if measured is None else dict(zip((name, f"{name}_low", f"{name}_high"), measured[:3], strict=True))


def readable(table: pd.DataFrame) -> TextTable:
    """The same table as text: three decimals, small numbers as they are, missing values empty, an interval beside its mean.

    Columns are named in words: "test accuracy", not test_accuracy.
    """
    text = table.map(_text)
    for name in [column for column in table if {f"{column}_low", f"{column}_high"} <= set(table)]:
        for row, mean, low, high in table[[name, f"{name}_low", f"{name}_high"]].itertuples():
            if not pd.isna(low):
                text.loc[row, name] = f"{mean:z.3f} [{low:z.3f}, {high:z.3f}]"
        text = text.drop(columns=[f"{name}_low", f"{name}_high"])
    return TextTable(text.rename(columns=in_words))


def in_words(name: str) -> str:
    """A column's name as people read it."""
    return name.replace("_", " ")


def in_parts(table: TextTable, names: int, columns: int) -> list[TextTable]:
    """A table in several of at most so many columns, each with its first `names` columns, which name the rows."""
    rest, room = list(table)[names:], max(columns - names, 1)
    count = max(-(-len(rest) // room), 1)
    size = -(-len(rest) // count)  # parts about equally wide
    return [table[[*list(table)[:names], *rest[k * size : (k + 1) * size]]] for k in range(count)]


def markdown(table: pd.DataFrame) -> str:
    """The same table in Markdown."""
    table = readable(table)
    rows = [table.columns, ["---"] * len(table.columns), *table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _text(value: object) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) >= 0.01 and not value.is_integer() else f"{value:g}"
    return str(value)
