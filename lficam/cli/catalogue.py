"""What `lficam data` says: which data sets there are, which of them are here, and how to get the others."""

from collections.abc import Iterator
from pathlib import Path

from lficam.data.datasets import DATASETS, data_fingerprint, data_folder, dataset_info, find_dataset, title_of
from lficam.data.samples import Dataset
from lficam.errors import InputError, MissingDataError
from lficam.paths import atomic_file, data_dir


def print_table() -> None:
    """One row a data set. Decodes nothing."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_lines=True, caption=f"Looked for in {data_dir()}/<name>, or where a run's `data` field points.")
    for column in ("name", "here", "what it is", "how to get it", "licence"):
        table.add_column(column, overflow="fold")
    for name, info in DATASETS.items():
        table.add_row(name, _state(name), info.about, info.source, info.licence)
    Console().print(table)


def _state(name: str) -> str:
    info = dataset_info(name)
    try:
        data_fingerprint(name, None)
        if not info.listed:
            return "yes"
        data = info.load(data_folder(name))
        return f"yes: {len(data.train):,} + {len(data.test):,} images, {len(data.classes):,} classes"
    except MissingDataError:
        return "no"
    except InputError as error:
        return f"not usable: {error}"


def prepare(name: str, folder: str | None) -> None:
    """Download a data set or unpack the archives that lie in its folder. Raises InputError if it cannot be had that way."""
    info = dataset_info(name)
    if info.prepare is None:
        raise InputError(f"{name} has nothing to download: {info.source}")
    root = data_folder(name, folder)
    root.mkdir(parents=True, exist_ok=True)
    try:
        info.prepare(root)
    finally:
        if not any(root.iterdir()):  # nothing came of it
            root.rmdir()


def describe(name: str, folder: str | None, picture: Path | None = None) -> Iterator[str]:
    """Everything about one data set, line by line; reads it, and tries every image file the first time.

    picture: where to draw some of its test images, too.
    Raises InputError, with how to get it, if it is missing or damaged.
    """
    info = dataset_info(name)
    yield f"{name}: {info.title}; {info.about}"
    yield f"licence: {info.licence}"
    yield f"looked for in: {data_folder(name, folder)}"
    data_fingerprint(name, folder)  # if it is missing, the error says how to get it
    data = find_dataset(name, folder)
    yield f"from: {info.source}"
    classes = ", ".join(data.classes[:10]) + (", ..." if len(data.classes) > 10 else "")
    yield f"found: {len(data.train)} training and {len(data.test)} test images of {len(data.classes)} classes ({classes})"
    yield f"left out as unreadable: {len(data.unreadable)}"
    yield from (f"  {id}: {why}" for id, why in data.unreadable)
    for split, samples in (("training", data.train), ("test", data.test)):
        if samples.objects_known:
            yield f"where the object is: known of {samples.objects_known} of {len(samples)} {split} images"
    yield f"normalised with mean {_rounded(data.mean)}, standard deviation {_rounded(data.std)}"

    if picture:
        _draw(data, title_of(name, folder), picture)
        yield f"some of the test images: {picture}"


def _draw(data: Dataset, title: str, picture: Path) -> None:
    from lficam.figures.contact_sheet import contact_sheet
    from lficam.figures.page import DPI

    sheet = contact_sheet(data, title)
    known = sheet.canvas.get_supported_filetypes()
    if picture.suffix[1:] not in known:
        raise InputError(f"--picture {picture}: expected a name that ends in .png, or one of .{', .'.join(known)}")
    with atomic_file(picture) as temporary:
        sheet.savefig(temporary, dpi=DPI)


def _rounded(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
