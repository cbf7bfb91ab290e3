import pandas as pd

from lficam.tables import markdown, readable

TABLE = pd.DataFrame({"name": ["a|b", "c"], "value": [0.12345, float("nan")], "decay": [1e-4, 5.0], "ok": [True, None]})


def test_numbers_are_short_and_missing_ones_empty():
    assert readable(TABLE).to_numpy().tolist() == [["a|b", "0.123", "0.0001", "True"], ["c", "", "5", ""]]


def test_a_table_in_markdown():
    assert markdown(TABLE).splitlines() == [
        "| name | value | decay | ok |",
        "| --- | --- | --- | --- |",
        "| a\\|b | 0.123 | 0.0001 | True |",
        "| c |  | 5 |  |",
    ]
