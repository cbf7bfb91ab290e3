"""What the explorer's views say in words and numbers, on the picture and to those who cannot see it."""

from itertools import combinations
from typing import NamedTuple

from torch import Tensor

from lficam.explorer.answers import Answer, Box, Network, iou_matrix, ranked
from lficam.explorer.own_pictures import UPLOAD
from lficam.explorer.scene import Scene
from lficam.metrics.importance import effective_channels
from lficam.metrics.map_names import GRAD_CAM


class Prediction(NamedTuple):
    """A class and its probability; wrong: that it is not the true class, where that is known."""

    name: str
    probability: float
    wrong: bool

    @property
    def number(self) -> str:
        """What stands after the name."""
        return f" ({self.probability:.2f}) ×" if self.wrong else f" ({self.probability:.2f})"


class Shown(NamedTuple):
    """A map as it is shown. title: above it. cam: (1, s, s) in [0, 1], as it is compared.

    predictions: of its network, the most probable first; of Grad-CAM the one that it is for.
    """

    title: str
    cam: Tensor
    predictions: list[Prediction]


def shown_maps(scene: Scene, box: Box | None = None, most: int = 1) -> list[Shown]:
    """The maps of a scene's networks, then Grad-CAM if it is shown. most: of how many classes."""
    image, maps = scene.state.image, []
    for network, title in zip(scene.networks, titles(scene), strict=True):
        said = network.answer(image, box)
        maps.append(Shown(title, network.compared(said.cam), top_classes(scene, said.probabilities, most)))
    if scene.explained is not None:
        network = scene.explained
        predicted = top_classes(scene, network.answer(image, box).probabilities)
        cam = network.compared(network.grad_cam(image, box))
        maps.append(Shown(f"{GRAD_CAM} of\n{network.method.title}", cam, predicted))
    return maps


def titles(scene: Scene) -> list[str]:
    """The method of each network, with its setting where a method has several."""
    titles = [network.title for network in scene.networks]
    return [
        title if titles.count(title) == 1 else f"{title}\n{setting(network)}"
        for title, network in zip(titles, scene.networks, strict=True)
    ]


def setting(network: Network) -> str:
    """A network's hyper-parameters, and its seed unless that is 0, one a line."""
    lines = list(network.run.config.hyperparameters)
    if network.run.config.seed:
        lines.append(f"seed {network.run.config.seed}")
    return "\n".join(lines)


def subject(scene: Scene) -> str:
    """Which picture it is, and what the networks were trained on."""
    image = scene.state.image
    which = "your picture" if image.startswith(UPLOAD) else f"test image {image}, true class {scene.true_class or 'none of those'}"
    words = f"{scene.first.data}: {which}"
    return f"{scene.first.method.title}, {words}" if scene.state.view in ("settings", "fin") else words


def top_classes(scene: Scene, probabilities: Tensor, most: int = 1) -> list[Prediction]:
    """The most probable classes, by probabilities (C,); only the first of them can be wrong, or be in question."""
    values, labels = probabilities.topk(min(most, len(probabilities)))
    run = scene.first.run
    first, *others = (Prediction(run.classes[label], value, False) for label, value in zip(labels, values.tolist(), strict=True))
    wrong = scene.true_class not in (None, first.name)
    unsure = "?" if first.probability < run.metadata.unsure_below else ""
    return [first._replace(name=first.name + unsure, wrong=wrong), *others]


def predictions(scene: Scene) -> list[str]:
    """What each map's network predicts."""
    said = []
    for title, _, (first, *_) in shown_maps(scene):
        wrong = ", wrong" if first.wrong else ""
        said.append(f"{title}: {first.name} ({first.probability:.2f}){wrong}.".replace("\n", " "))
    return said


def how_alike(matrix: Tensor, threshold: float) -> list[str]:
    """How alike the maps of two or more networks are, by the IoU of every two (S, S): the mean, then the least and the most."""
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


def similarity(scene: Scene) -> Tensor:
    """IoU of the maps of every two of a scene's networks: (S, S)."""
    return iou_matrix([shown.cam for shown in shown_maps(scene)], scene.state.threshold)


def inside(scene: Scene) -> list[str]:
    """How many channels count, and what becomes of prediction and map when only some are used."""
    network, state = scene.first, scene.state
    learned, changed = network.answer(state.image), network.with_channels(state.image, state.k, state.keep)
    top = learned.importance[ranked(learned.importance)[: state.k]]
    matrix = iou_matrix([network.compared(said.cam) for said in (learned, changed)], state.threshold)
    effective = float(effective_channels(learned.importance[None]))
    return [
        f"Effective number of channels: {effective:.1f} of {network.channels}.",
        f"The top {state.k} {'holds' if state.k == 1 else 'hold'} {float(top.sum()):.1%} of the weight.",
        f"The {_change(scene, learned, changed)}.",
        f"IoU of the areas above {state.threshold:.2f}: {float(matrix[0, 1]):.2f}.",
    ]


def effect(scene: Scene) -> list[str]:
    """What becomes of each network's prediction behind the square."""
    image, box = scene.state.image, scene.box
    return [
        f"{title}: {_change(scene, network.answer(image), network.answer(image, box))}.".replace("\n", " ")
        for title, network in zip(titles(scene), scene.networks, strict=True)
    ]


def _change(scene: Scene, before: Answer, after: Answer) -> str:
    """What becomes of the predicted class: "probability of 3 falls from 0.98 to 0.41 (−0.57); now 5 (0.52)"."""
    label, now = int(before.probabilities.argmax()), int(after.probabilities.argmax())
    old, new = (round(float(said.probabilities[label]), 2) for said in (before, after))  # as they are printed
    words = f"probability of {_name(scene, label)} "
    if old == new:
        words += f"stays at {new:.2f}"
    else:
        words += f"{'falls' if new < old else 'rises'} from {old:.2f} to {new:.2f} ({new - old:+.2f})".replace("-", "−")
    return words if now == label else f"{words}; now {_name(scene, now)} ({float(after.probabilities[now]):.2f})"


def _name(scene: Scene, label: int) -> str:
    """The class, cut where it would fill a sentence."""
    name = scene.first.run.classes[label]
    return name if len(name) <= 24 else f"{name[:23]}…"
