"""The report as data and as Markdown, from files of figures that are not drawn here."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lficam.errors import InputError
from lficam.figures.claims import QUANTITIES, STATEMENTS
from lficam.figures.experiments import EXPERIMENTS
from lficam.figures.outputs import SUFFIXES, code_digest
from lficam.figures.verdicts import Free, Verdict
from lficam.metrics.intervals import Interval
from lficam.reproduce import report
from lficam.reproduce.findings import NOTES, gather
from lficam.reproduce.report import write_report

CONFIG = {"trunk": "resnet18", "image_size": 96, "epochs": 30, "pretrained": False, "weights": None}
RECORD = {
    "title": "A title",
    "caption": "What it shows.",
    "source": "some data, quick profile",
    "verdicts": [
        {
            "claim": "C1",
            "outcome": "supported",
            "reason": "gain 0.25",
            "measured": [0.25, 0.125, 0.5, 5],
            "free": {"what": "a centred blob", "measured": [0.5, 0.25, 0.75, 0], "reached": True, "excess": [0, -1, 1, 5]},
            "by_interval": "inconclusive",
        },
        {"claim": "E1", "outcome": "not measured", "reason": "no masks", "measured": None},
    ],
    "training_seconds": 61.6,
    "environment": {"gpu": None, "processor": "Z80", "cpus": 1, "packages": {"torch": "2.0"}},
    "code": code_digest(),
    "remarks": ["Something else came out"],
    "runs": [{"data": {"unreadable": []}, "config": CONFIG}, {"data": {"unreadable": []}, "config": CONFIG}],
}
TABLE = "map,share,share_low,share_high,seen,setting,empty,models\na_b,0.5,0.25,0.75,True,1,,5\nc|d,,,,False,all,,3\n"
FIGURE_1 = """\
## Figure 1. Effectiveness of the Feature Importance Network

> What it shows.

*some data, quick profile*

![A title](fig1_fin_effectiveness.png)

| map | share | seen | setting | empty | models |
| --- | --- | --- | --- | --- | --- |
| a_b | 0.500 [0.250, 0.750] | True | 1 |  | 5 |
| c\\|d |  | False | all |  | 3 |

- **C1 supported, but not shown to exceed a centred blob (by its interval inconclusive)**: gain 0.25.
- **E1 not measured**: no masks.
- Something else came out.

Made with torch 2.0, Z80, 1 cores; 2 runs, 62 s of training. \
Everything else: [`fig1_fin_effectiveness.json`](fig1_fin_effectiveness.json).
"""


@pytest.fixture
def figure(tmp_path):
    """Writes the four files of a figure, its record changed in what is passed, and returns its JSON."""

    def write(name="fig1", **changed):
        file = tmp_path / f"{EXPERIMENTS[name].stem}.json"
        Image.new("RGB", (3, 2)).save(file.with_suffix(".png"))
        file.with_suffix(".pdf").touch()
        file.with_suffix(".csv").write_text(TABLE)
        file.write_text(json.dumps(RECORD | changed))
        return file

    return write


def test_the_report_in_markdown(figure, tmp_path):
    figure()
    target = write_report(tmp_path, "quick")
    assert target == tmp_path / "REPORT.md"
    head, *sections = re.split(r"\n(?=## )", target.read_text())
    c1, e1 = (f"| {claim}: {STATEMENTS[claim]} | Figure 1, some data |" for claim in ("C1", "E1"))
    assert head.splitlines() == [
        "# LFI-CAM's supplementary material, quick profile",
        "",
        "All of this is about networks trained here and on this data alone: resnet18 on images of 96 pixels, 30 epochs from "
        "nothing.",
        "",
        "- LFI-CAM's map lies on the object more than the mean of the feature maps does, with or without FIN, but that is not "
        "shown to exceed the same of a centred blob (C1; Figure 1: 0.25 [0.12, 0.50], a centred blob 0.50, by its "
        "interval inconclusive).",
        "",
        "| claim | figure | measured | 95 % interval (models) | for free | verdict | quantity |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        f"{c1} 0.250 | [0.125, 0.500] (5) | a centred blob: 0.500 [0.250, 0.750] | "
        f"**supported, but not shown to exceed a centred blob (by its interval inconclusive)** | {QUANTITIES['C1']} |",
        f"{e1}  |  |  | **not measured** | {QUANTITIES['E1']} |",
        "",
        *(f"- {note}" for note in NOTES),
    ]
    assert sections[0] == "## Table 1. Architecture of the FIN\n\nNot made.\n"
    assert sections[1] == FIGURE_1
    assert sections[-1] == f"## Extra figure 9. {EXPERIMENTS['extra9'].title}\n\nNot made.\n"
    assert len(sections) == len(EXPERIMENTS)


def test_pictures_beside_a_figure_follow_it(figure, tmp_path):
    file = figure()
    Image.new("RGB", (3, 2)).save(tmp_path / f"{file.stem}_more.png")
    text = write_report(tmp_path, "quick").read_text()
    assert f"![A title]({file.stem}.png)\n\n![A title]({file.stem}_more.png)\n" in text


def test_a_report_without_verdicts(figure, tmp_path):
    figure("table1", verdicts=[])
    text = write_report(tmp_path, "quick").read_text()
    assert "\nNo figure that judges a claim has been made.\n" in text
    assert "\nThis figure judges no claim.\n" in text
    assert NOTES[0] not in text


def test_the_papers_supplement_is_not_called_a_seed():
    assert NOTES[0].startswith("C1 to C3 are the supplement's claims, E1 to E11 this project's own questions.")
    assert not any("seed" in note for note in NOTES)


def test_columns_of_numbers_are_those_that_hold_numbers(figure):
    figure()
    (found,) = filter(None, gather(figure().parent, "quick").figures.values())
    assert found.table.text["share"].tolist() == ["0.500 [0.250, 0.750]", ""]
    assert found.table.numbers == ["share", "empty", "models"]  # neither truth values nor a column with a word in it
    assert found.table.verdicts == ()


def test_claims_stand_in_the_order_of_the_figures(figure, tmp_path):
    verdicts = [{"claim": claim, "outcome": "inconclusive", "reason": ""} for claim in ("E4", "E5")]  # as before intervals
    figure("extra4", verdicts=verdicts)
    figure("fig1")
    claims = gather(tmp_path, "quick").claims()
    assert [claim[:2] for claim in claims.text["claim"]] == ["C1", "E1", "E4", "E5"]
    assert claims.text["figure"].str.split(",").str[0].tolist() == ["Figure 1"] * 2 + ["Extra figure 4"] * 2
    assert claims.text["measured"].tolist() == ["0.250", "", "", ""]
    assert (claims.numbers, claims.verdicts) == (["measured", "95 % interval (models)"], ["verdict"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_figure_that_is_not_whole_is_not_in_the_report(figure, tmp_path, suffix):
    figure("table1")
    figure().with_suffix(suffix).unlink()
    assert gather(tmp_path, "quick").figures["Figure 1. Effectiveness of the Feature Importance Network"] is None
    assert "fig1" not in write_report(tmp_path, "quick").read_text()


def test_a_folder_without_figures_is_named(tmp_path):
    with pytest.raises(InputError, match=rf"^there is no figure in {re.escape(str(tmp_path))}: `lficam figures` makes them$"):
        write_report(tmp_path, "quick")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "made"),
    [
        ({"runs": []}, "torch 2.0, Z80, 1 cores"),
        ({"environment": RECORD["environment"] | {"gpu": "Voodoo 2"}}, "torch 2.0, Voodoo 2; 2 runs, 62 s of training"),
        (
            {"runs": [{"data": {"unreadable": ["a.jpg", "b.jpg"]}}]},
            "torch 2.0, Z80, 1 cores; 1 runs, 62 s of training; 2 images that cannot be read were left out",
        ),
        ({"runs": [{}]}, "torch 2.0, Z80, 1 cores; 1 runs, 62 s of training"),
    ],
)
def test_how_a_figure_was_made(figure, changed, made):
    (found,) = filter(None, gather(figure(**changed).parent, "quick").figures.values())
    assert found.made == made


def test_a_figure_by_other_code_says_so(figure, tmp_path):
    figure("table1")
    figure(code="older", runs=[])
    text = write_report(tmp_path, "quick").read_text()
    assert text.count("by another version") == 1
    assert "1 cores, by another version of this library: `lficam figures` makes it anew. Everything else: [`fig1_" in text


def test_a_figure_is_what_its_files_say(figure):
    file = figure()
    (found,) = filter(None, gather(file.parent, "quick").figures.values())
    assert (found.label, found.title, found.caption) == ("Figure 1", "A title", "What it shows.")
    assert (found.pictures, found.record) == ([file.with_suffix(".png")], file)
    free = Free("a centred blob", Interval(0.5, 0.25, 0.75), True, Interval(0, -1, 1, 5))
    judged = Verdict("C1", "supported", "gain 0.25", Interval(0.25, 0.125, 0.5, 5), free, "inconclusive")
    assert found.verdicts == [judged, Verdict("E1", "not measured", "no masks", None)]


def test_the_current_folder_does_not_matter(figure, tmp_path, monkeypatch):
    figure()
    pages = []
    for current, folder in ((tmp_path, tmp_path), (tmp_path.parent, tmp_path), (tmp_path.parent, Path(tmp_path.name))):
        monkeypatch.chdir(current)
        pages.append(write_report(folder, "quick").with_name("report.html").read_bytes())
    assert pages[0] == pages[1] == pages[2]


def test_a_picture_that_goes_missing_leaves_the_older_report(figure, tmp_path, monkeypatch):
    figure()
    before = write_report(tmp_path, "quick").read_text()
    gathered = gather(tmp_path, "quick")
    gone = {heading: found and replace(found, pictures=[tmp_path / "gone.png"]) for heading, found in gathered.figures.items()}
    monkeypatch.setattr(report, "gather", lambda folder, profile: replace(gathered, title="newer", figures=gone))
    with pytest.raises(InputError, match=r"gone\.png"):
        write_report(tmp_path, "quick")
    assert (tmp_path / "REPORT.md").read_text() == before
