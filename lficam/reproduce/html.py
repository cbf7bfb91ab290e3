"""`report.html`: the report as one HTML file that opens from disk, its pictures inside, without script or network.

`report.html.jinja` says what is where, `report.css` how it looks. Verdicts are blue, orange or grey, which readers with any kind
of colour vision tell apart (Okabe and Ito, "Color Universal Design", 2008), and always have their word and a frame of their own.
"""

import base64
import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from lficam.errors import InputError
from lficam.reproduce.findings import NOTES, Report


def render(report: Report) -> str:
    """The report as HTML that needs no other file; every text in it is escaped. Links are relative to the report's folder.

    Raises InputError for a picture that is missing.
    """
    environment = Environment(
        loader=PackageLoader("lficam", "reproduce"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"anchor": _anchor, "data_uri": _data_uri}
    return environment.get_template("report.html.jinja").render(report=report, notes=NOTES)


def _anchor(heading: str) -> str:
    """An id made of the words of a heading; headings differ by their labels."""
    return "-".join(re.findall(r"\w+", heading.lower()))


def _data_uri(picture: Path) -> str:
    if not picture.is_file():
        raise InputError(f"the picture {picture.name!r} is missing in {picture.parent}: `lficam figures` makes it anew")
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
