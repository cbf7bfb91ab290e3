"""The site: the documents of the repository, its executed notebooks, every public name. `make docs` builds it.

Documents are written to be read in the repository. Here their links lead to the pages of the site where there are such, else to the
file.
"""

import inspect
import os
import re
import shutil
import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

project = "lficam"
author = copyright = "The lficam developers"
version = release = version_of("lficam")

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"lficam {version}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_enable_extensions = ["dollarmath"]  # the equations of the notebooks
nb_execution_mode = "off"  # as they were executed for the last release
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]  # of widgets, which have a picture beside them
autodoc_member_order = "bysource"

# Documents of the repository that are pages here: the page is an include of them.
PAGES = {
    ROOT / "README.md": "index",
    ROOT / "CONTRIBUTING.md": "how-it-is-built",
    ROOT / "data" / "README.md": "data",
    ROOT / "figures" / "reference" / "REPORT.md": "claims",
    ROOT / "figures" / "results" / "README.md": "photographs",
    ROOT / "figures" / "results" / "stl10" / "README.md": "stl10",
    ROOT / "figures" / "results" / "catdog" / "README.md": "catdog",
    ROOT / "lficam" / "model" / "pretrained" / "photographs" / "README.md": "model-card",
    ROOT / "lficam" / "data" / "photographs" / "README.md": "free-photographs",
}
PAGES |= {file: file.stem for file in HERE.glob("*.md") if file.stem not in PAGES.values()}
PAGES |= {HERE / f"{name}.md": name for name in PAGES.values()}
PAGES |= {file: f"notebooks/{file.stem}" for file in (ROOT / "notebooks").glob("*.ipynb")}
PAGES |= {ROOT / "notebooks": "notebooks"}

_INCLUDE = re.compile(r"^```\{include\} (\S+)\n(?::heading-offset: (\d)\n)?```$", re.M)
_LINK = re.compile(r"\]\((?!https?:|#|mailto:|data:|attachment:)([^)#\s]+)(#[^)\s]*)?\)")

shutil.copytree(ROOT / "notebooks", HERE / "notebooks", dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))


def with_links(app: object, docname: str, source: list[str]) -> None:
    """Put documents in the place of includes, and lead links to the site's pages."""
    base = ROOT / docname if docname.startswith("notebooks/") else HERE / docname
    text = _led(source[0], base.parent, docname)

    def included(match: re.Match) -> str:
        file = (HERE / match[1]).resolve()
        words = re.sub(r"^#", "#" * (int(match[2] or 0) + 1), file.read_text(), flags=re.M) if match[2] else file.read_text()
        return _led(words, file.parent, docname)

    source[0] = _INCLUDE.sub(included, text)


def _led(text: str, base: Path, docname: str) -> str:
    """Links of a document in a folder, for a page."""

    def link(match: re.Match) -> str:
        target, anchor = (base / match[1]).resolve(), match[2] or ""
        if page := PAGES.get(target):
            suffix = ".ipynb" if page.startswith("notebooks/") else ".md"
            return f"](/{page}{suffix}{anchor})"
        if target.is_dir():
            return "](/how-it-is-built.md)"
        return f"]({os.path.relpath(target, (HERE / docname).parent)}{anchor})"

    return _LINK.sub(link, text)


_FIELD = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): (.*)")


def as_markup(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text: "name: what it is" becomes an item of a list, all else stays a paragraph."""
    paragraphs = []
    for line in lines:
        words = line.strip().replace("\\", r"\\").replace("*", r"\*").replace("`", "``")
        begins = not paragraphs or not paragraphs[-1] or paragraphs[-1][:2] == "- " or paragraphs[-1][-1] in ".:"  # no sentence
        if field := _FIELD.fullmatch(words) if begins and not line.startswith(" ") else None:
            paragraphs.append(f"- **{field[1]}**: {field[2]}")
        elif not words or not paragraphs or not paragraphs[-1] or (paragraphs[-1][:2] == "- " and not line.startswith(" ")):
            paragraphs.append(words)
        else:
            paragraphs[-1] += f" {words}"
    lines[:] = [part for paragraph in paragraphs if paragraph for part in (paragraph, "")]


def of_init(app: object, what: str, name: str, obj: object, options: object, signature: str, returns: str) -> tuple | None:
    """The hub's mixin hides the arguments of a model's class behind its own."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    own = inspect.signature(obj.__init__)
    return str(own.replace(parameters=list(own.parameters.values())[1:], return_annotation=own.empty)), returns


def setup(app: object) -> None:
    """Sphinx calls it."""
    sys.path.insert(0, str(ROOT))
    app.connect("source-read", with_links)
    app.connect("autodoc-process-docstring", as_markup)
    app.connect("autodoc-process-signature", of_init)
