"""One file out: a model as a graph that gives logits and map, to be run without this package, as ONNX or torch.export's .pt2.

Classes, mean and std travel in the file: of an ONNX model in `metadata_props`, of a .pt2 in its extra file `metadata.json`.
"""

import copy
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from lficam.errors import InputError
from lficam.paths import atomic_file

SUFFIXES = (".onnx", ".pt2")
TOLERANCE = 1e-4  # absolute, of logits and map, in float32
OUTPUTS = ("logits", "cam")
BATCHES = (2, 3)  # images, with which the graph is checked
LARGEST_ONNX = 1.5 * 2**30  # bytes of weights; more would go into a second file

Outputs = tuple[Tensor, Tensor]  # logits (N, C), cam (N, 1, u, v)


class Difference(NamedTuple):
    """The largest absolute difference between the graph and PyTorch, on random images (batch, c, size, size)."""

    batch: int
    size: int
    logits: float
    cam: float


class Exported(NamedTuple):
    """What was written. normalized: whether normalisation is inside. any_size: whether height and width are free.

    differences: from PyTorch, one an input that was tried.
    """

    file: Path
    normalized: bool
    any_size: bool
    differences: list[Difference]


class Graph(nn.Module):
    """What is exported: images (N, c, h, w) -> logits (N, C) and cam (N, 1, u, v) in [0, 1].

    mean, std: per channel, of pixels in [0, 1]; then images are pixels in 0 to 255. Without them images are normalised.
    """

    def __init__(self, model: nn.Module, mean: tuple[float, ...] | None = None, std: tuple[float, ...] | None = None):
        super().__init__()
        self.model = model
        self.normalizes = mean is not None
        if self.normalizes:
            self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
            self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Outputs:
        if self.normalizes:
            images = (images / 255 - self.mean) / self.std
        explanation = self.model.explain(images)
        return explanation.logits, explanation.cam


def export(model: nn.Module, file: Path, normalize: bool = True) -> Exported:
    """Write a copy of a model, in float32 on the CPU, as one file, .onnx or .pt2, after comparing it with PyTorch.

    The graph takes `images` (N, c, h, w) float32 and returns `logits` (N, C) and `cam` (N, 1, u, v). The batch is free, and so are
    height and width where the trunk takes any; else they are those of the training.
    normalize: with normalisation inside, so that images are pixels in 0 to 255. A model without metadata is exported without.

    Raises InputError for another ending, a folder that is not there or cannot be written to, an extra that is not installed, a
    model too large for one file, or a trunk that cannot be exported; FloatingPointError if a result differs from PyTorch's by more
    than `TOLERANCE`. Then nothing is written.
    """
    file = Path(file)
    if file.suffix not in SUFFIXES:
        raise InputError(f"{file} ends in {file.suffix!r}: expected {' or '.join(SUFFIXES)}")
    _check_writable(file.parent)
    if file.suffix == ".onnx":
        _check_installed()
    model, known = copy.deepcopy(model).float().cpu(), model.metadata
    graph = (Graph(model, known.mean, known.std) if normalize and known else Graph(model)).eval()
    size, channels = (known.image_size, len(known.mean)) if known else (224, 3)
    _check_size(model, file)
    with _quiet():
        program, any_size = _trace(graph, torch.rand(BATCHES[0], channels, size, size))
    sizes = [size, size + 32] if any_size else [size]
    with atomic_file(file) as temporary, torch.no_grad():
        with _quiet():
            run = _save_onnx(program, temporary, graph) if file.suffix == ".onnx" else _save_pt2(program, temporary, graph)
        differences = [_difference(graph, run, channels, batch, size) for size in sizes for batch in BATCHES]
        if worst := [found for found in differences if not max(found.logits, found.cam) <= TOLERANCE]:
            raise FloatingPointError(
                f"the exported graph differs from PyTorch: {worst[0]}; expected at most {TOLERANCE:g}. {file} was not written"
            )
    return Exported(file, graph.normalizes, any_size, differences)


def _check_writable(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: make it first, or check the path")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"{folder} cannot be written to ({error.strerror}): choose another folder") from error


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'lficam[export]', or export as .pt2") from error


def _check_size(model: nn.Module, file: Path) -> None:
    weights = sum(value.nbytes for value in model.state_dict().values())
    if file.suffix == ".onnx" and weights > LARGEST_ONNX:
        raise InputError(
            f"the model has {weights / 1e9:.1f} GB of weights, more than ONNX keeps in one file ({LARGEST_ONNX / 1e9:.1f} GB): "
            f"export it as .pt2"
        )


def _trace(graph: nn.Module, images: Tensor) -> tuple[torch.export.ExportedProgram, bool]:
    """The graph, and whether its height and width are free; the batch always is."""
    batch, smallest = {0: Dim("batch")}, min(32, *images.shape[-2:])  # less would leave some trunks no feature map at all
    free = batch | {2: Dim("height", min=smallest), 3: Dim("width", min=smallest)}
    with torch.no_grad():
        for dimensions in (free, batch) if _may_take_any_size(graph, images) else (batch,):
            try:
                return torch.export.export(graph, (images,), dynamic_shapes={"images": dimensions}), dimensions is free
            except Exception as error:  # whatever somebody's own trunk does that cannot be traced
                problem = error
    why = " ".join(str(problem).split())[:200]
    said = f"the model cannot be traced ({type(problem).__name__}: {why}): rewrite what its trunk does there"
    raise InputError(said) from problem


def _may_take_any_size(graph: nn.Module, images: Tensor) -> bool:
    """Networks whose border depends on the size ("same", as in TensorFlow) would take the exporter minutes, so they do not."""
    from timm.layers import Conv2dSame

    if any(isinstance(part, Conv2dSame) for part in graph.modules()):
        return False
    try:
        graph(F.pad(images, (0, 32, 0, 32)))
    except Exception:  # whatever a trunk of fixed size raises
        return False
    return True


def _save_onnx(program: torch.export.ExportedProgram, file: Path, graph: Graph) -> Callable[[Tensor], Outputs]:
    import onnxruntime

    onnx_program = torch.onnx.export(program, input_names=["images"], output_names=list(OUTPUTS), dynamo=True, verbose=False)
    onnx_program.model.metadata_props.update(_metadata(graph))
    onnx_program.save(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Outputs:
        return tuple(torch.from_numpy(values) for values in session.run(list(OUTPUTS), {"images": images.numpy()}))

    return run


def _save_pt2(program: torch.export.ExportedProgram, file: Path, graph: Graph) -> Callable[[Tensor], Outputs]:
    torch.export.save(program, file, extra_files={"metadata.json": json.dumps(_metadata(graph))})
    return torch.export.load(file).module()


def _metadata(graph: Graph) -> dict[str, str]:
    """Text, since that is all that ONNX takes: values as JSON."""
    known = graph.model.metadata
    values = {"input": "pixels 0 to 255" if graph.normalizes else "normalised"} | (asdict(known) if known else {})
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _difference(graph: Graph, run: Callable[[Tensor], Outputs], channels: int, batch: int, size: int) -> Difference:
    generator = torch.Generator().manual_seed(batch)
    images = torch.rand(batch, channels, size, size, generator=generator)
    if graph.normalizes:
        images = images * 255
    logits, cam = ((got - expected).abs().max().item() for got, expected in zip(run(images), graph(images), strict=True))
    return Difference(batch, size, logits, cam)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters talk about themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
