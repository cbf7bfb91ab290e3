import pandas as pd

from lficam.report import markdown_table


def test_a_table_in_markdown():
    table = pd.DataFrame({"name": ["a|b", "c"], "value": [0.12345, float("nan")], "decay": [1e-4, 5e-4], "ok": [True, None]})
    assert markdown_table(table).splitlines() == [
        "| name | value | decay | ok |",
        "| --- | --- | --- | --- |",
        "| a\\|b | 0.123 | 0.0001 | True |",
        "| c |  | 0.0005 |  |",
    ]
