"""Tables as people read them: in a notebook, in Markdown."""

import pandas as pd


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The same table as text: three decimals, small numbers as they are, missing values empty."""
    return table.map(_text)


def markdown(table: pd.DataFrame) -> str:
    """The same table in Markdown."""
    rows = [table.columns, ["---"] * len(table.columns), *readable(table).itertuples(index=False)]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _text(value: object) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) >= 0.01 and not value.is_integer() else f"{value:g}"
    return str(value)
