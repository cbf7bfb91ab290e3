"""The report as an HTML page: read back by the parser of the standard library, and by simple searches."""

import base64
import re
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import pandas as pd
import pytest
from PIL import Image

from lficam.errors import InputError
from lficam.figures.verdicts import Verdict
from lficam.metrics.intervals import Interval
from lficam.paths import repository
from lficam.reproduce import report
from lficam.reproduce.findings import NOTES, Figure, Report, Table
from lficam.reproduce.html import render

STYLE = (files("lficam.reproduce") / "report.css").read_text()
HOSTILE = "<script>alert(1)</script> \"><img src=x onerror='alert(1)'> | & &lt; {{ 7 * 7 }} *a* `b`"
VOID = {"meta", "img", "br", "hr", "wbr"}


class Reader(HTMLParser):
    """Tags with their attributes, the cells of all rows, the text inside each tag, and whether the tags are nested properly."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.rows, self.texts, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute is given twice: {attrs}"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(len(self.texts))
            self.texts.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self.texts[self.open.pop()][0] == tag

    def handle_data(self, data):
        for index in self.open:
            self.texts[index][2] += data
        if any(self.texts[index][0] in ("td", "th") for index in self.open):
            self.rows[-1][-1] += data

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag):
        return [text for name, _, text in self.texts if name == tag]

    def classes(self, tag):
        return [(text, attributes.get("class")) for name, attributes, text in self.texts if name == tag]


@pytest.fixture
def figure(tmp_path):
    """A figure with a picture, a table of text and numbers, and a verdict."""
    Image.new("RGB", (3, 2), (9, 8, 7)).save(tmp_path / "one.png")
    return Figure(
        label="Figure 1",
        title="A title",
        caption="What it shows.",
        source="some data",
        table=Table(pd.DataFrame({"map": ["a", "b"], "test accuracy": ["0.5", ""]}), numbers=["test accuracy"]),
        verdicts=[Verdict("C1", "supported", "gain 0.25", Interval(0.25, 0.125, 0.5))],
        made="torch 2.0",
        current=True,
        pictures=[tmp_path / "one.png"],
        record=tmp_path / "one.json",
    )


def html_of(*figures):
    return render(Report("A <b>title</b> & more", {f"{figure.label}. {figure.title}": figure for figure in figures}))


def page_of(*figures):
    reader = Reader()
    reader.feed(html_of(*figures))
    reader.close()
    assert reader.open == []
    return reader


def page_of_table(figure, columns, **kinds):
    """A page with this table alone; kinds: as for Table."""
    return page_of(replace(figure, table=Table(pd.DataFrame(columns), **({"numbers": []} | kinds)), verdicts=[]))


def test_every_picture_is_in_the_page(figure, tmp_path):
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "a b.png")
    other = replace(figure, label="Figure 2", title='first & <best> "map"', pictures=[tmp_path / "a b.png"])
    images = page_of(figure, other).attributes("img")
    for image, name in zip(images, ("one.png", "a b.png"), strict=True):
        head, _, data = image["src"].partition(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data, validate=True) == (tmp_path / name).read_bytes()
    assert [image["alt"] for image in images] == ["A title", 'first & <best> "map"']


def test_a_page_needs_nothing_else(figure):
    text, reader = html_of(figure), page_of(figure)
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in reader.tags}
    assert all(value.startswith("data:") for _, attributes in reader.tags for key, value in attributes.items() if key == "src")
    assert {"href": "one.json"} in reader.attributes("a")  # beside the page, wherever both are
    assert {"lang": "en"} in reader.attributes("html")
    assert {"charset": "utf-8"} in reader.attributes("meta")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.attributes("meta")
    assert text.startswith("<!DOCTYPE html>\n")
    assert reader.text("title") == reader.text("h1") == ["A <b>title</b> & more"]


def test_the_template_and_the_style_are_in_the_package():
    project = tomllib.loads((repository() / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["lficam.reproduce"]
    beside = [file for file in (repository() / "lficam" / "reproduce").iterdir() if file.is_file() and file.suffix != ".py"]
    assert {file.name for file in beside} == {"report.html.jinja", "report.css", "bundled_card.jinja"}
    assert all(any(file.match(pattern) for pattern in patterns) for file in beside)


def test_a_table_has_the_cells_of_the_data(figure):
    reader = page_of_table(figure, {"map": ["a | b", "*c* < d"], "test_accuracy": ["0.5", ""]})
    assert reader.rows == [["map", "test_accuracy"], ["a | b", "0.5"], ["*c* < d", ""]]
    assert [attributes["scope"] for attributes in reader.attributes("th")] == ["col"] * 2


def test_a_table_scrolls_in_a_container_of_its_own_also_by_the_keyboard(figure):
    tags = page_of_table(figure, {"a": ["1"]}).tags
    name, attributes = tags[[tag for tag, _ in tags].index("table") - 1]
    assert name == "div"
    assert attributes == {"class": "table", "role": "group", "aria-label": "Table", "tabindex": "0"}
    assert re.search(r"^\.table \{[^}]*overflow-x: auto", STYLE, re.M)


def test_names_of_columns_may_break_after_an_underscore(figure):
    html = html_of(replace(figure, table=Table(pd.DataFrame({"a_<b>_c": ["d_e"]}), numbers=[])))
    assert '<th scope="col">a_<wbr>&lt;b&gt;_<wbr>c</th>' in html
    assert ">d_<wbr>e</td>" in html


@pytest.mark.parametrize("text", ["0.71 [0.65, 0.77]", "-0.02", "1e-05", "14x14", "", "nan", "none", "a number of many words"])
def test_a_column_of_numbers_is_one_whatever_its_text(figure, text):
    reader = page_of_table(figure, {"number": [text, "0.5"], "text": [text, "0.5"]}, numbers=["number"])
    assert reader.classes("th") == [("number", "number"), ("text", None)]
    assert [kind for _, kind in reader.classes("td")] == ["number", "short" if len(text) <= 20 else "long", "number", "short"]


def test_numbers_are_right_aligned_on_one_line_and_long_texts_wrap(figure):
    reader = page_of_table(figure, {"text": ["x" * 20, "x" * 21]})
    assert [kind for _, kind in reader.classes("td")] == ["short", "long"]
    assert ".number { text-align: right; }" in STYLE
    assert "td.number, .short { white-space: nowrap; }" in STYLE


@pytest.mark.parametrize("place", ["label", "title", "caption", "source", "made", "reason", "outcome", "column", "cell", "number"])
def test_markup_in_the_data_is_text(figure, place):
    def changed(text):
        here = {name: text if name == place else name for name in ("reason", "outcome", "column", "cell", "number")}
        table = pd.DataFrame({here["column"]: [here["cell"]], "n": [here["number"]]})
        verdict = Verdict("C1", here["outcome"], here["reason"])
        found = replace(figure, table=Table(table, numbers=["n"]), verdicts=[verdict])
        return page_of(replace(found, **{place: text}) if hasattr(found, place) else found)

    reader, harmless = changed(HOSTILE), changed("harmless")
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in harmless.tags]
    assert [set(attributes) for _, attributes in reader.tags] == [set(attributes) for _, attributes in harmless.tags]
    (main,) = reader.text("main")
    assert main.replace(HOSTILE, "harmless") == harmless.text("main")[0]
    assert main.count(HOSTILE) == harmless.text("main")[0].count("harmless") > 0
    assert not re.search("[^-a-z0-9_]", reader.attributes("h2")[0]["id"])


def test_the_contents_lead_to_every_section(figure):
    headings = ["Figure 1. One: `a_b`, *x*", "Figure 2. Not made?", "Figure 3. ABN's maps", "Figure 4. ?!"]
    reader = Reader()
    reader.feed(render(Report("t", dict(zip(headings, [figure, None, figure, None], strict=True)))))
    ids = ["figure-1-one-a_b-x", "figure-2-not-made", "figure-3-abn-s-maps", "figure-4"]
    assert [attributes["id"] for attributes in reader.attributes("h2")] == ids
    assert [attributes["href"] for attributes in reader.attributes("a")][:4] == [f"#{name}" for name in ids]
    assert reader.text("a")[:4] == reader.text("h2") == headings
    order = [tag for tag, _ in reader.tags]
    assert order.index("h1") < order.index("nav") < order.index("div") < order.index("h2")
    assert reader.attributes("nav") == [{"aria-label": "Contents"}]
    assert reader.text("p").count("Not made.") == 2


def test_the_caption_is_a_quotation(figure):
    reader = page_of(figure)
    assert reader.text("blockquote") == ["What it shows."]
    assert reader.text("em") == ["some data"]
    assert "Made with torch 2.0. Everything else: one.json." in [text.replace("\n", " ") for text in reader.text("p")]


@pytest.mark.parametrize("outcome", ["supported", "not supported", "inconclusive", "not measured"])
def test_verdicts_have_a_class_of_their_own(figure, outcome):
    kind = outcome.replace(" ", "-")
    text = Table(pd.DataFrame({"verdict": [outcome, f"E8 {outcome}"]}), numbers=[])  # in words: no verdict by itself
    reader = page_of(replace(figure, table=text, verdicts=[Verdict("E8", outcome, f"**not quite {outcome}**")]))
    assert reader.classes("strong") == [(outcome, f"verdict {kind}"), (f"E8 {outcome}", f"verdict {kind}")]
    assert reader.text("li")[-1] == f"E8 {outcome}: **not quite {outcome}**."
    assert reader.rows[1][-2] == outcome  # in the table of claims, before what was measured
    assert f".{kind} {{" in STYLE


def test_remarks_stand_with_their_figure(figure):
    reader = page_of(replace(figure, remarks=["More <than> that"]))
    assert reader.text("li")[-1] == "More <than> that."


def test_a_report_without_verdicts(figure):
    reader = page_of(replace(figure, verdicts=[]))
    assert {"No figure that judges a claim has been made.", "This figure judges no claim."} <= set(reader.text("p"))
    assert NOTES[0] not in reader.text("li")
    assert len(reader.attributes("table")) == 1
    assert reader.attributes("strong") == reader.attributes("ul") == []


def test_both_files_of_the_report_say_the_same(figure, tmp_path, monkeypatch):
    older = replace(figure, verdicts=[], current=False)
    found = Report("A title", {"Figure 1. A title": figure, "Figure 2. Other": None, "Figure 3. x": older})
    monkeypatch.setattr(report, "gather", lambda folder, profile: found)
    text = report.write_report(tmp_path, "quick").read_text()
    text = re.sub(r"!\[.*?\]\(.*?\)|(?<=\])\(.*?\)", "", text)  # pictures, addresses
    reader = Reader()
    reader.feed((tmp_path / "report.html").read_text())
    (main,), (contents,) = reader.text("main"), reader.text("nav")
    assert re.findall(r"\w+", main.replace(contents, "")) == re.findall(r"\w+", text)
    assert not re.search("[`*>|]", main)
    assert reader.text("code") == ["one.json", "lficam figures", "one.json"]


def luminance(colour):
    """Of "#abc" or "#aabbcc", as in the Web Content Accessibility Guidelines 2.2."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_luminance_agrees_with_the_known_contrasts():
    assert (luminance("#fff") + 0.05) / (luminance("#000000") + 0.05) == pytest.approx(21)
    assert (luminance("#fff") + 0.05) / (luminance("#767676") + 0.05) == pytest.approx(4.54, abs=0.005)  # the known lightest grey


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_all_text_stands_out_from_its_ground(scheme):
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", re.findall(r":root \{(.*?)\}", STYLE, re.S)[scheme]))
    pairs = [(text, ground) for text in ("ink", "faint", "link") for ground in ("ground", "band")]
    pairs += [(f"{name}", f"{name}-back") for name in ("supported", "refuted", "undecided")]
    for text, ground in pairs:
        dark, light = sorted(luminance(colours[name]) for name in (text, ground))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


@pytest.mark.parametrize("name", ["none.png", "sub/none.png", "sub"])
def test_a_missing_picture_is_named(figure, tmp_path, name):
    (tmp_path / "sub").mkdir()
    picture = tmp_path / name
    with pytest.raises(InputError, match=rf"^the picture '{picture.name}' is missing in .*: `lficam figures` makes it anew$"):
        page_of(replace(figure, pictures=[picture]))
