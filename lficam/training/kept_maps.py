"""The maps that a run keeps beside its model, so that what is asked of them later needs no training again.

`epochs.safetensors`: maps of some test images while the model learned, in 8 bits. `maps.safetensors`: those of the trained model,
in 16 bits, since 8 tell too few cells of a peaked map apart. `answers.csv`: what it said of the same images, a row each.
"""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lficam.data.augmentation import normalize
from lficam.data.datasets import objects_fingerprint
from lficam.data.samples import Dataset, Split, shuffled, without_fold
from lficam.errors import InputError
from lficam.metrics.localisation import localisation
from lficam.model.devices import device_of
from lficam.model.plain import Plain
from lficam.paths import atomic_file
from lficam.sums import check_sums
from lficam.training.config import RunConfig
from lficam.training.explain import Explained, explain_batches, explain_samples

if TYPE_CHECKING:
    import pandas as pd

EPOCH_IMAGES, FINAL_IMAGES = 300, 1500  # of the test images, the first of `samples.shuffled`
NORM_BATCH = 128  # images by which the batch norms of an untrained network are averaged

EPOCHS, MAPS, ANSWERS = "epochs.safetensors", "maps.safetensors", "answers.csv"
_LEVELS = {torch.uint8: 2**8 - 1, torch.uint16: 2**16 - 1}


class KeptMaps(NamedTuple):
    """What a trained model says of N images: the first `FINAL_IMAGES` test images; of a fold all training images after them.

    maps: "cam", its own map (of a plain network that of the predicted class); "mean_features"; of a plain network "cam_of_label" as
        well, that of the true class. Each (N, 1, u, v) float32 in [0, 1].
    answers: one row an image: split, id, label and predicted (names), probability (of the predicted class), probability_of_label;
        where there are masks pointing and energy of "cam", NaN for an image without one.
    """

    maps: dict[str, Tensor]
    answers: "pd.DataFrame"


def kept_epochs(epochs: int) -> list[int]:
    """0, 1, 2, 4, 8, ... and the last: after these epochs of a training its maps are kept."""
    return sorted({0, epochs, *(2**k for k in range(epochs.bit_length()) if 2**k <= epochs)})


class EpochMaps:
    """Gathers the maps of a training's epochs, as `levels`: epoch -> (n, u, v) uint8.

    Called with an epoch and the model after it. Epoch 0 is the model before the first: a copy, whose batch norms that have seen no
    image yet are averaged over the test crops of the training images.
    """

    def __init__(self, config: RunConfig, dataset: Dataset):
        self.levels: dict[str, Tensor] = {}
        self._config, self._dataset = config, dataset
        self._shown = dataset.test.take(shuffled(len(dataset.test))[:EPOCH_IMAGES])

    def __call__(self, epoch: int, model: nn.Module) -> None:
        if epoch not in kept_epochs(self._config.epochs):
            return
        if epoch == 0:
            trained_on = without_fold(self._dataset.train, self._config.fold)
            model = with_averaged_norms(model, self._inputs(trained_on, model))
        training = model.training
        cams = explain_batches(model.eval(), self._inputs(self._shown, model)).cam
        model.train(training)
        self.levels[str(epoch)] = as_levels(cams, torch.uint8)

    def save(self, folder: Path) -> None:
        """Write them into a run's folder."""
        save_file(self.levels, folder / EPOCHS)

    def _inputs(self, samples: Split, model: nn.Module) -> Iterable[Tensor]:
        crops = samples.crops(self._config.image_size, self._config.augmentation, NORM_BATCH, device_of(model))
        return (normalize(images, self._dataset.mean, self._dataset.std) for images in crops)


@torch.no_grad()
def with_averaged_norms(model: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """A copy in evaluation mode whose batch norms have the mean of the statistics of these batches (n, 3, h, w), n at least 2.

    Those that have statistics already, as in pretrained trunks, keep them. A last batch of one image is left out.
    """
    averaged = copy.deepcopy(model).eval()
    norms = [layer for layer in averaged.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    norms = [layer for layer in norms if layer.num_batches_tracked == 0]
    for layer in norms:
        layer.momentum = None  # a plain average
        layer.train()
    for images in batches if norms else ():
        if len(images) > 1:
            averaged.explain(images)
    return averaged.eval()


def has_epochs(folder: Path) -> bool:
    """Whether a run keeps the maps of its epochs."""
    return (folder / EPOCHS).is_file()


def load_epochs(folder: Path) -> dict[int, Tensor]:
    """Epoch -> maps (n, 1, u, v) in [0, 1], n at most `EPOCH_IMAGES`. Raises InputError for a run that was stored without them."""
    if not has_epochs(folder):
        raise InputError(
            f"{folder} has no maps of its epochs, since an older version stored it: remove it, and it is trained again"
        )
    check_sums(folder, EPOCHS, advice="remove it, and it is trained again")
    return {
        int(epoch): as_maps(levels) for epoch, levels in sorted(load_file(folder / EPOCHS).items(), key=lambda item: int(item[0]))
    }


def keep_maps(folder: Path, model: nn.Module, dataset: Dataset, config: RunConfig, test: Explained) -> None:
    """Write the maps of a trained model. test: its word on all test images."""
    import pandas as pd

    chosen = shuffled(len(dataset.test))[:FINAL_IMAGES]
    explained = Explained(tuple(test.ids[i] for i in chosen), *(None if values is None else values[chosen] for values in test[1:]))
    parts = [_of_split("test", dataset.test.take(chosen), explained, model, dataset, config)]
    if config.fold:
        parts.append(_of_split("train", dataset.train, _explain(model, dataset.train, dataset, config), model, dataset, config))
    maps = {name: as_levels(torch.cat([part.maps[name] for part in parts]), torch.uint16) for name in parts[0].maps}
    answers = pd.concat([part.answers for part in parts], ignore_index=True)
    with atomic_file(folder / ANSWERS) as temporary:
        answers.to_csv(temporary, index=False)
    with atomic_file(folder / MAPS) as temporary:  # last: with it they are whole
        save_file(maps, temporary, {"objects": _objects_of(config) or ""})


def load_maps(folder: Path, config: RunConfig) -> KeptMaps | None:
    """What `keep_maps` wrote; None if it has not, or if the masks are others now."""
    import pandas as pd

    if not (folder / MAPS).is_file():
        return None
    check_sums(folder, MAPS, ANSWERS, advice="remove it, and it is trained again")
    with safe_open(folder / MAPS, "pt") as header:
        if (now := _objects_of(config)) and header.metadata()["objects"] != now:
            return None
    maps = {name: as_maps(levels) for name, levels in load_file(folder / MAPS).items()}
    words = dict.fromkeys(("id", "label", "predicted"), str)  # a class may be called 1, or NA
    unknown = {"pointing": "", "energy": ""}
    return KeptMaps(maps, pd.read_csv(folder / ANSWERS, dtype=words, keep_default_na=False, na_values=unknown))


def _of_split(split: str, samples: Split, explained: Explained, model: nn.Module, dataset: Dataset, config: RunConfig) -> KeptMaps:
    import pandas as pd

    probability, predicted = explained.probabilities.max(1)
    columns = {
        "split": split,
        "id": samples.ids,
        "label": [dataset.classes[label] for label in samples.labels],
        "predicted": [dataset.classes[label] for label in predicted],
        "probability": probability,
        "probability_of_label": explained.probabilities[torch.arange(len(samples)), samples.labels],
    }
    columns |= localisation(explained.cam, samples.masks(config.image_size, config.augmentation))
    maps = {"cam": explained.cam, "mean_features": explained.mean_features}
    if isinstance(model, Plain):
        maps["cam_of_label"] = _explain(model, samples, dataset, config, samples.labels).cam
    return KeptMaps(maps, pd.DataFrame(columns))


def _explain(model: nn.Module, samples: Split, dataset: Dataset, config: RunConfig, classes: Tensor | None = None) -> Explained:
    return explain_samples(model, samples, dataset.mean, dataset.std, config.image_size, config.augmentation, classes=classes)


def _objects_of(config: RunConfig) -> str | None:
    return objects_fingerprint(config.dataset, config.data)


def as_levels(cams: Tensor, dtype: torch.dtype) -> Tensor:
    """Maps (N, 1, u, v) in [0, 1] -> (N, u, v) of dtype uint8 or uint16, rounded to the nearest of its levels."""
    return (cams[:, 0] * _LEVELS[dtype]).round().to(dtype)


def as_maps(levels: Tensor) -> Tensor:
    """What `as_levels` made, as maps (N, 1, u, v) in [0, 1] again."""
    return levels.unsqueeze(1).float() / _LEVELS[levels.dtype]
