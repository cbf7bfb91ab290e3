"""What `lficam stability` and `lficam evaluate` measure: maps of several models beside each other, maps beside their own model.

Every mean comes with a 95 % interval (`intervals`).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from lficam.cli.maps import by_position, load_maps
from lficam.cli.own_images import list_images, read_images
from lficam.data.augmentation import normalize
from lficam.data.samples import Split, shuffled
from lficam.errors import InputError
from lficam.figures.tables import with_interval
from lficam.metrics.baselines import BASELINES, baseline_maps, random_maps
from lficam.metrics.faithfulness import HIGHER_IS_BETTER, faithfulness
from lficam.metrics.intervals import known_interval, pair_interval
from lficam.metrics.localisation import localisation
from lficam.metrics.map_names import OWN, RANDOM
from lficam.metrics.similarity import metrics_at
from lficam.metrics.stability import null_lines, pair_matrix, pairwise_stability
from lficam.model.devices import on_best_device
from lficam.model.lfi_cam import LFICAM
from lficam.model.plain import Plain
from lficam.training.explain import BATCH, Trained
from lficam.training.runs import Run
from lficam.training.saved import with_test_images


class Comparison(NamedTuple):
    """How alike the maps of S models are on N images; higher is more alike.

    metrics: one row a metric, the mean over all pairs and images: other images and other models, and other images alone.
        Two models do not say what others would give, so the first is left out.
    free: one row a model, the IoU that comes for free (`stability.null_lines`); empty for images of one source.
    pairs: one row a pair, its mean IoU.
    values: what `pairwise_stability` returns, columns a, b, id, metric, value.
    """

    metrics: pd.DataFrame
    free: pd.DataFrame
    pairs: pd.DataFrame
    values: pd.DataFrame


class Evaluation(NamedTuple):
    """How faithful maps are to one model, and where there are masks, whether they lie on the object.

    means: one row a metric and map, with the direction that is better. values: one row a map, image and metric, columns map, id,
    class (the predicted one), metric, value. note: how the maps of a file without ids were paired, else "".
    """

    means: pd.DataFrame
    values: pd.DataFrame
    note: str


def compare_maps(maps: Mapping[str, tuple[Sequence[str], Tensor]], size: tuple[int, int], sources: Sequence[str]) -> Comparison:
    """All of `similarity.METRICS` between the maps of two or more models; SSIM only where its window fits into the size.

    maps, size: as for `pairwise_stability`. sources: of the images, in the order of the first model's ids.
    Raises InputError as `pairwise_stability` and `null_lines` do.
    """
    values = pairwise_stability(maps, size, metrics=metrics_at(size))
    metrics = []
    for metric in metrics_at(size):
        matrix = pair_matrix(values, metric)  # (S, S, N)
        both = pair_interval(matrix, sources) if len(maps) > 2 else None
        alone = pair_interval(matrix, sources, over="images")
        metrics.append({"metric": metric} | with_interval("images_and_models", both) | with_interval("images_alone", alone))
    free = null_lines(maps, size, sources) if len(set(sources)) > 1 else pd.DataFrame(columns=["setting", "null"])
    lines = {}
    for (name, null), part in free.groupby(["setting", "null"], sort=False):
        lines.setdefault(name, {"maps": name}).update(_mean(null, part, sources))
    iou = values[values["metric"] == "iou"]
    pairs = [{"a": a, "b": b} | _mean("iou", part, sources) for (a, b), part in iou.groupby(["a", "b"], sort=False)]
    return Comparison(pd.DataFrame(metrics), pd.DataFrame(lines.values()), pd.DataFrame(pairs), values)


def evaluate_model(model: Trained, images: int = 100, folder: Path | None = None, maps: Path | None = None) -> Evaluation:
    """Judge the model's own maps, random ones and, but for an ABN, those of `BASELINES`, all for the class that it predicts.

    model: a run, or with `folder` any trained model.
    images: how many test images, the first of a seeded shuffle. folder: all images in it instead (`own_images.list_images`).
    maps: a file for `load_maps` to judge as well, named by its stem. By their ids, of which there may be more than are judged;
        without ids, by position among all test images, or all of the folder.
    Raises InputError for data, images or a file that cannot be used.
    """
    samples = read_images(list_images(folder), model.metadata) if folder else with_test_images(model).dataset.test
    index = list(range(len(samples))) if folder else shuffled(len(samples))[:images]
    chosen = samples.take(index)
    given, note = _given(maps, samples.ids, chosen.ids) if maps else ({}, "")
    rows = pd.concat(_judged(model, chosen, given), ignore_index=True)
    values = rows.melt(["map", "id", "class"], var_name="metric")
    means, sources = [], chosen.ids if folder else with_test_images(model).sources(index)
    for (metric, name), part in values.groupby(["metric", "map"], sort=False):
        better = "higher" if HIGHER_IS_BETTER.get(metric, True) else "lower"  # of localisation too
        means.append({"metric": metric, "better": better, "map": name} | _mean("mean", part, sources))
    judged = values.dropna(subset="value", ignore_index=True)  # an image without a mask has no value of localisation
    return Evaluation(pd.DataFrame(means), judged, note)


def _mean(name: str, rows: pd.DataFrame, sources: Sequence[str]) -> dict[str, float]:
    """The mean of a table's values, one an image, with its interval, as columns of that name."""
    return with_interval(name, known_interval(torch.tensor(rows["value"].to_numpy()), sources))


def _judged(trained: Trained, samples: Split, given: Mapping[str, Tensor]) -> Iterator[pd.DataFrame]:
    """A batch and map at a time: one row an image, one column a metric."""
    model, known = trained.model, trained.metadata
    explained = trained.explain(samples)
    classes = explained.probabilities.argmax(1)
    seed = trained.config.seed if isinstance(trained, Run) else 0
    cams = {OWN: explained.cam, **given, RANDOM: random_maps(len(samples), explained.cam.shape[-1], seed)}
    baselines = BASELINES if isinstance(model, LFICAM | Plain) else ()
    crops = samples.crops(known.image_size, known.augmentation, BATCH, torch.device("cpu"))
    with on_best_device(model):
        for part, pixels in zip(torch.arange(len(samples)).split(BATCH), crops, strict=True):
            images, labels = normalize(pixels, known.mean, known.std), classes[part]
            masks = samples.take(part.tolist()).masks(known.image_size, known.augmentation)
            rows = {"id": [samples.ids[i] for i in part], "class": [known.classes[label] for label in labels]}
            others = {name: baseline_maps(name, model, images, labels) for name in baselines}
            for name, cam in ({name: cam[part] for name, cam in cams.items()} | others).items():
                found = faithfulness(model, images, cam, labels) | localisation(cam, masks)
                yield pd.DataFrame({"map": name} | rows | found)


def _given(file: Path, ids: Sequence[str], chosen: Sequence[str]) -> tuple[dict[str, Tensor], str]:
    """The maps in a file of the chosen among all images, by name, and how they were paired."""
    if file.stem in (OWN, RANDOM, *BASELINES):
        raise InputError(f"{file} would have the name of another map, {file.stem!r}: give it another one")
    own_ids, maps = load_maps(file)
    note = "" if own_ids else f"maps without ids are paired by position: {file}"
    position = {id: i for i, id in enumerate(own_ids or by_position(str(file), maps, ids, "the model"))}
    if missing := [id for id in chosen if id not in position]:
        raise InputError(f"{file} has no map of {len(missing)} of {len(chosen)} images, such as {missing[0]!r}: add them")
    return {file.stem: maps[[position[id] for id in chosen]]}, note
