"""Trained models applied to image files of one's own."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lficam.cli.own_images import list_images
from lficam.data.augmentation import normalize
from lficam.data.decoding import check_picture
from lficam.data.photograph import photograph_in, seen_in
from lficam.errors import InputError
from lficam.explorer.sentences import Prediction, Shown
from lficam.explorer.state import WIDTHS, State
from lficam.explorer.views import Heading, maps_page
from lficam.figures.page import DPI, Look
from lficam.metrics import map_names
from lficam.metrics.baselines import baseline_maps
from lficam.model.bundled import BUNDLED
from lficam.model.cam import resize_map
from lficam.model.devices import device_of, on_best_device
from lficam.model.metadata import Metadata
from lficam.model.methods import method_of
from lficam.paths import atomic_file
from lficam.training.bundled_runs import load_bundled
from lficam.training.explain import Trained
from lficam.training.runs import Run
from lficam.training.saved import load_trained

PICTURE = "_cam.png"  # what the name of a drawn picture ends in
MOST_CLASSES = 3  # said of a picture

UNTRAINED, GRAD_CAM = "untrained", "grad-cam"
COMPARED = (BUNDLED["photographs"], UNTRAINED, *list(BUNDLED.values())[1:], GRAD_CAM)  # what can be shown side by side
LOOK = Look(State.threshold, State.opacity, State.color_map, contour=True)


class Column(NamedTuple):
    """A map that is shown.

    title: above it. trained: the model that it is of. maps_of: model, normalised images (1, 3, s, s), the class predicted (1,) ->
    (1, 1, u, v); None: the model's own. answers: whether the model is asked for its answer by this column.
    """

    title: str
    trained: Trained
    maps_of: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None
    answers: bool = True


class Answer(NamedTuple):
    """What a model says of a picture.

    model: its title. label: the most probable class; None where that is less probable than the model wants it to be
    (`Metadata.unsure_below`). probabilities: class -> in [0, 1], the most probable first.
    """

    model: str
    label: str | None
    probabilities: dict[str, float]


class Explained(NamedTuple):
    """An image file, the answers to it, and where it is drawn, if it is."""

    file: Path
    answers: list[Answer]
    picture: Path | None

    def as_json(self) -> str:
        """An object a line for each answer."""
        about = {"file": str(self.file)} | ({"picture": str(self.picture)} if self.picture else {})
        return "\n".join(json.dumps(about | answer._asdict(), ensure_ascii=False) for answer in self.answers)

    def as_text(self) -> str:
        """The picture, and the three most probable classes of each answer."""
        parts = []
        for answer in self.answers:
            (name, value), *others = list(answer.probabilities.items())[:MOST_CLASSES]
            rest = ", ".join(f"{other} {share:.3f}" for other, share in others)
            title = f"{answer.model}: " if len(self.answers) > 1 else ""
            parts.append(f"{title}{name}{'' if answer.label else '?'} {value:.3f} ({rest})")
        return f"{self.picture}: {'; '.join(parts)}"


class Untrained(Trained):
    """The architecture of a run before it has learned anything."""

    def __init__(self, run: Run):
        self.id, self.model, self.metadata = run.id, run.untrained(), run.metadata


def compared_columns(methods: Sequence[str]) -> list[Column]:
    """Columns for maps of the package's models, by their names in `COMPARED`. Raises InputError for another name."""
    for name in methods:
        if name not in COMPARED:
            raise InputError(f"unknown method {name!r}: expected {', '.join(COMPARED)}, or all")
    load, names = cache(load_bundled), {method: name for name, method in BUNDLED.items()}

    def column(name: str) -> Column:
        trained = load(names.get(name, "photographs"))
        if name == UNTRAINED:
            return Column(map_names.LFI_CAM_UNTRAINED, Untrained(trained), answers=False)
        if name == GRAD_CAM:
            return Column(map_names.GRAD_CAM_OF_LFI_CAM, trained, partial(baseline_maps, map_names.GRAD_CAM), answers=False)
        return Column(method_of(trained.model).title, trained)

    return [column(name) for name in dict.fromkeys(methods)]


def column_of(name: str) -> Column:
    """The own map of a trained model (`saved.load_trained`)."""
    trained = load_trained(name)
    return Column(method_of(trained.model).title, trained)


def find_images(paths: Sequence[Path]) -> dict[Path, Path]:
    """Image files, and those in folders at any depth -> where each is drawn inside the output folder.

    Of folders, pictures that were drawn before are left out. Raises InputError for a folder without images, and for two images that
    would be drawn into one file.
    """
    found = {}
    for path in paths:
        if path.is_dir():
            found |= {file: Path(id).parent for id, file in list_images(path).items() if not id.endswith(PICTURE)}
        else:
            found[path] = Path()
    stems = Counter(folder / file.stem for file, folder in found.items())
    targets = {
        file: folder / f"{file.stem if stems[folder / file.stem] == 1 else file.name}{PICTURE}" for file, folder in found.items()
    }
    if repeated := sorted(str(target) for target, count in Counter(targets.values()).items() if count > 1):
        raise InputError(f"several images would be drawn into {', '.join(repeated)}: give one of them another name")
    return targets


def explain_files(paths: Sequence[Path], columns: Sequence[Column], output: Path | None) -> Iterator[Explained | InputError]:
    """Classify image files, and those in folders, and draw each with its maps into `output`, unless that is None.

    An image that cannot be read gives an InputError that names it, and the others go on. Raises InputError, before anything is
    written, as `find_images` does.
    """
    targets = find_images(paths)
    with ExitStack() as stack:
        for column in columns:
            stack.enter_context(on_best_device(column.trained.model))
        for file, target in targets.items():
            try:
                content = read_picture(file)
            except InputError as error:
                yield error
            else:
                yield _explain(file, content, columns, output / target if output else None)


def read_picture(file: Path) -> bytes:
    """An image file as `decoding.check_picture` lets it pass. Raises InputError if it does not, or there is none."""
    if not file.is_file():
        raise InputError(f"no image at {file}: check the path")
    return check_picture(str(file), file.read_bytes())


def _explain(file: Path, content: bytes, columns: Sequence[Column], target: Path | None) -> Explained:
    answers, shown, seen_at = [], [], cache(partial(seen_in, content))  # the models of the package see the same of it
    for column in columns:
        model, known = column.trained.model, column.trained.metadata
        seen = seen_at(known.image_size, known.augmentation)[None]
        images = normalize(seen, known.mean, known.std).to(device_of(model))
        with torch.inference_mode():
            said = model.explain(images)
        probabilities = said.logits.float().softmax(1)[0].cpu()
        cam = said.cam if column.maps_of is None else column.maps_of(model, images, probabilities.argmax().view(1))
        answer = _answer(method_of(model).title, known, probabilities)
        if column.answers:
            answers.append(answer)
        cam = resize_map(cam.float().cpu(), (known.image_size,) * 2)[0]
        shown.append(Shown(column.title, cam, _most_probable(answer, MOST_CLASSES if column.answers else 1)))
    if target:
        _draw(file, content, columns, shown, target)
    return Explained(file, answers, target)


def _answer(title: str, known: Metadata, probabilities: Tensor) -> Answer:
    values, labels = probabilities.sort(descending=True)
    by_class = {known.classes[label]: value for label, value in zip(labels.tolist(), values.tolist(), strict=True)}
    best = next(iter(by_class))
    return Answer(title, best if by_class[best] >= known.unsure_below else None, by_class)


def _most_probable(answer: Answer, most: int) -> list[Prediction]:
    first, *others = (Prediction(name, value, wrong=False) for name, value in list(answer.probabilities.items())[:most])
    return [first if answer.label else first._replace(name=f"{first.name}?"), *others]


def _draw(file: Path, content: bytes, columns: Sequence[Column], shown: Sequence[Shown], target: Path) -> None:
    known = columns[0].trained.metadata
    kinds = f"{len(known.classes)} classes: {', '.join(known.classes)}"
    heading = Heading(file.name, f"{columns[0].trained.id}, {kinds}", WIDTHS[0] if len(shown) > 1 else WIDTHS[1])
    page = maps_page(heading, photograph_in(content, known.augmentation), shown, LOOK)
    with atomic_file(target) as temporary:
        temporary.write_bytes(page.png(DPI, Software="lficam"))
