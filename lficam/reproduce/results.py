"""What trainings leave in the repository: enough to judge their maps anew without training, and no pixel of an image.

A folder holds the trainings on one data set. `runs.json`: how each came about; `trainings.csv`: the same as a short table.
`images.csv`: the images that the maps are of. `<run id>.safetensors`: the maps of the trained model in 16 bits, those of its epochs
in 8, and what it said of the images.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lficam.data.samples import shuffled
from lficam.errors import InputError
from lficam.figures.explanations import anyones_maps
from lficam.metrics import map_names
from lficam.metrics.localisation import localisation
from lficam.paths import atomic_file
from lficam.provenance import hardware
from lficam.training.config import RunConfig, published
from lficam.training.kept_maps import FINAL_IMAGES, KeptMaps, as_levels, as_maps
from lficam.training.runs import Run, RunRecord, record_of

if TYPE_CHECKING:
    import pandas as pd

RUNS, TABLE, IMAGES = "runs.json", "trainings.csv", "images.csv"
_NAMES = ["split", "id", "label"]  # columns of `images.csv`; all others of a model's answers are numbers, kept beside its maps
_EPOCH, _UNTRAINED = "epoch ", "untrained "


@dataclass(frozen=True, kw_only=True)
class Training(RunRecord):
    """One training, as the repository keeps it: `Run` without its model.

    kept: as `Run.kept`; of a fold, the training images alone.
    epoch_maps: as `Run.epoch_maps`; maybe of epoch 0 alone, or none.
    of_untrained: number -> the maps of `Run.untrained_maps`, where its comparison needs them.
    """

    kept: KeptMaps
    epoch_maps: dict[int, Tensor]
    of_untrained: dict[int, Tensor]

    def untrained_maps(self, number: int = 0) -> Tensor:
        """As `Run.untrained_maps`. Raises KeyError if they were not kept."""
        return self.of_untrained[number]


def write_training(run: Run, folder: Path, epochs: Sequence[int] | None = (0,), untrained: Sequence[int] = ()) -> None:
    """Add a run to a folder, or write it anew.

    epochs: of which its maps are kept, None of all that there are. untrained: numbers of the untrained networks
    (`Run.untrained_maps`) whose maps are kept.
    Of plain networks alone the mean feature map is kept, with which others are compared; of a fold the map of the true class
    alone. Of a LFI-CAM energy and pointing of its mean feature map and of maps that anyone can draw stand among the answers.
    Raises InputError if the maps of the folder's other runs are of other images.
    """
    split = _split_of(run.config)
    rows = (run.kept.answers["split"] == split).tolist()
    answers = run.kept.answers[rows].reset_index(drop=True)
    _add_images(answers[_NAMES], split, folder)
    tensors = {name: as_levels(run.kept.maps[name][rows], torch.uint16) for name in _chosen(run)}
    tensors["predicted"] = torch.tensor([run.classes.index(name) for name in answers["predicted"]], dtype=torch.int16)
    for name in answers.columns.drop([*_NAMES, "predicted"]):
        tensors[name] = torch.tensor(answers[name].to_numpy(), dtype=torch.float32)
    for name, values in _on_objects(run).items():
        tensors[name] = values.float().clone()  # two may be one tensor
    for epoch in run.epoch_maps if epochs is None else epochs:
        tensors[f"{_EPOCH}{epoch}"] = as_levels(run.epoch_maps[epoch], torch.uint8)
    for number in untrained:
        tensors[f"{_UNTRAINED}{number}"] = as_levels(run.untrained_maps(number), torch.uint8)
    with atomic_file(folder / f"{run.id}.safetensors") as temporary:
        save_file({name: values.contiguous() for name, values in tensors.items()}, temporary)
    records = dict(sorted({**_records(folder), run.id: published_record(run)}.items()))
    with atomic_file(folder / TABLE) as temporary:
        table_of(records).to_csv(temporary, index=False)
    with atomic_file(folder / RUNS) as temporary:  # last: a run that stands there is whole
        temporary.write_text(json.dumps(records, indent=1) + "\n")


def read_trainings(folder: Path) -> list[Training]:
    """The trainings of a folder, by their ids. Raises InputError if there is none."""
    import pandas as pd

    if not (records := _records(folder)):
        raise InputError(f"{folder} holds no trainings: expected {RUNS}, as `make results` writes it")
    images = pd.read_csv(folder / IMAGES, dtype=str, keep_default_na=False)
    return [_training(id, record, images, folder) for id, record in records.items()]


def table_of(records: Mapping[str, Any]) -> "pd.DataFrame":
    """One row a training of `runs.json`: what differs between them, its accuracy (share of the test images), seconds, hardware."""
    import pandas as pd

    varied = ["method", "lr", "batch_size", "weight_decay", "seed", "fold", "trunk", "image_size", "epochs", "pretrained"]
    rows = []
    for id, record in records.items():
        measured = {name: record["metrics"][name] for name in ("test_accuracy", "seconds")}
        chosen = {name: record["config"][name] for name in varied}
        rows.append({"id": id} | chosen | measured | {"hardware": hardware(record["environment"])})
    return pd.DataFrame(rows).sort_values(["pretrained", "fold", "method", "seed", "batch_size"], na_position="first")


def written(folder: Path) -> set[str]:
    """The ids of a folder's trainings."""
    return set(_records(folder))


def _on_objects(run: Run) -> dict[str, Tensor]:
    """ "<metric> of <map>" -> (N,) of a LFI-CAM where there are masks: its mean feature map, and maps that anyone can draw."""
    if run.config.method != "lfi-cam" or run.config.fold:
        return {}
    masks, mean_features = run.masks(shuffled(len(run.dataset.test))[:FINAL_IMAGES]), run.kept.maps["mean_features"]
    found = {map_names.MEAN_WITH_FIN: localisation(mean_features, masks)} | anyones_maps(masks)
    return {f"{metric} of {name}": values for name, scores in found.items() for metric, values in scores.items()}


def _split_of(config: RunConfig) -> str:
    """Which images the maps kept of a training are of."""
    return "train" if config.fold else "test"


def _chosen(run: Run) -> list[str]:
    """Names of the maps to keep."""
    names = [name for name in run.kept.maps if name != "mean_features" or run.config.method == "plain"]
    if run.config.fold:
        return ["cam_of_label"] if "cam_of_label" in names else ["cam"]
    return names


def _add_images(images: "pd.DataFrame", split: str, folder: Path) -> None:
    """Write which images the maps of a split are of, unless that stands there."""
    import pandas as pd

    file = folder / IMAGES
    known = pd.read_csv(file, dtype=str, keep_default_na=False) if file.is_file() else images.iloc[:0]
    there = known[known["split"] == split].reset_index(drop=True)
    if there.empty:
        with atomic_file(file) as temporary:
            pd.concat([known, images]).to_csv(temporary, index=False)
    elif not there.equals(images.astype(there.dtypes)):
        raise InputError(
            f"the {len(images)} {split} images are not the {len(there)} that {file} names: one folder holds one data set"
        )


def published_record(run: Run) -> dict[str, Any]:
    """How a run came about, as JSON that others may read; `training.runs.record_of` reads it."""
    record = {field.name: getattr(run, field.name) for field in fields(RunRecord) if field.name != "id"}
    return record | {"config": published(run.config.model_dump())}


def _records(folder: Path) -> dict[str, Any]:
    file = folder / RUNS
    return json.loads(file.read_text()) if file.is_file() else {}


def _training(id: str, record: dict[str, Any], images: "pd.DataFrame", folder: Path) -> Training:
    about = record_of(id, record)
    tensors = load_file(folder / f"{id}.safetensors")
    maps = {name: as_maps(tensors.pop(name)) for name, values in list(tensors.items()) if values.dtype == torch.uint16}
    numbered = {
        kind: {int(name.removeprefix(kind)): as_maps(tensors.pop(name)) for name in sorted(tensors) if name.startswith(kind)}
        for kind in (_EPOCH, _UNTRAINED)
    }
    answers = images[images["split"] == _split_of(about.config)].reset_index(drop=True)
    answers["predicted"] = [about.classes[number] for number in tensors.pop("predicted").tolist()]
    answers = answers.assign(**{name: values.numpy() for name, values in tensors.items()})
    epochs = dict(sorted(numbered[_EPOCH].items()))
    return Training(kept=KeptMaps(maps, answers), epoch_maps=epochs, of_untrained=numbered[_UNTRAINED], **vars(about))
