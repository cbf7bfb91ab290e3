"""One figure as an experiment: which models it needs, which images it shows and is measured on, where its files lie."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lficam.data.datasets import dataset_info, objects_fingerprint, title_of
from lficam.data.samples import Dataset, shuffled
from lficam.figures.profiles import PROFILES, SETTINGS, Setting
from lficam.paths import figures_dir
from lficam.training.config import RunConfig, published
from lficam.training.fit import fit_or_load_all
from lficam.training.runs import Run

if TYPE_CHECKING:
    import pandas as pd

_PARTS = {"max_classes": "classes", "max_per_class": "training images each"}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One figure under one profile: of the supplement, or beyond it.

    stem: name of its files, "<name>_<what it shows>".
    notebook: which makes it, in `notebooks/`; "" for a figure of the command line.
    caption: the supplement's, word for word, or what an extra figure shows.
    supplement_dataset: the data set that the supplement uses; `dataset` is what the profile takes for it.
    methods, trunks, settings, seeds: each method is trained on each trunk (the profile's when empty), with the first `settings` of
        SETTINGS, each of these with so many seeds.
    shown: how many test images are in the picture. judged: how many its numbers are measured on, at most; 0 for
        all, or where maps are compared for those that a run keeps (`kept_maps`).
    images: how many there are to train and to test, where they are not at hand to be counted.
    """

    stem: str
    notebook: str
    title: str
    caption: str
    supplement_dataset: str = ""
    methods: tuple[str, ...] = ()
    trunks: tuple[str, ...] = ()
    settings: int = 1
    seeds: int = 1
    shown: int = 0
    judged: int = 0
    profile: str = "embedded"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """ "table1", "fig1", ... "fig6"; "extra1", ... for what the supplement does not have."""
        return self.stem.split("_")[0]

    @property
    def folder(self) -> Path:
        """Where the figure's files lie: <figures>/<profile>; overrides get a folder of their own."""
        folder = self.profile
        if self.overrides:
            text = json.dumps(dict(self.overrides), sort_keys=True)
            folder += "-" + hashlib.sha256(text.encode()).hexdigest()[:8]
        return figures_dir() / folder

    def file(self, suffix: str) -> Path:
        """One of the figure's files: ".png", ".pdf", ".csv" or ".json"."""
        return self.folder / f"{self.stem}{suffix}"

    @property
    def dataset(self) -> str:
        """Name of the data set that the profile takes for the supplement's."""
        return PROFILES[self.profile].dataset(self.supplement_dataset)

    @property
    def objects(self) -> str | None:
        """What identifies the masks that it is measured with, where they are files."""
        return objects_fingerprint(self.dataset, self.overrides.get("data")) if self.methods else None

    @property
    def source(self) -> str:
        """What every picture says of itself: data set, profile, and what was changed in it."""
        parts = [title_of(self.dataset, self.overrides.get("data"), self.images) + self._part_of_it()] if self.methods else []
        parts.append(f"{self.profile} profile")
        changed = [f"{key}={value}" for key, value in published(self.overrides).items()]
        if changed:
            parts.append(f"changed: {', '.join(changed)}")
        return ", ".join(parts)

    def _part_of_it(self) -> str:
        """How much of the data set the profile uses, if not all: " (100 classes, 64 training images each)"."""
        changes = PROFILES[self.profile].changes_for(self.name, self.supplement_dataset)
        parts = [f"{changes[key]} {what}" for key, what in _PARTS.items() if key in changes and key not in self.overrides]
        return f" ({', '.join(parts)})" if parts else ""

    @property
    def varied(self) -> str:
        """What the models of one method differ in: "5 hyper-parameter settings", "5 seeds"."""
        own_seeds = ", each with a seed of its own," if PROFILES[self.profile].own_seeds else ""
        return f"{self.settings} hyper-parameter settings{own_seeds}" if self.settings > 1 else f"{self.seeds} seeds"

    @property
    def shared(self) -> str:
        """What models have in common beside the training images, which is one reason why their maps agree; "" for a single model.

        Models of one method, or, where training started from weights of ImageNet or of a file, all of them.
        """
        configs = [config for config in self.configs() if config.method == self.methods[0]] if self.methods else []
        if file := next((config.weights for config in configs if config.weights), None):
            return f"the weights in {Path(file).name}"
        if any(config.pretrained for config in configs):
            known = ", which may have seen these photographs" if dataset_info(self.dataset).from_imagenet else ""
            return f"weights of ImageNet{known}"
        if len(configs) < 2 or self.trunks:
            return ""
        return "initial weights" if len({config.seed for config in configs}) == 1 else "nothing"

    @property
    def own_starts(self) -> bool:
        """Whether the models of a method differ in their seed: then what they were before training is compared as well."""
        return self.seeds > 1 or (self.settings > 1 and PROFILES[self.profile].own_seeds)

    def configs(self) -> list[RunConfig]:
        """The trainings in order: for each method, each trunk, each setting, each seed."""
        profile = PROFILES[self.profile]
        changes = dict(profile.changes_for(self.name, self.supplement_dataset))
        if self.settings > 1:  # what is compared stays as the settings have it
            changes = {key: value for key, value in changes.items() if key not in Setting._fields}
        trunks = self.trunks or (profile.trunks.get(self.supplement_dataset) or profile.trunks[""],)
        configs = []
        for method, trunk, (k, setting) in product(self.methods, trunks, enumerate(SETTINGS[: self.settings])):
            values = {
                "trunk": trunk,
                "epochs": profile.epochs,
                "lr": round(setting.lr * profile.lr_factor, 10),
                "batch_size": round(setting.batch_size * profile.batch_factor),
                "weight_decay": setting.weight_decay,
                "precision": profile.precision,
                "seed": int(profile.own_seeds),
            }
            config = RunConfig(dataset=self.dataset, method=method, **(values | changes | dict(self.overrides)))
            first = config.seed + k * profile.own_seeds
            configs += [config.model_copy(update={"seed": first + n}) for n in range(self.seeds)]
        return configs

    def trainings(self) -> "pd.DataFrame":
        """The trainings as a table: what differs between them and what they share."""
        import pandas as pd

        columns = ["dataset", "method", "trunk", "epochs", "lr", "batch_size", "weight_decay", "seed", "image_size"]
        return pd.DataFrame([config.model_dump(include=set(columns)) for config in self.configs()])[columns]

    def runs(self) -> list[Run]:
        """The trained models in the order of `configs`; trains what the store lacks, with one progress bar."""
        return fit_or_load_all(self.configs(), epochs=self.own_starts)

    def shown_images(self, dataset: Dataset) -> list[int]:
        """Positions of the test images in the picture: the first of a shuffle, never picked."""
        return shuffled(len(dataset.test))[: self.shown]

    def judged_images(self, dataset: Dataset) -> list[int]:
        """Positions of the test images that the numbers are measured on: the first of the same shuffle."""
        judged = PROFILES[self.profile].judged.get(self.name, self.judged)
        return shuffled(len(dataset.test))[: judged or None]
