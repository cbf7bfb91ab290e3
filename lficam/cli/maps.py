"""Maps to compare: those of trained models, and those that other tools saved as .npy or .pt.

Such a file holds one map an image, in any range of values. Its ids say which image each map belongs to; without ids the maps are
taken in the order of others that have them.
"""

import pickle
import struct
import tokenize
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lficam.cli.own_images import list_images, read_images
from lficam.data.augmentation import CENTERED
from lficam.data.datasets import data_fingerprint
from lficam.data.samples import shuffled
from lficam.errors import InputError
from lficam.model.cam import are_finite, normalize_map
from lficam.training.explain import Trained
from lficam.training.saved import load_trained, names_saved_model, with_test_images

SUFFIXES = (".npy", ".pt")
CHUNK = 16  # maps read and normalised at a time, in 64 bits
EXPECTED = "(N, u, v) or (N, 1, u, v), one map an image"

# What a damaged file makes numpy and torch stumble over; the disk's own errors are OSErrors, which it is not.
_DAMAGED = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AssertionError, AttributeError, RuntimeError, EOFError, MemoryError),
    *(struct.error, pickle.UnpicklingError, tokenize.TokenError),
)


class Collected(NamedTuple):
    """Maps of the same images by several models.

    maps: name -> ids and (N, 1, u, v), as `pairwise_stability` takes them. size: (h, w) to compare them at.
    sources: what each image was made from, in the order of the first model's ids.
    note: how maps without ids were paired, "" if all have ids.
    """

    maps: dict[str, tuple[list[str], Tensor]]
    size: tuple[int, int]
    sources: list[str]
    note: str


def load_maps(file: Path) -> tuple[list[str] | None, Tensor]:
    """The ids in a file, None without any, and its maps (N, 1, u, v) float32, min-max normalised to [0, 1]; a constant map is 0.

    .npy: an array (N, u, v) or (N, 1, u, v) of numbers. .pt, saved by `torch.save`: a tensor of that shape, or a dictionary
    {"ids": list of N names, "maps": such a tensor}. Ids may also lie beside the file, one a line, as <name>.txt. No pickled
    object is ever loaded.
    Raises InputError for a file that is missing, damaged or empty, another shape or type, values that are not finite, or ids that
    are not N different names.
    """
    ids, maps = _open(file)
    return ids, _normalized(file, maps, range(len(maps)))


def _open(file: Path) -> tuple[list[str] | None, Tensor]:
    """The same without reading the maps, which stay in the file until they are used: (N, 1, u, v) of any range and type."""
    if not file.is_file():
        raise InputError(f"no file {file}: check the path")
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(f"{file} is neither .npy nor .pt: save the maps with numpy.save or torch.save")
    ids, maps = _read(file)
    if maps.layout != torch.strided or maps.is_quantized or maps.is_complex() or maps.is_meta or maps.is_nested:
        raise InputError(f"{file} holds a tensor of {maps.dtype}, {maps.layout}: expected a plain tensor of real numbers")
    if maps.ndim == 3:
        maps = maps.unsqueeze(1)  # (N, 1, u, v)
    if maps.ndim != 4 or maps.shape[1] != 1 or 0 in maps.shape:
        raise InputError(f"{file} holds {tuple(maps.shape)}: expected {EXPECTED}")
    return _ids(file, ids, len(maps)), maps


def _normalized(file: Path, maps: Tensor, index: Sequence[int]) -> Tensor:
    """The maps at these positions of a file, of which no others are read."""
    normalized = torch.empty(len(index), *maps.shape[1:])
    for start in range(0, len(index), CHUNK):
        rows = list(index[start : start + CHUNK])
        part = maps[rows].double()  # so that no range of 32-bit numbers overflows
        if (bad := ~are_finite(part)).any():
            raise InputError(f"map {rows[int(bad.int().argmax())]} of {file} holds NaN or infinity: expected numbers")
        normalized[start : start + CHUNK] = normalize_map(part)
    return normalized


def by_position(name: str, maps: Tensor, ids: Sequence[str], owner: str) -> list[str]:
    """The ids of another model (owner) for maps without ids. Raises InputError unless there is one map for each."""
    if len(maps) != len(ids):
        raise InputError(
            f"{name} has {len(maps)} maps without ids, {owner} has {len(ids)} images: expected one map for each, or ids in a file "
            f"{Path(name).with_suffix('.txt').name} beside it, one a line"
        )
    return list(ids)


def collect_maps(names: Sequence[str], folder: Path | None = None, size: int | None = None, images: int | None = None) -> Collected:
    """The maps of several models on the same images.

    names: each a trained model (`saved.load_trained`), or a file for `load_maps`.
    folder: the models explain all images in it (`own_images.list_images`) instead of the runs' test images.
    size: pixels a side at which to compare; when left out that of the models' images, else of the files' maps.
    images: at most so many, the first of a seeded shuffle; all when left out.

    Files without ids are taken in the order of the first argument that has ids; if none has, their maps are named "0", "1", ...
    Raises InputError for fewer than two names or one given twice, models that do not see the same images, unknown models, files
    that cannot be used, or sizes that differ where none is given.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"got {', '.join(names)}: expected two or more different models or files with maps")
    files = [name for name in names if _is_file(name)]
    found = {name: _open(Path(name)) for name in files}
    models = {name: load_trained(name) for name in names if name not in files}
    if folder and not models:
        raise InputError(f"--folder {folder} is for models to explain, and {', '.join(names)} are files: leave it out")
    pixels = _size(models, found, size)
    _check_same_images(models, folder)
    files_of_images = list_images(folder) if folder else {}
    for name, model in models.items():
        explained = model.explain(read_images(files_of_images, model.metadata)) if folder else with_test_images(model).explained
        found[name] = (list(explained.ids), explained.cam)
    maps, note = _with_ids({name: found[name] for name in names})
    runs = [] if folder else models.values()
    known = dict(pair for run in runs for pair in zip(run.explained.ids, run.sources(), strict=True))
    chosen = _chosen([ids for ids, _ in maps.values()], images)
    collected = {}
    for name, (ids, cams) in maps.items():
        position = {id: i for i, id in enumerate(ids)}
        index = [position[id] for id in chosen or ids]
        collected[name] = (chosen or ids, _normalized(Path(name), cams, index) if name in files else cams[index])
    return Collected(collected, pixels, [known.get(id, id) for id in collected[names[0]][0]], note)


def _chosen(ids: Sequence[list[str]], count: int | None) -> list[str]:
    """The images to compare of those that all models have, in the first one's order; [] for all, and where ids differ."""
    first = ids[0]
    if count is None or count >= len(first) or any(set(own) != set(first) for own in ids):
        return []
    return [first[i] for i in shuffled(len(first))[:count]]


def _read(file: Path) -> tuple[object, Tensor]:
    """What is there for ids, and the maps, neither checked."""
    try:
        if file.suffix.lower() == ".npy":
            array = np.lib.format.open_memmap(file, mode="c")  # on write a copy: torch takes no array that cannot be written to
            return None, torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=_can_be_mapped(file))
    except _DAMAGED as error:
        raise InputError(f"cannot read {file} ({type(error).__name__}): expected numbers {EXPECTED}") from error
    ids, maps = (content.get("ids"), content.get("maps")) if isinstance(content, dict) else (None, content)
    if not isinstance(maps, Tensor) or (isinstance(content, dict) and ids is None):
        raise InputError(f'{file} holds a {type(content).__name__}: expected a tensor, or {{"ids": names, "maps": tensor}}')
    return ids, maps.detach()


def _can_be_mapped(file: Path) -> bool:
    """Whether it is a zip archive, as `torch.save` has written for years; older files are read as a whole."""
    with file.open("rb") as opened:
        return opened.read(4) == b"PK\x03\x04"


def _ids(file: Path, given: object, count: int) -> list[str] | None:
    beside = file.with_suffix(".txt")
    if given is None and beside.is_file():
        try:
            given = [line for line in beside.read_text(encoding="utf-8-sig").splitlines() if line]
        except UnicodeDecodeError as error:
            raise InputError(f"{beside} is no text: expected the ids of {file.name}, one a line") from error
        file = beside
    if given is None:
        return None
    if not isinstance(given, list | tuple) or not all(isinstance(id, str) for id in given):
        raise InputError(f"the ids in {file} are no list of text: expected one name for each map")
    if len(given) != count or len(set(given)) != count:
        raise InputError(
            f"{file} has {len(given)} ids, {len(set(given))} of them different, for {count} maps: expected one name for each map"
        )
    return list(given)


def _with_ids(maps: Mapping[str, tuple[list[str] | None, Tensor]]) -> tuple[dict[str, tuple[list[str], Tensor]], str]:
    """All maps with ids, and how those without were paired."""
    owner = next((name for name, (ids, _) in maps.items() if ids is not None), None)
    missing = [name for name, (ids, _) in maps.items() if ids is None]
    first = next(iter(maps))
    order = maps[owner][0] if owner else [str(i) for i in range(len(maps[first][1]))]
    paired = {name: (ids or by_position(name, cams, order, owner or first), cams) for name, (ids, cams) in maps.items()}
    like = f" like the ids of {owner}" if owner else ""
    note = f"maps without ids are paired by position{like}: {', '.join(missing)}" if missing else ""
    return paired, note


def _is_file(name: str) -> bool:
    """The id of a run has no dot; a folder or a model on the hub may have one."""
    suffix = Path(name).suffix.lower()
    return suffix in SUFFIXES or (bool(suffix) and not names_saved_model(name))


def _size(models: Mapping[str, Trained], files: Mapping[str, tuple[list[str] | None, Tensor]], size: int | None) -> tuple[int, int]:
    """At which to compare."""
    if size:
        return size, size
    sizes = {name: (model.metadata.image_size,) * 2 for name, model in models.items()}
    sizes = sizes or {name: tuple(cams.shape[2:]) for name, (_, cams) in files.items()}
    advice = "give the size at which to compare them, such as --size 224"
    _check_equal(sizes, f"have {'images' if models else 'maps'} of {{}} and {{}} pixels", advice)
    return next(iter(sizes.values()))


def _check_same_images(models: Mapping[str, Trained], folder: Path | None) -> None:
    """That an id means the same pixels: data sets share ids such as test/00001, and some trainings test the centre only."""
    seen = {name: "the centre" if model.metadata.augmentation in CENTERED else "all" for name, model in models.items()}
    _check_equal(seen, "look at {} and {} of an image", "compare runs whose `augmentation` tests the same part of it")
    if not folder:
        configs = {name: with_test_images(model).config for name, model in models.items()}
        data = {name: (config.dataset, data_fingerprint(config.dataset, config.data)) for name, config in configs.items()}
        _check_equal(data, "test different images", "compare runs of the same data, or give them images with --folder")


def _check_equal(values: Mapping[str, object], what: str, advice: str) -> None:
    first = next(iter(values), None)
    if other := next((name for name, value in values.items() if value != values[first]), None):
        raise InputError(f"{first} and {other} {what.format(values[first], values[other])}: {advice}")
