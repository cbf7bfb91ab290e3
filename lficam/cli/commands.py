"""The command line: `lficam figures`, `report`, `compare`, `data`, `explain`, `explorer`, `export`, `stability`, `evaluate`,
`train`, `runs`.

Wrong input is one line on standard error and exit code 2. A figure or a training that fails is exit code 1.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lficam.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

app = typer.Typer(no_args_is_help=True)

MODEL = "A run (`lficam runs` lists them), a folder written by save_pretrained, or owner/name on the hub."

ProfileOption = Annotated[str, typer.Option(help="embedded, photos, quick or paper.")]
JobsOption = Annotated[
    int, typer.Option(min=1, max=256, help="Models to train side by side; pays where one does not fill the GPU.")
]
CompareOption = Annotated[str, typer.Option(metavar="DATASET", help="The runs of `lficam compare DATASET` instead.")]
FolderOption = Annotated[Path | None, typer.Option(help="Explain all images in it, not the test images.", show_default=False)]
TableOption = Annotated[Path | None, typer.Option(metavar="TABLE.csv", help="The values of every image.", show_default=False)]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="A field of RunConfig, such as epochs=2. Can be repeated.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lficam {version('lficam')}")
        raise typer.Exit


def main() -> None:
    """Entry point: as `app`, with clear errors."""
    try:
        app()
    except InputError as error:
        _fail(str(error))
    except (FloatingPointError, OSError) as error:  # a training that diverged; a disk that is full, a folder that is read-only
        _fail(str(error), code=1)


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print it and exit.")] = False,
) -> None:
    """LFI-CAM: train it, explain images, regenerate the figures of its supplement."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and context.invoked_subcommand != "train":
        raise InputError(
            f"only `lficam train` runs in several processes: start `lficam {context.invoked_subcommand}` without a launcher"
        )


@app.command()
def figures(
    profile: ProfileOption = "embedded",
    only: Annotated[
        list[str], typer.Option(metavar="N", help="Figure 1 to 6, 0 for Table 1, 8 or 9 for notebooks 08 and 09. Can be repeated.")
    ] = [],  # noqa: B006
    set_: SetOption = [],  # noqa: B006
    fresh: Annotated[bool, typer.Option("--fresh", help="Train and draw everything again.")] = False,
    jobs: JobsOption = 1,
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
    with _resumable():
        outcome = make_figures(profile, chosen, _overrides(set_), fresh, jobs)
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

    print(write_report(experiment("table1", profile, _overrides(set_)).folder, profile).with_name("report.html"))


@app.command()
def compare(
    dataset: Annotated[str, typer.Argument(help="A data set; `lficam data` lists them.")],
    profile: Annotated[str, typer.Option(help="quick, photos, paper or embedded.")] = "quick",
    set_: SetOption = [],  # noqa: B006
    jobs: JobsOption = 1,
) -> None:
    """How stable are the maps? Four methods under five settings, as in Figures 5 and 6, on any data."""
    from lficam.figures.agreement import stability_figure
    from lficam.figures.experiments import comparison
    from lficam.figures.outputs import save
    from lficam.figures.tables import readable
    from lficam.training.runs import fit_missing

    plan = comparison(dataset, profile, _overrides(set_))
    with _resumable():
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
def explain(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE_OR_FOLDER", help="Image files, and folders of them.", show_default=False)
    ],
    model: Annotated[
        str, typer.Option("--model", "--run", metavar="MODEL", help=f"{MODEL} When left out, one that comes along.")
    ] = "",
    method: Annotated[
        list[str],
        typer.Option(help="lfi-cam, untrained, abn, plain, grad-cam, or all: of the models that come along. Can be repeated."),
    ] = [],  # noqa: B006
    output: Annotated[Path | None, typer.Option(help="Folder for the pictures; here when left out.", show_default=False)] = None,
    json: Annotated[
        bool, typer.Option("--json", help="An object a line instead; pictures only into a folder that is given.")
    ] = False,
) -> None:
    """Classify images and draw where the model looked: <image>_cam.png for each."""
    from lficam.cli.explain_images import COMPARED, Explained, column_of, compared_columns, explain_files

    if model and method:
        raise InputError("--method compares the models that come with the package: leave out --model")
    methods = COMPARED if "all" in method else method or COMPARED[:1]
    columns = [column_of(model)] if model else compared_columns(methods)
    refused, unsure = 0, 0
    for found in explain_files(images, columns, output or (None if json else Path())):
        if isinstance(found, Explained):
            unsure += any(answer.label is None for answer in found.answers)
            print(found.as_json() if json else found.as_text(), flush=True)
        else:
            print(f"lficam: {found}", file=sys.stderr)
            refused += 1
    if unsure and not json:
        classes = columns[0].trained.metadata.classes
        print(f"{unsure} without a winner: the model knows {len(classes)} kinds of things: {', '.join(classes)}")
    if refused:
        raise typer.Exit(2)


@app.command()
def explorer(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the page's address.")] = 8866,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
) -> None:
    """The explorer as a page without code, for this machine alone, until Ctrl-C."""
    from lficam.explorer.server import serve

    raise typer.Exit(serve(port, browser))


@app.command()
def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL, show_default=False)],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write: .onnx or .pt2.", show_default=False)],
    normalize: Annotated[bool, typer.Option(help="With normalisation inside: it takes pixels 0 to 255.")] = True,
) -> None:
    """Write a model into one file that gives logits and map without this package, and compare it with PyTorch."""
    from lficam.model.export import export as write
    from lficam.training.saved import load_model

    done = write(load_model(model), file, normalize)
    if normalize and not done.normalized:
        print(f"{model} does not say how its input is normalised, so normalisation is not inside")
    size = "height, width" if done.any_size else f"{done.differences[0].size}, {done.differences[0].size}"
    pixels = "pixels 0 to 255" if done.normalized else "normalised"
    print(f"{file}: images (batch, channels, {size}), {pixels} -> logits (batch, classes), cam (batch, 1, u, v) in 0 to 1")
    for found in done.differences:
        print(
            f"largest difference from PyTorch, {found.batch} images of {found.size} pixels: logits {found.logits:.1g}, "
            f"map {found.cam:.1g}"
        )


@app.command()
def stability(
    maps: Annotated[list[str], typer.Argument(metavar="MODEL_OR_FILE", help=f"Files with maps. {MODEL}", show_default=False)],
    folder: FolderOption = None,
    size: Annotated[
        int | None, typer.Option(min=1, max=4096, metavar="PIXELS", help="Compare at this size.", show_default=False)
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="At most so many, drawn at random: 1,000 of 224 pixels take minutes.")] = 1000,
    output: TableOption = None,
) -> None:
    """How alike are the maps of two or more models? Trained models, and maps that other tools saved as .npy or .pt."""
    from lficam.cli.evaluate import compare_maps
    from lficam.cli.maps import collect_maps

    _check_table(output)
    print(f"explaining and comparing: {len(maps)} models", flush=True)
    collected = collect_maps(maps, folder, size, images)
    compared = compare_maps(collected.maps, collected.size, collected.sources)
    print(f"{len(collected.sources)} images, compared at {collected.size[0]} x {collected.size[1]} pixels")
    if collected.note:
        print(collected.note)
    _print_table("mean over all pairs and images [95 % interval over ...]", compared.metrics)
    _print_table("each pair [over images]", compared.pairs)
    _print_table("IoU that comes for free [over images]", compared.free)
    _write_table(compared.values, output)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL, show_default=False)],
    folder: FolderOption = None,
    maps: Annotated[Path | None, typer.Option(metavar="FILE", help="Maps of the images, .npy or .pt.", show_default=False)] = None,
    images: Annotated[int, typer.Option(min=1, help="Test images to judge, drawn at random; of a folder it is all.")] = 100,
    output: TableOption = None,
) -> None:
    """Does a model's map show what its answer rests on? Beside a random map, Grad-CAM, Score-CAM, LayerCAM and maps of a file."""
    from lficam.cli.evaluate import evaluate_model
    from lficam.training.saved import load_trained

    _check_table(output)
    trained = load_trained(model)
    print("judging each map by some 40 answers of the model; Score-CAM takes one more a channel of its features", flush=True)
    judged = evaluate_model(trained, images, folder, maps)
    print(f"{judged.values['id'].nunique()} images")
    if judged.note:
        print(judged.note)
    _print_table("mean [95 % interval over images]", judged.means)
    _write_table(judged.values, output)


@app.command()
def train(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of a run that a figure needs; `lficam runs` lists them.")],
    profile: ProfileOption = "embedded",
    compare: CompareOption = "",
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Train one run of a profile, for instance as one job of a cluster; on several GPUs under `accelerate launch` or `torchrun`."""
    from lficam.cli.run_list import needed_runs
    from lficam.training.processes import leave, part
    from lficam.training.runs import fit_or_load

    needed = needed_runs(profile, _overrides(set_), compare)
    if id not in needed:
        what, option = ("comparison", f" --compare {compare}") if compare else ("figure", "")
        raise InputError(
            f"no {what} of profile {profile!r} needs a run {id!r}: `lficam runs --profile {profile}{option}` lists those it needs"
        )
    with _resumable():
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
        print(dumps(as_jobs(profile, _overrides(set_)), indent=1))
        return
    needed = needed_runs(profile, _overrides(set_), compare)
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


@contextmanager
def _resumable() -> Iterator[None]:
    """Around what goes on from where it was interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        _fail("interrupted: the same command goes on from here", code=130)


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


def _check_table(output: Path | None) -> None:
    if output and output.suffix != ".csv":  # known before hours of work, and no file with maps is overwritten
        raise InputError(f"--output {output}: expected a name that ends in .csv")


def _write_table(table: "DataFrame", output: Path | None) -> None:
    from lficam.paths import atomic_file

    if output:
        with atomic_file(output) as temporary:
            table.to_csv(temporary, index=False)
        print(f"\nevery value: {output}")


def _print_table(title: str, table: "DataFrame") -> None:
    from lficam.figures.tables import readable

    print(f"\n{title}\n{readable(table).to_string(index=False)}")


def _figures_of(number: str) -> list[str]:
    """The figures that the notebook of that number makes."""
    from lficam.figures.experiments import EXPERIMENTS

    names = [name for name, plan in EXPERIMENTS.items() if number and plan.notebook.startswith(f"{number:0>2}_")]
    if not names:
        raise InputError(f"unknown figure {number!r}: expected 1 to 6, 0 for Table 1, 8 for faithfulness, or 9 for other trunks")
    return names


def _overrides(pairs: list[str]) -> dict[str, Any]:
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--set {pair!r}: expected key=value, such as epochs=2")
        overrides[key] = value
    return overrides


def _fail(message: str, code: int = 2) -> None:
    print(f"lficam: {message}", file=sys.stderr)
    sys.exit(code)
