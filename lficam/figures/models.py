"""The maps of several models of one method on the same images, as they are compared: from runs, or from what they left.

The images are those whose maps a run keeps (`kept_maps`): the first 1,500 test images of the shuffle, in its order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lficam.data.datasets import sources_of
from lficam.metrics.stability import pair_matrix, pairwise_stability
from lficam.model.methods import METHODS
from lficam.training.runs import RunRecord


@dataclass(frozen=True)
class Models:
    """S models of one method and what they say of N test images.

    maps: name -> (S, N, 1, u, v): "cam", "mean_features", and of plain networks "cam_of_label" (`kept_maps.KeptMaps`).
    predicted: (S, N), numbers of classes. correct: (S, N) bool. accuracy: of each model, on all test images.
    """

    method: str
    runs: Sequence[RunRecord]
    ids: Sequence[str]
    maps: dict[str, Tensor]
    predicted: Tensor
    correct: Tensor

    @property
    def title(self) -> str:
        return METHODS[self.method].title

    @property
    def own(self) -> Tensor:
        """The maps that are compared, (S, N, 1, u, v): a plain network's are the CAMs of the true class."""
        return self.maps.get("cam_of_label", self.maps["cam"])

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the images, at which maps are compared."""
        return (self.runs[0].config.image_size,) * 2

    @property
    def accuracy(self) -> dict[str, float]:
        """Position of a model, from "0" on -> share of all test images."""
        return {str(k): run.metrics["test_accuracy"] for k, run in enumerate(self.runs)}

    def sources(self, images: int | None = None) -> list[str]:
        """What the first of the images, all when left out, were made from (`datasets.sources_of`)."""
        return sources_of(self.runs[0].config.dataset, list(self.ids[:images]))


def models_of(method: str, runs: Sequence[RunRecord]) -> Models:
    """The models of a method among the runs, in their order."""
    runs = [run for run in runs if run.config.method == method]
    kept = [run.kept for run in runs]
    test = (kept[0].answers["split"] == "test").tolist()
    answers = [one.answers[test] for one in kept]
    maps = {name: torch.stack([one.maps[name][test] for one in kept]) for name in kept[0].maps}
    number = {name: k for k, name in enumerate(runs[0].classes)}
    predicted = torch.tensor([own["predicted"].map(number).tolist() for own in answers])
    label = torch.tensor(answers[0]["label"].map(number).tolist())
    return Models(method, runs, answers[0]["id"].tolist(), maps, predicted, predicted == label)


def untrained_maps(models: Models) -> Tensor:
    """Maps (S, n, 1, u, v) of the first n of the same images, n at most 300, by networks that have learned nothing.

    Where the models' seeds differ, the networks that they were before their first epoch. Where they share their seed, and so their
    initial weights, the same architectures with weights of their own (`Run.untrained`). A plain network's are the CAMs of the class
    that it predicts.
    """
    if len({run.config.seed for run in models.runs}) == len(models.runs):
        return torch.stack([run.epoch_maps[0] for run in models.runs])
    return torch.stack([run.untrained_maps(k) for k, run in enumerate(models.runs)])


def pair_values(maps: Tensor, size: tuple[int, int], metrics: Sequence[str]) -> dict[str, Tensor]:
    """Metric -> (S, S, N), between the maps (S, N, 1, u, v) of the same image by every two models, at the size of the image."""
    ids = [str(i) for i in range(maps.shape[1])]
    table = pairwise_stability({str(k): (ids, cams) for k, cams in enumerate(maps)}, size, metrics=metrics)
    return {metric: pair_matrix(table, metric) for metric in metrics}
