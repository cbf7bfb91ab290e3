"""Commands that put a model to use: `lficam explain`, `explorer`, `export`, `stability`, `evaluate`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lficam.cli.app import app
from lficam.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

MODEL = "A run (`lficam runs` lists them), a folder written by save_pretrained, or owner/name on the hub."

FolderOption = Annotated[Path | None, typer.Option(help="Explain all images in it, not the test images.", show_default=False)]
TableOption = Annotated[Path | None, typer.Option(metavar="TABLE.csv", help="The values of every image.", show_default=False)]


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
