import pandas as pd

from lficam.figures.tables import in_parts, markdown, readable, with_interval
from lficam.metrics.intervals import Interval

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


def test_an_interval_stands_beside_its_mean():
    row = {"name": "a"} | with_interval("iou", Interval(0.5, -0.00012, 0.75)) | {"iou_published": 0.25}
    table = pd.DataFrame([row, {"name": "b", "iou": 0.125}, {"name": "c"} | with_interval("iou", None)])
    shown = readable(table)
    assert list(shown) == ["name", "iou", "iou published"]  # in words
    assert shown["iou"].tolist() == ["0.500 [0.000, 0.750]", "0.125", ""]
    assert list(table) == ["name", "iou", "iou_low", "iou_high", "iou_published"]  # the table itself keeps the numbers


def test_a_wide_table_is_shown_in_parts_with_the_names_of_its_rows():
    table = pd.DataFrame([range(9)], columns=list("abcdefghi"))
    assert ["".join(part) for part in in_parts(table, 2, 6)] == ["abcdef", "abghi"]
    assert ["".join(part) for part in in_parts(table, 2, 5)] == ["abcde", "abfgh", "abi"]
    assert ["".join(part) for part in in_parts(table, 0, 9)] == ["abcdefghi"]
    assert ["".join(part) for part in in_parts(table[["a", "b"]], 2, 5)] == ["ab"]


def test_a_notebook_shows_every_cell_whole():
    words = "C3 supported, but not shown to exceed what networks that have learned nothing reach"
    table = readable(pd.DataFrame({"method": ["ABN"], "iou": [0.5], "verdict": [words]}))
    for shown in (table, *in_parts(table, 1, 2)[1:]):
        assert f"<td>{words}</td>" in shown._repr_html_()
