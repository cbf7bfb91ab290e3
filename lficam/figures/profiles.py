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

    stand_ins: prefix of the data sets' names ("" for the real ones).
    trunks: data set of the supplement -> trunk; "" for any.
    lr_factor, batch_factor: multiply every setting.
    changes: data set of the supplement -> fields of RunConfig that are different for it.
    """

    stand_ins: str
    trunks: Mapping[str, str]
    epochs: int
    lr_factor: float = 1.0
    batch_factor: float = 1.0
    precision: str = "float32"
    changes: Mapping[str, Mapping[str, Any]] = {}


_PUBLISHED_TRUNKS = {"imagenet": "resnet50", "cifar10": "cifar_resnet110", "cifar100": "cifar_resnet110", "": "resnet18"}

PROFILES = {
    # float32: without AVX-512, bfloat16 on a CPU was measured nine times slower. The factors: benchmarks/embedded_rule.py.
    "embedded": Profile("digits-", {"": "cifar_resnet8"}, epochs=8, lr_factor=1.0, batch_factor=1 / 8),
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
