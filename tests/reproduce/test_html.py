"""The report as a page: read back by the parser of the standard library, and by simple searches."""

import base64
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from lficam.errors import InputError
from lficam.reproduce.html import STYLE, html_page

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
def page(tmp_path):
    """Renders Markdown in a folder with two pictures of different kinds, one with a space in its name, and reads it back."""
    Image.new("RGB", (3, 2), (9, 8, 7)).save(tmp_path / "one.png")
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "a b.jpg")

    def read(markdown):
        reader = Reader()
        reader.feed(html_page(markdown, tmp_path, "A <b>title</b> & more"))
        reader.close()
        assert reader.open == []
        return reader

    return read


def test_every_picture_is_in_the_page(page, tmp_path):
    reader = page('![first & *best*](one.png)\n\n![](<a b.jpg> "hint")\n\n![again](./one.png)')
    first, second, again = reader.attributes("img")
    for image, name, kind in ((first, "one.png", "png"), (second, "a b.jpg", "jpeg"), (again, "one.png", "png")):
        head, _, data = image["src"].partition(",")
        assert head == f"data:image/{kind};base64"
        assert base64.b64decode(data, validate=True) == (tmp_path / name).read_bytes()
    assert [first["alt"], second["alt"], second["title"]] == ["first & best", "", "hint"]


def test_a_page_needs_nothing_else(page, tmp_path):
    markdown = "# Report\n\n![x](one.png)\n\n[all numbers](one.json)\n\n## Two\n\n| a |\n| --- |\n| 1 |\n"
    text = html_page(markdown, tmp_path, "t")
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text
    reader = page(markdown)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in reader.tags}
    assert all(value.startswith("data:") for _, attributes in reader.tags for key, value in attributes.items() if key == "src")
    assert {"href": "one.json"} in reader.attributes("a")  # beside the page, wherever both are
    assert {"lang": "en"} in reader.attributes("html")
    assert {"charset": "utf-8"} in reader.attributes("meta")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.attributes("meta")
    assert text.startswith("<!DOCTYPE html>\n")
    assert reader.text("title") == ["A <b>title</b> & more"]


def test_a_table_has_the_cells_of_the_markdown(page):
    reader = page("| map | test_accuracy |\n| --- | --- |\n| a \\| b | 0.5 |\n| *c* < d |  |\n\n| e |\n| --- |\n")
    assert reader.rows == [["map", "test_accuracy"], ["a | b", "0.5"], ["c < d", ""], ["e"]]
    assert [attributes["scope"] for attributes in reader.attributes("th")] == ["col"] * 3


def test_a_table_scrolls_in_a_container_of_its_own(page):
    tags = [tag for tag, _ in page("| a |\n| --- |\n| 1 |").tags]
    assert tags[tags.index("table") - 1] == "div"
    assert re.search(r"^\.table \{[^}]*overflow-x: auto", STYLE, re.M)


def test_a_column_of_numbers_is_told_from_text(page):
    numbers = ["0.71 [0.65, 0.77]", "-0.02", "1e-05", "14x14", "−3 %", "nan", "–", ""]
    texts = ["5 of 5", "(14, 14, 2048) → (2048)", "CONV-3", "similar"]
    rows = [f"| {number} | {text} |" for number, text in zip(numbers, texts * 2, strict=True)]
    reader = page("\n".join(["| number | a head of many words, not numbers |", "| --- | --- |", *rows]))
    assert reader.classes("th") == [("number", "number"), ("a head of many words, not numbers", None)]
    assert [kind for _, kind in reader.classes("td")[::2]] == ["number"] * 8
    assert [kind for _, kind in reader.classes("td")[1::2]] == ["short", "long", "short", "short"] * 2
    assert page("| empty |\n| --- |\n|  |").classes("th") == [("empty", None)]


def test_html_in_the_markdown_is_text(page):
    markup = "<script>alert(1)</script> <img src=x onerror=alert(1)>"
    reader = page(f"{markup}\n\n<div>block</div>\n\n| a |\n| --- |\n| {markup} |\n\n## <i>head</i>\n\n[x](javascript:alert(1))")
    assert not {"script", "img", "i"} & {tag for tag, _ in reader.tags}
    assert reader.rows[1] == [markup]
    assert markup in reader.text("p")[0]
    assert reader.text("h2") == ["<i>head</i>"]
    assert reader.attributes("a") == [{"href": "#i-head-i"}]


def test_the_contents_lead_to_every_section(page):
    reader = page("# Top\n\nIntro.\n\n## One: `a_b`, *x*\n\n### Below\n\n## Same\n\n## Same\n\n## Same 2\n\n## Same\n\n## ?!\n")
    ids = ["one-a_b-x", "same", "same-2", "same-2-2", "same-3", "section"]
    assert [attributes["id"] for attributes in reader.attributes("h2")] == ids
    assert [attributes["href"] for attributes in reader.attributes("a")] == [f"#{name}" for name in ids]
    assert reader.text("a") == reader.text("h2") == ["One: a_b, x", "Same", "Same", "Same 2", "Same", "?!"]
    order = [tag for tag, _ in reader.tags]
    assert order.index("h1") < order.index("nav") < order.index("p")


def test_the_contents_come_first_without_a_title_and_not_at_all_without_sections(page):
    order = [tag for tag, _ in page("Intro.\n\n## One").tags]
    assert order.index("main") < order.index("nav") < order.index("p")
    assert page("# Only a title").attributes("nav") == []
    assert page("").attributes("nav") == []


@pytest.mark.parametrize("outcome", ["supported", "not supported", "inconclusive", "not measured"])
def test_verdicts_have_a_class_of_their_own(page, outcome):
    kind = outcome.replace(" ", "-")
    reader = page(f"| v |\n| --- |\n| **{outcome}** |\n\n- **E12 {outcome}**: well {outcome}, **not quite {outcome}**, **bold**")
    assert reader.classes("strong") == [
        (outcome, f"verdict {kind}"),
        (f"E12 {outcome}", f"verdict {kind}"),
        (f"not quite {outcome}", None),
        ("bold", None),
    ]
    assert f".{kind} {{" in STYLE


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
    pairs = [(text, ground) for text in ("ink", "faint", "link") for ground in ("page", "band")]
    pairs += [(f"{name}", f"{name}-back") for name in ("supported", "refuted", "undecided")]
    for text, ground in pairs:
        dark, light = sorted(luminance(colours[name]) for name in (text, ground))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


@pytest.mark.parametrize("name", ["none.png", "sub/none.png", "sub"])
def test_a_missing_picture_is_named(page, tmp_path, name):
    (tmp_path / "sub").mkdir()
    with pytest.raises(InputError, match=rf"^the picture '{name}' is missing in "):
        page(f"![x]({name})")


@pytest.mark.parametrize(
    "name", ["../out.png", "//host/out.png", "https://host/out.png", "data:image/png;base64,AAAA", "{}/out.png"]
)
def test_a_picture_from_elsewhere_is_named(tmp_path, name):
    folder = tmp_path / "figures"
    folder.mkdir()
    Image.new("RGB", (1, 1)).save(tmp_path / "out.png")
    name = name.format(tmp_path)
    with pytest.raises(InputError, match=rf"^the picture '{re.escape(name)}' is not in {re.escape(str(folder))}:"):
        html_page(f"![x]({name})", folder, "t")


def test_a_file_that_is_no_picture_is_named(page, tmp_path):
    (tmp_path / "one.csv").write_text("1")
    with pytest.raises(InputError, match=r"^'one.csv' in .* is no picture by its suffix"):
        page("![x](one.csv)")


def test_the_current_folder_does_not_matter(tmp_path, monkeypatch):
    Image.new("RGB", (3, 2)).save(tmp_path / "one.png")
    (tmp_path / "elsewhere").mkdir()
    pages = []
    for folder in (tmp_path, tmp_path / "elsewhere"):
        monkeypatch.chdir(folder)
        pages.append(html_page("![x](one.png)", tmp_path, "t"))
    assert pages[0] == pages[1]
    with pytest.raises(InputError, match="missing"):
        monkeypatch.chdir(tmp_path)
        html_page("![x](one.png)", tmp_path / "elsewhere", "t")
