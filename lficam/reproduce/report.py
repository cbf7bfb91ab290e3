"""`REPORT.md` and `report.html`, the same: what came out in sentences, what became of every claim, then every figure."""

from pathlib import Path

from lficam.figures.tables import markdown
from lficam.paths import atomic_file
from lficam.reproduce.findings import NOTES, Figure, Report, Table, gather
from lficam.reproduce.html import render


def write_report(folder: Path, profile: str) -> Path:
    """Write the report on all figures in `folder` and return the path of `REPORT.md`; `report.html` opens without a server.

    Raises InputError if there is no figure.
    """
    report = gather(folder, profile)
    target = folder / "REPORT.md"
    for file, text in ((target, as_markdown(report)), (folder / "report.html", render(report))):
        with atomic_file(file) as temporary:
            temporary.write_text(text)
    return target


def as_markdown(report: Report) -> str:
    """The text of `REPORT.md`."""
    claims = report.claims()
    lines = [f"# {report.title}", ""]
    if claims.text.empty:
        lines.append("No figure that judges a claim has been made.")
    else:
        lines += [report.scope, ""] if report.scope else []
        lines += [*(f"- {sentence}" for sentence in report.opening), "", _table(claims), ""]
        lines += [f"- {note}" for note in NOTES]
    for heading, figure in report.figures.items():
        lines += ["", f"## {heading}", "", *(_figure(figure) if figure else ["Not made."])]
    return "\n".join(lines) + "\n"


def _figure(figure: Figure) -> list[str]:
    version = "" if figure.current else ", by another version of this library: `lficam figures` makes it anew"
    verdicts = [f"- **{verdict.claim} {verdict.words}**: {verdict.reason}." for verdict in figure.verdicts]
    return [
        f"> {figure.caption}",
        "",
        f"*{figure.source}*",
        "",
        *(line for picture in figure.pictures for line in (f"![{figure.title}]({picture.name})", "")),
        _table(figure.table),
        "",
        *(verdicts or ["This figure judges no claim."]),
        *(f"- {remark}." for remark in figure.remarks),
        "",
        f"Made with {figure.made}{version}. Everything else: [`{figure.record.name}`]({figure.record.name}).",
    ]


def _table(table: Table) -> str:
    return markdown(table.text.assign(**{name: "**" + table.text[name] + "**" for name in table.verdicts}))
