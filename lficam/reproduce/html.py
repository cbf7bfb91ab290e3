"""The report as one HTML file that opens from disk: Markdown (CommonMark with tables), its pictures inside, no script, no network.

Verdicts are blue, orange or grey, which readers with any kind of colour vision tell apart (Okabe and Ito, "Color Universal
Design", 2008), and always have their word and a frame of their own.
"""

import base64
import mimetypes
import re
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from lficam.errors import InputError

CONTENTS_LEVEL = "h2"
VERDICT = re.compile(r"(?:[A-Z]\d+ )?(supported|not supported|inconclusive|not measured)")
NUMBER = re.compile(r"[(\[]?[-+−±]?\d[-\d\s.,;:%×x±+−–e()\[\]]*|[-–—]|nan")  # also 1e-05, 0.71 [0.65, 0.77], 14x14, a dash
SHORT = 20  # characters of a cell that stays on one line; a longer one wraps, but is wide enough to read

STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c2024; --faint: #5b636c; --line: #d5dae0; --band: #f4f6f8; --link: #0b5cad;
  --supported: #0a4f96; --supported-back: #e1eefb; --refuted: #8a4000; --refuted-back: #fdebd8;
  --undecided: #4a5058; --undecided-back: #eceef1; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #15181c; --ink: #e4e7ea; --faint: #a3abb4; --line: #3a414a; --band: #1e2328; --link: #82bdfa;
    --supported: #a5d1ff; --supported-back: #12324f; --refuted: #ffc48a; --refuted-back: #4b2a0b;
    --undecided: #ccd1d7; --undecided-back: #30363d; }
}
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; text-size-adjust: 100%; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; text-wrap: balance; }
h1 { margin: 0 0 1.5rem; font-size: 1.9rem; }
h2 { margin: 3.5rem 0 1rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: 1.4rem; }
p, li, blockquote { max-width: 46rem; }
ul, ol { padding-left: 1.25rem; }
li { margin: .35rem 0; }
a { color: var(--link); }
nav { margin: 1.5rem 0; padding: .75rem 1.25rem; background: var(--band); border-radius: .5rem; font-size: .95rem; }
nav ol { margin: 0; padding: 0; list-style: none; columns: 22rem; column-gap: 2rem; }
nav li { margin: 0; padding: .2rem 0; break-inside: avoid; }
blockquote { margin: 1rem 0; padding-left: 1rem; border-left: .25rem solid var(--line); color: var(--faint); }
code { padding: .1em .3em; background: var(--band); border-radius: .25em; font: .9em ui-monospace, monospace; }
code, a { overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .75rem; background: var(--band); }
img { display: block; max-width: 100%; height: auto; margin: .5rem 0; background: #fff; border-radius: .25rem; }
.table { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; overflow-wrap: normal; }
th { vertical-align: bottom; border-bottom: 2px solid var(--faint); }
tbody tr:nth-child(even) { background: var(--band); }
.number { text-align: right; }
td.number, .short { white-space: nowrap; }
.long { min-width: 11rem; }
.verdict { padding: .05em .45em; border: 1px solid; border-radius: .35em; white-space: nowrap; }
.supported { color: var(--supported); background: var(--supported-back); }
.not-supported { color: var(--refuted); background: var(--refuted-back); border: 3px double; }
.inconclusive { color: var(--undecided); background: var(--undecided-back); border-style: dashed; }
.not-measured { color: var(--undecided); background: var(--undecided-back); border-style: dotted; }
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  img { max-height: 19cm; break-inside: avoid; }
  h2, h3, blockquote { break-after: avoid; }
  .table { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: .15rem .2rem; }
  tr { break-inside: avoid; }
  .long { min-width: 6rem; }
}
"""


def html_page(markdown: str, folder: Path, title: str) -> str:
    """The Markdown as a whole HTML page that needs no other file: pictures are inside it, raw HTML is shown as text.

    folder: what pictures are relative to. Links stay as they are, relative to wherever the page is put.
    title: the name of the page in the browser; plain text.

    Raises InputError for a picture that is missing, no picture, or not in `folder`.
    """
    reader = MarkdownIt("commonmark", {"html": False, "xhtmlOut": False}).enable("table")
    for rule in (_image, _strong_open, _table_open, _table_close, _text):
        reader.add_render_rule(rule.__name__.removeprefix("_"), rule)
    env = {"folder": folder}
    tokens = reader.parse(markdown, env)
    _mark_cells(tokens)
    contents = Token("html_block", "", 0, content=_contents(_anchors(tokens, reader)))
    tokens.insert(3 if tokens and tokens[0].tag == "h1" else 0, contents)  # a heading is three tokens: open, text, close
    body = reader.renderer.render(tokens, reader.options, env)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _anchors(tokens: Sequence[Token], reader: MarkdownIt) -> dict[str, str]:
    """Give each heading of the contents an id made of its words; id -> text."""
    headings = {}
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.tag == CONTENTS_LEVEL:
            text = reader.renderer.renderInlineAsText(inline.children, reader.options, {})
            words = "-".join(re.findall(r"\w+", text.lower())) or "section"
            name, count = words, 1
            while name in headings:
                count += 1
                name = f"{words}-{count}"
            headings[name] = text
            token.attrSet("id", name)
    return headings


def _contents(headings: dict[str, str]) -> str:
    items = "".join(f'<li><a href="#{escape(name)}">{escape(text)}</a></li>\n' for name, text in headings.items())
    return f'<nav aria-label="Contents">\n<ol>\n{items}</ol>\n</nav>\n' if items else ""


def _mark_cells(tokens: Sequence[Token]) -> None:
    """Say of each column that it heads or holds numbers, and of a cell how it wraps, for the style to tell them apart."""
    rows: list[list[tuple[Token, str]]] = []
    for position, token in enumerate(tokens):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append((token, tokens[position + 1].content))
        elif token.type == "table_close":
            for column in zip(*rows, strict=True):
                _mark_column(column)


def _mark_column(column: Sequence[tuple[Token, str]]) -> None:
    column[0][0].attrSet("scope", "col")
    values = [text for _, text in column[1:] if text]
    numbers = bool(values) and all(NUMBER.fullmatch(value) for value in values)
    for cell, text in column:
        if numbers:
            cell.attrSet("class", "number")
        elif cell.tag == "td":
            cell.attrSet("class", "short" if len(text) <= SHORT else "long")


def _image(self: RendererHTML, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
    tokens[idx].attrSet("src", _data_uri(unquote(str(tokens[idx].attrs["src"])), env["folder"]))
    return self.image(tokens, idx, options, env)


def _data_uri(name: str, folder: Path) -> str:
    file = (folder / name).resolve()
    if urlsplit(name).scheme or not file.is_relative_to(folder.resolve()):
        raise InputError(f"the picture {name!r} is not in {folder}: a page holds pictures of its own folder; copy it there")
    if not file.is_file():
        raise InputError(f"the picture {name!r} is missing in {folder}: make the figure, or take the picture out of the text")
    kind, _ = mimetypes.guess_type(file.name)
    if not (kind or "").startswith("image/"):
        raise InputError(f"{name!r} in {folder} is no picture by its suffix: expected .png, .jpg or .svg; link to it instead")
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _strong_open(self: RendererHTML, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
    end = next(i for i in range(idx, len(tokens)) if tokens[i].type == "strong_close")
    if verdict := VERDICT.fullmatch(self.renderInlineAsText(tokens[idx:end], options, env)):
        tokens[idx].attrSet("class", f"verdict {verdict[1].replace(' ', '-')}")
    return self.renderToken(tokens, idx, options, env)


def _table_open(self: RendererHTML, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
    # The table scrolls, not the page; with a tabindex also by the keyboard.
    return '<div class="table" role="group" aria-label="Table" tabindex="0">\n' + self.renderToken(tokens, idx, options, env)


def _table_close(self: RendererHTML, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
    return self.renderToken(tokens, idx, options, env) + "</div>\n"


def _text(self: RendererHTML, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
    return "_<wbr>".join(escape(part) for part in tokens[idx].content.split("_"))  # names of columns may break after a _
