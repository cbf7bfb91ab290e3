"""Commands that make the paper's figures: `lficam figures`, `report`, `compare`, `data`, `train`, `runs`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lficam.cli.app import CompareOption, JobsOption, ProfileOption, SetOption, app, overrides_of, resumable
from lficam.errors import InputError


@app.command()
def figures(
    profile: ProfileOption = "embedded",
    only: Annotated[
        list[str], typer.Option(metavar="N", help="Figure 1 to 6, 0 for Table 1, 8 or 9 for notebooks 08 and 09. Can be repeated.")
    ] = [],  # noqa: B006
    set_: SetOption = [],  # noqa: B006
    fresh: Annotated[bool, typer.Option("--fresh", help="Train and draw everything again.")] = False,
    jobs: JobsOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Make the committed numbers again instead, without training, and name what differs.")
    ] = False,
) -> None:
    """Regenerate Table 1, Figures 1-6 and what goes beyond them: train what is missing, execute the notebooks, write the report."""
    from lficam.reproduce.notebooks import make_figures

    if check:
        if only or set_ or fresh or profile != "embedded":
            raise InputError("--check makes all committed numbers again: leave out the other options")
        _check_committed()
        return
    chosen = [name for number in only for name in _figures_of(number)]
    with resumable():
        outcome = make_figures(profile, chosen, overrides_of(set_), fresh, jobs)
    if outcome.kept:
        print(f"up to date: {', '.join(outcome.kept)}")
    names = {}  # the figures of one notebook have one reason
    for name, why in {**outcome.without_data, **outcome.failed}.items():
        names.setdefault(why, []).append(name)
    for why, missing in names.items():
        print(f"lficam: {', '.join(missing)} not made: {why}", file=sys.stderr)
    if outcome.report:
        print(f"report: {outcome.report.with_name('report.html')}, the same as {outcome.report.name}")
    if outcome.failed or outcome.without_data:
        raise typer.Exit(1 if outcome.failed else 2)


@app.command()
def report(profile: ProfileOption = "embedded", set_: SetOption = []) -> None:  # noqa: B006
    """Write the report anew from the figures that are there: REPORT.md and report.html."""
    from lficam.figures.experiments import experiment
    from lficam.reproduce.report import write_report

    print(write_report(experiment("table1", profile, overrides_of(set_)).folder, profile).with_name("report.html"))


@app.command()
def compare(
    dataset: Annotated[str, typer.Argument(help="A data set; `lficam data` lists them.")],
    profile: Annotated[str, typer.Option(help="quick, photos, paper or embedded.")] = "quick",
    set_: SetOption = [],  # noqa: B006
    jobs: JobsOption = None,
) -> None:
    """How stable are the maps? Four methods under five settings, as in Figures 5 and 6, on any data."""
    from lficam.figures.agreement import stability_figure
    from lficam.figures.experiments import comparison
    from lficam.figures.outputs import save
    from lficam.figures.tables import readable
    from lficam.training.fit import fit_missing

    plan = comparison(dataset, profile, overrides_of(set_))
    with resumable():
        failed = fit_missing(plan.configs(), jobs, plan.own_starts)
    for error in failed.values():
        raise error
    result = stability_figure(plan, plan.runs())
    save(result)
    means = result.table[result.table["setting"].isin(["all", "similar"])].dropna(axis="columns", how="all")
    print(readable(means).to_string(index=False))
    for verdict in result.verdicts:
        print(verdict)
    print(f"figure, table and provenance: {plan.file('.*')}")


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="A data set; all of them in one table when left out.", show_default=False)] = "",
    folder: Annotated[str, typer.Option(help="Where it is, if not in the data folder.", show_default=False)] = "",
    download: Annotated[bool, typer.Option("--download", help="Download it where that is allowed, unpack its archives.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Draw some of its test images there, .png.", show_default=False)] = None,
) -> None:
    """What data there is, where it is looked for and how to get it; with a name, read and check that data set."""
    from lficam.cli import catalogue

    if not name:
        if folder or download or picture:
            raise InputError("name a data set with --folder, --download or --picture: `lficam data` lists them")
        catalogue.print_table()
        return
    if download:
        catalogue.prepare(name, folder or None)
    for line in catalogue.describe(name, folder or None, picture):
        print(line)


@app.command()
def train(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of a run that a figure needs; `lficam runs` lists them.")],
    profile: ProfileOption = "embedded",
    compare: CompareOption = "",
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Train one run of a profile, for instance as one job of a cluster; on several GPUs under `accelerate launch` or `torchrun`."""
    from lficam.cli.run_list import needed_runs
    from lficam.training.fit import fit_or_load
    from lficam.training.processes import leave, part

    needed = needed_runs(profile, overrides_of(set_), compare)
    if id not in needed:
        what, option = ("comparison", f" --compare {compare}") if compare else ("figure", "")
        raise InputError(
            f"no {what} of profile {profile!r} needs a run {id!r}: `lficam runs --profile {profile}{option}` lists those it needs"
        )
    with resumable():
        run = fit_or_load(needed[id])
        leave()
    if part().index == 0:
        print(f"{run.id}: test accuracy {run.metrics['test_accuracy']:.3f} after {run.metrics['seconds']:.0f} s of training")


@app.command()
def runs(
    profile: ProfileOption = "embedded",
    compare: CompareOption = "",
    set_: SetOption = [],  # noqa: B006
    verify: Annotated[bool, typer.Option("--verify", help="Name what has changed since it was stored, of all runs.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="The same, and train it again.")] = False,
    json: Annotated[bool, typer.Option("--json", help="What a profile needs as one object: runs, notebooks.")] = False,
) -> None:
    """List the runs a profile needs and all others in the store, with their test accuracy where trained."""
    from json import dumps

    from lficam.cli.run_list import as_jobs, damaged_runs, needed_runs, state_of, trained_again
    from lficam.training.runs import stored_ids

    if json:
        if compare or verify or repair:
            raise InputError("--json says what the figures of a profile need: leave out the other options")
        print(dumps(as_jobs(profile, overrides_of(set_)), indent=1))
        return
    needed = needed_runs(profile, overrides_of(set_), compare)
    if verify or repair:
        found = damaged_runs()
        for id, why in found.items():
            print(f"{id}: {why}")
            if repair and trained_again(id, needed.get(id)):
                print(f"{id}: trained again")
        if found and (not repair or damaged_runs()):
            raise typer.Exit(1)
        return
    for id in [*needed, *(other for other in stored_ids() if other not in needed)]:
        config = needed.get(id)
        print(f"{id:50} {config.setting if config else 'not of this profile':36} {state_of(id)}")


def _check_committed() -> None:
    """`lficam figures --check`."""
    from lficam.paths import repository
    from lficam.reproduce.check import TOLERANCE, check

    if (root := repository()) is None:
        raise InputError("--check needs a checkout of the repository, where the committed numbers are")
    if differing := list(check(root)):
        print(*differing, sep="\n")
        raise typer.Exit(1)
    print(f"figures/reference and figures/results: every number but times was made again, all within {TOLERANCE}")


def _figures_of(number: str) -> list[str]:
    """The figures that the notebook of that number makes."""
    from lficam.figures.experiments import EXPERIMENTS

    names = [name for name, plan in EXPERIMENTS.items() if number and plan.notebook.startswith(f"{number:0>2}_")]
    if not names:
        raise InputError(f"unknown figure {number!r}: expected 1 to 6, 0 for Table 1, 8 for faithfulness, or 9 for other trunks")
    return names
