"""What the explorer's views say in words and numbers, on the picture and to those who cannot see it."""

from itertools import combinations
from typing import NamedTuple

from torch import Tensor

from lficam.data.datasets import dataset_info
from lficam.explorer.answers import Answer, Box, answer, box_of, channels, compared, grad_cam, iou_matrix, ranked, with_channels
from lficam.explorer.gallery import run_of, true_class
from lficam.explorer.state import State
from lficam.metrics.importance import effective_channels
from lficam.metrics.map_names import GRAD_CAM
from lficam.model.methods import METHODS
from lficam.training.runs import Run


class Prediction(NamedTuple):
    """A class and its probability; wrong: that it is not the true class, where that is known."""

    name: str
    probability: float
    wrong: bool

    @property
    def number(self) -> str:
        """What stands after the name."""
        return f" ({self.probability:.2f})" + " ×" * self.wrong


class Shown(NamedTuple):
    """A map as it is shown. title: above it. cam: (1, s, s) in [0, 1], as it is compared.

    predictions: of its network, the most probable first; of Grad-CAM the one that it is for.
    """

    title: str
    cam: Tensor
    predictions: list[Prediction]


def shown_maps(state: State, box: Box | None = None, most: int = 1) -> list[Shown]:
    """The maps of a state's runs, then Grad-CAM if it is shown. most: of how many classes."""
    maps = []
    for run, title in zip(map(run_of, state.runs), titles(state), strict=True):
        said = answer(run.id, state.image, box)
        maps.append(Shown(title, compared(run.id, said.cam), top_classes(run, state.image, said.probabilities, most)))
    if state.shows_grad_cam:
        run = run_of(state.grad_cam)
        predicted = top_classes(run, state.image, answer(run.id, state.image, box).probabilities)
        cam = compared(run.id, grad_cam(run.id, state.image, box))
        maps.append(Shown(f"{GRAD_CAM} of\n{METHODS[run.config.method].title}", cam, predicted))
    return maps


def titles(state: State) -> list[str]:
    """The method of each run, with its setting where a method has several."""
    runs = [run_of(id) for id in state.runs]
    methods = [run.config.method for run in runs]
    return [METHODS[m].title + (f"\n{setting(run)}" if methods.count(m) > 1 else "") for m, run in zip(methods, runs, strict=True)]


def setting(run: Run) -> str:
    """A run's hyper-parameters, and its seed unless that is 0, one a line."""
    lines = list(run.config.hyperparameters)
    if run.config.seed:
        lines.append(f"seed {run.config.seed}")
    return "\n".join(lines)


def subject(state: State) -> str:
    """Which picture it is, and what the networks were trained on."""
    known = true_class(state.runs[0], state.image)
    which = "your picture" if known is None else f"test image {state.image}, true class {known}"
    method = f"{METHODS[run_of(state.runs[0]).config.method].title}, " if state.view in ("settings", "fin") else ""
    return f"{method}{dataset_info(run_of(state.runs[0]).config.dataset).title}: {which}"


def top_classes(run: Run, image: str, probabilities: Tensor, most: int = 1) -> list[Prediction]:
    """The most probable classes, by probabilities (C,); only the first of them can be wrong."""
    known = true_class(run.id, image)
    values, labels = probabilities.topk(min(most, len(probabilities)))
    names = [run.classes[label] for label in labels]
    wrong = [known not in (None, names[0]), *[False] * (len(names) - 1)]
    return [Prediction(*prediction) for prediction in zip(names, values.tolist(), wrong, strict=True)]


def predictions(state: State) -> list[str]:
    """What each map's network predicts."""
    said = []
    for title, _, (first, *_) in shown_maps(state):
        words = f"{title}: {first.name} ({first.probability:.2f}){', wrong' * first.wrong}."
        said.append(words.replace("\n", " "))
    return said


def agreement(matrix: Tensor, threshold: float) -> list[str]:
    """How alike the maps of two or more runs are, by the IoU of every two (S, S): the mean, then the least and the most."""
    pairs = {(a + 1, b + 1): float(matrix[a, b]) for a, b in combinations(range(len(matrix)), 2)}
    mean, what = sum(pairs.values()) / len(pairs), f"IoU of the areas above {threshold:.2f}"
    if len(pairs) == 1:
        return [f"IoU {mean:.2f}.", f"{what}."]
    least, most = min(pairs, key=pairs.get), max(pairs, key=pairs.get)
    return [
        f"Mean IoU {mean:.2f}.",
        f"{what}, over {len(pairs)} pairs.",
        f"Least alike: models {least[0]} and {least[1]} ({pairs[least]:.2f}).",
        f"Most alike: models {most[0]} and {most[1]} ({pairs[most]:.2f}).",
    ]


def similarity(state: State) -> Tensor:
    """IoU of the maps of every two of a state's runs: (S, S)."""
    return iou_matrix([compared(id, answer(id, state.image).cam) for id in state.runs], state.threshold)


def inside(state: State) -> list[str]:
    """How many channels count, and what becomes of prediction and map when only some are used."""
    run = run_of(state.runs[0])
    learned, changed = answer(run.id, state.image), with_channels(run.id, state.image, state.k, state.keep)
    top, count = learned.importance[ranked(learned.importance)[: state.k]], channels(run.id)
    matrix = iou_matrix([compared(run.id, said.cam) for said in (learned, changed)], state.threshold)
    effective = float(effective_channels(learned.importance[None]))
    return [
        f"Effective number of channels: {effective:.1f} of {count}.",
        f"The top {state.k} {'holds' if state.k == 1 else 'hold'} {float(top.sum()):.1%} of the weight.",
        f"The {_change(run, learned, changed)}.",
        f"IoU of the areas above {state.threshold:.2f}: {float(matrix[0, 1]):.2f}.",
    ]


def effect(state: State) -> list[str]:
    """What becomes of each run's prediction behind the square."""
    box = hidden_box(state)
    return [
        f"{title}: {_change(run, answer(run.id, state.image), answer(run.id, state.image, box))}.".replace("\n", " ")
        for title, run in zip(titles(state), map(run_of, state.runs), strict=True)
    ]


def hidden_box(state: State) -> Box | None:
    """The pixels that the square hides."""
    return box_of(state.square, run_of(state.runs[0]).config.image_size)


def _change(run: Run, before: Answer, after: Answer) -> str:
    """What becomes of the predicted class: "probability of 3 falls from 0.98 to 0.41 (−0.57); now 5 (0.52)"."""
    label, now = int(before.probabilities.argmax()), int(after.probabilities.argmax())
    old, new = (round(float(said.probabilities[label]), 2) for said in (before, after))  # as they are printed
    words = f"probability of {_name(run, label)} "
    if old == new:
        words += f"stays at {new:.2f}"
    else:
        words += f"{'falls' if new < old else 'rises'} from {old:.2f} to {new:.2f} ({new - old:+.2f})".replace("-", "−")
    return words if now == label else f"{words}; now {_name(run, now)} ({float(after.probabilities[now]):.2f})"


def _name(run: Run, label: int) -> str:
    """The class, cut where it would fill a sentence."""
    name = run.classes[label]
    return name if len(name) <= 24 else f"{name[:23]}…"
