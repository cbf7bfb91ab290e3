"""The five hyper-parameter settings, and the profiles that scale every experiment, from minutes on a CPU to the paper's."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """One of the hyper-parameter settings whose models are compared."""

    lr: float
    batch_size: int
    weight_decay: float


# The release does not say which five settings were used; its run names carry these three values, so these three vary.
SETTINGS = (
    Setting(0.1, 256, 1e-4),
    Setting(0.1, 128, 5e-4),
    Setting(0.05, 256, 5e-4),
    Setting(0.05, 128, 1e-4),
    Setting(0.01, 64, 5e-4),
)


class Profile(NamedTuple):
    """How an experiment is scaled.

    stand_ins: prefix of the data sets' names ("" for the real ones). replaced: data set of the supplement -> name of another.
    trunks: data set of the supplement -> trunk; "" for any.
    lr_factor, batch_factor: multiply every setting.
    changes: figure, data set of the supplement, or "" for any -> fields of RunConfig that are different for it; the first of the
        three that there is counts alone.
    judged: figure -> how many images it is measured on, where its own number is for small networks.
    own_seeds: whether setting k is trained with seed k; else all with seed 0, so that they start from the same weights.
    """

    stand_ins: str
    trunks: Mapping[str, str]
    epochs: int
    lr_factor: float = 1.0
    batch_factor: float = 1.0
    precision: str = "float32"
    replaced: Mapping[str, str] = {}
    changes: Mapping[str, Mapping[str, Any]] = {}
    judged: Mapping[str, int] = {}
    own_seeds: bool = False

    def dataset(self, supplement_dataset: str) -> str:
        """Name of the data set that is taken for one of the supplement's; a stand-in may be called by its own name."""
        if supplement_dataset in self.replaced:
            return self.replaced[supplement_dataset]
        return self.stand_ins + supplement_dataset.removeprefix(self.stand_ins)

    def changes_for(self, figure: str, supplement_dataset: str) -> Mapping[str, Any]:
        """What is different for a figure on a data set of the supplement."""
        return next((self.changes[key] for key in (figure, supplement_dataset, "") if key in self.changes), {})


_PUBLISHED_TRUNKS = {"imagenet": "resnet50", "cifar10": "cifar_resnet110", "cifar100": "cifar_resnet110", "": "resnet18"}

# What maps look like on a good classifier: few epochs from ImageNet weights.
_FROM_IMAGENET = {
    "trunk": "tf_efficientnet_lite0",
    "pretrained": True,
    "normalization": "weights",
    "image_size": 160,
    "schedule": "cosine",
    "epochs": 3,
    "lr": 0.02,
    "batch_size": 32,
    "weight_decay": 1e-4,
}
# Whether maps of independent trainings agree: from nothing, small enough to train dozens on two cores (benchmarks/precision.csv).
_FROM_NOTHING = {"image_size": 64, "stem_stride": 2}

PROFILES = {
    # float32: without AVX-512, bfloat16 was measured 10 to 16 times slower (benchmarks/precision.py). The factors:
    # benchmarks/embedded_rule.py.
    "embedded": Profile(
        "digits-",
        {"": "cifar_resnet8"},
        epochs=8,
        lr_factor=1.0,
        batch_factor=1 / 8,
        # Two trainings of a thread each end in three quarters of the time of two after each other, each with two.
        changes={"": {"threads": 1}},
    ),
    # The factors: benchmarks/photos_rule.py. ImageNet cannot be had by everyone: ten classes of it stand for it.
    "photos": Profile(
        "",
        {"": "cifar_resnet14"},
        epochs=40,
        lr_factor=1 / 2,
        batch_factor=1 / 2,
        replaced={"imagenet": "imagenette"},
        changes={
            **dict.fromkeys(("fig1", "fig3", "fig4", "finetuned"), _FROM_IMAGENET),
            "catdog": _FROM_NOTHING | {"epochs": 50},
            "cifar10": {},
            "cifar100": {},  # 32 pixels already
            "extra9": {"image_size": 64},  # a customised trunk has the stem that it has
            "": _FROM_NOTHING,
        },
        judged={"extra4": 200},
        own_seeds=True,
    ),
    "quick": Profile(
        "",
        _PUBLISHED_TRUNKS,
        epochs=30,
        precision="bfloat16",
        # 64 images a class teach nothing from scratch; 0.01 is the usual rate to start from trained weights
        changes={"imagenet": {"pretrained": True, "lr": 0.01, "max_classes": 100, "max_per_class": 64}},
    ),
    "paper": Profile("", _PUBLISHED_TRUNKS, epochs=300, precision="bfloat16"),
}
