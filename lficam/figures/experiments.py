"""What each figure needs: data set, methods, settings, seeds.

Seed: the supplementary material of LFI-CAM (ICCV 2021), Table 1 and Figures 1-6.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lficam.data.datasets import data_fingerprint, dataset_info
from lficam.data.samples import Dataset, shuffled
from lficam.errors import InputError
from lficam.figures.profiles import PROFILES, SETTINGS, Setting
from lficam.paths import figures_dir
from lficam.training.config import RunConfig, describe
from lficam.training.runs import Run, fit_or_load_all

if TYPE_CHECKING:
    import pandas as pd

_PARTS = {"max_classes": "classes", "max_per_class": "training images each"}


@dataclass(frozen=True)
class Experiment:
    """One figure under one profile: of the seed, or beyond it.

    name: "table1", "fig1", ... "fig6", or "extra1", ... for what the seed does not have. slug: what follows it in file names.
    caption: the seed's, word for word, or what an extra figure shows.
    seed_dataset: the data set of the seed; `dataset` is what the profile uses for it.
    methods, settings, seeds: each method is trained with the first `settings` of SETTINGS, each of these with so many seeds.
    rows: how many test images are shown.
    """

    name: str
    slug: str
    title: str
    caption: str
    seed_dataset: str = ""
    methods: tuple[str, ...] = ()
    settings: int = 1
    seeds: int = 1
    rows: int = 0
    profile: str = "embedded"
    overrides: Mapping[str, Any] = field(default_factory=dict)

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
        return self.folder / f"{self.name}_{self.slug}{suffix}"

    @property
    def dataset(self) -> str:
        """Name of the data set that is used."""
        return PROFILES[self.profile].stand_ins + self.seed_dataset

    @property
    def source(self) -> str:
        """What every picture says of itself: data set, profile, and what was changed in it."""
        parts = [dataset_info(self.dataset).title + self._part_of_it()] if self.methods else []
        parts.append(f"{self.profile} profile")
        changed = [f"{key}={value}" for key, value in self.overrides.items() if key != "data"]
        if changed:
            parts.append(f"changed: {', '.join(changed)}")
        return ", ".join(parts)

    def _part_of_it(self) -> str:
        """How much of the data set the profile uses, if not all: " (100 classes, 64 training images each)"."""
        changes = PROFILES[self.profile].changes.get(self.seed_dataset, {})
        parts = [f"{changes[key]} {what}" for key, what in _PARTS.items() if key in changes and key not in self.overrides]
        return f" ({', '.join(parts)})" if parts else ""

    @property
    def varied(self) -> str:
        """What the models of one method differ in: "5 hyper-parameter settings", "5 seeds"."""
        return f"{self.settings} hyper-parameter settings" if self.settings > 1 else f"{self.seeds} seeds"

    def configs(self) -> list[RunConfig]:
        """The trainings in order: for each method, each setting, each seed."""
        profile = PROFILES[self.profile]
        changes = dict(profile.changes.get(self.seed_dataset, {}))
        if self.settings > 1:  # what is compared stays as the settings have it
            changes = {key: value for key, value in changes.items() if key not in Setting._fields}
        configs = []
        for method in self.methods:
            for setting in SETTINGS[: self.settings]:
                values = {
                    "trunk": profile.trunks.get(self.seed_dataset) or profile.trunks[""],
                    "epochs": profile.epochs,
                    "lr": round(setting.lr * profile.lr_factor, 10),
                    "batch_size": round(setting.batch_size * profile.batch_factor),
                    "weight_decay": setting.weight_decay,
                    "precision": profile.precision,
                }
                config = RunConfig(dataset=self.dataset, method=method, **(values | changes | dict(self.overrides)))
                configs += [config.model_copy(update={"seed": config.seed + k}) for k in range(self.seeds)]
        return configs

    def trainings(self) -> "pd.DataFrame":
        """The trainings as a table: what differs between them and what they share."""
        import pandas as pd

        columns = ["dataset", "method", "trunk", "epochs", "lr", "batch_size", "weight_decay", "seed", "image_size"]
        return pd.DataFrame([config.model_dump(include=set(columns)) for config in self.configs()])[columns]

    def runs(self) -> list[Run]:
        """The trained models in the order of `configs`; trains what the store lacks, with one progress bar."""
        return fit_or_load_all(self.configs())

    def shown(self, dataset: Dataset, count: int | None = None) -> list[int]:
        """The test images in the picture, or the first `count`: of a seeded shuffle, never picked."""
        return shuffled(len(dataset.test))[: self.rows if count is None else count]


_ABN_AND_LFI_CAM = ("abn", "lfi-cam")
_THREE_METHODS = ("abn", "lfi-cam-without-fin", "lfi-cam")
SEEDS = 5  # of one setting, beside the five settings of one seed

EXPERIMENTS = {
    e.name: e
    for e in (
        Experiment("table1", "architecture", "Architecture of the FIN", "Architecture of Feature Importance Network (FIN)."),
        Experiment(
            "fig1",
            "fin_effectiveness",
            "Effectiveness of the Feature Importance Network",
            "Visualization of the Feature Importance Network Effectiveness. (a) Input image, (b) Pixel-wise mean feature map from "
            "the last convolutional layer of LFI-CAM trained without FIN, (c) Pixel-wise mean feature map from the last "
            "convolutional layer of LFI-CAM trained with FIN, (d) CAM generated from LFI-CAM.",
            "imagenet",
            ("lfi-cam-without-fin", "lfi-cam"),
            rows=5,
        ),
        *(
            Experiment(
                f"fig{number}",
                f"explanations_{dataset}",
                "Visual explanations of ABN and LFI-CAM",
                f"Visual Explanation Results of ABN and LFI-CAM for {title}",
                dataset,
                _ABN_AND_LFI_CAM,
                rows=7,
            )
            for number, dataset, title in ((2, "cifar100", "CIFAR100"), (3, "stl10", "STL10"), (4, "imagenet", "ImageNet"))
        ),
        *(
            Experiment(
                f"fig{number}",
                f"stability_{dataset}",
                "Stability of ABN's and LFI-CAM's maps",
                "Examples of stability test on visual explanation. Each row displays CAM results of ABN or LFI-CAM models that "
                f"were trained with various (5) hyper-parameters on the {title} dataset.",
                dataset,
                _ABN_AND_LFI_CAM,
                settings=len(SETTINGS),
                rows=6,
            )
            for number, dataset, title in ((5, "stl10", "STL10"), (6, "catdog", "Cat&Dog"))
        ),
        # Not in the seed: what its claims rest on.
        *(
            Experiment(
                f"extra{number}",
                f"agreement_{dataset}",
                f"How alike are the maps of Figure {figure}?",
                f"The models of Figure {figure}: the mean IoU of two models' maps with its 95 % interval, beside three null lines, "
                "and against the threshold above which a map counts as on.",
                dataset,
                _ABN_AND_LFI_CAM,
                settings=len(SETTINGS),
            )
            for number, figure, dataset in ((1, 5, "stl10"), (2, 6, "catdog"))
        ),
        *(
            Experiment(f"extra{number}", slug, title, caption, "stl10", methods, seeds=SEEDS, rows=rows)
            for number, slug, methods, rows, title, caption in (
                (
                    3,
                    "agreement_seeds",
                    _THREE_METHODS,
                    0,
                    "How alike are the maps of models that differ in their seed alone?",
                    "As Extra figure 1, for one hyper-parameter setting trained with five seeds.",
                ),
                (
                    4,
                    "faithfulness",
                    _THREE_METHODS,
                    0,
                    "How faithful are the maps to their models?",
                    "Insertion, deletion, average drop and increase in confidence when pixels are hidden in the order of a map; "
                    "pointing accuracy and energy where the object is known. Means over five models and their 95 % intervals.",
                ),
                (
                    5,
                    "sanity",
                    _THREE_METHODS,
                    0,
                    "Do the maps depend on what the networks have learned?",
                    "Rank correlation of a map with that of the trained network while the weights are drawn anew, stage by stage "
                    "from the output on.",
                ),
                (
                    6,
                    "two_objects",
                    _ABN_AND_LFI_CAM,
                    5,
                    "Class dependence: pictures of two objects",
                    "LFI-CAM and ABN have one map for all classes, Grad-CAM has one for each. Pictures of two test images of "
                    "different classes, side by side; no training image shows two.",
                ),
                (
                    7,
                    "importance",
                    ("lfi-cam",),
                    0,
                    "What does the FIN do?",
                    "The learned importance of the channels replaced by a uniform, a random and a permuted one, without training "
                    "again: what becomes of the map and of the accuracy.",
                ),
            )
        ),
    )
}

# Not in the seed: Figures 5 and 6 on any data, with the ablation between the two methods.
COMPARISON = Experiment(
    "compare",
    "",
    "Stability of the maps of three methods",
    "ABN, LFI-CAM and LFI-CAM without FIN, each trained with five hyper-parameter settings; the maps of the same test images.",
    methods=_THREE_METHODS,
    settings=len(SETTINGS),
    rows=4,
)

# A figure says itself which data, methods and settings it compares; everything else of a training can be overridden.
_FIXED = {"dataset", "method"}
_VARIED = {"lr", "batch_size", "weight_decay"}


def experiment(name: str, profile: str = "embedded", overrides: Mapping[str, Any] | None = None) -> Experiment:
    """An experiment under a profile, checked so far that every training it needs can be configured and finds its data.

    name: "table1", "fig1", ... "fig6", "extra1", ... "extra7".
    overrides: fields of RunConfig for every training, such as {"epochs": 2}.
    Raises InputError for an unknown name, profile, override or value, MissingDataError for missing data.
    """
    if not isinstance(name, str) or name not in EXPERIMENTS:
        raise InputError(f"unknown experiment {name!r}: expected one of {', '.join(EXPERIMENTS)}")
    return _under_profile(EXPERIMENTS[name], profile, overrides)


def comparison(dataset: str, profile: str = "quick", overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Figures 5 and 6 for any data set: three methods under the five settings. Not in the seed.

    dataset: a name in `datasets.DATASETS`; the embedded profile takes the stand-in of one of the seed's.
    overrides, errors: as for `experiment`.
    """
    return _under_profile(replace(COMPARISON, slug=str(dataset), seed_dataset=str(dataset)), profile, overrides)


def _under_profile(plan: Experiment, profile: str, overrides: Mapping[str, Any] | None) -> Experiment:
    if not isinstance(profile, str) or profile not in PROFILES:
        raise InputError(f"unknown profile {profile!r}: expected one of {', '.join(PROFILES)}")
    if overrides is not None and not isinstance(overrides, Mapping):
        raise InputError(f"overrides is {overrides!r}: expected a mapping of RunConfig fields such as {{'epochs': 2}}")
    overrides = dict(overrides or {})
    plan = replace(plan, profile=profile, overrides=overrides)
    fixed = _FIXED | (_VARIED if plan.settings > 1 else set())
    allowed = [field for field in RunConfig.model_fields if field not in fixed]
    for key in overrides:
        if key not in allowed:
            raise InputError(f"{key!r} cannot be overridden in {plan.name}: expected one of {', '.join(allowed)}")
    try:
        # Table 1 trains nothing, but takes no nonsense either.
        config = plan.configs()[0] if plan.methods else RunConfig(**({"dataset": "folder", "trunk": "cifar_resnet8"} | overrides))
    except ValidationError as error:
        raise InputError(describe(error)) from None
    if plan.methods:
        data_fingerprint(config.dataset, config.data)
    # As the config has them: "2" on a command line and 2 in a notebook are the same override.
    return replace(plan, overrides={key: getattr(config, key) for key in overrides})
