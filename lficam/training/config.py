"""What one training is: a frozen, validated configuration and the id that follows from it."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lficam.data.augmentation import AUGMENTATIONS
from lficam.data.datasets import DATASETS, data_fingerprint, dataset_info
from lficam.errors import InputError
from lficam.model.methods import METHODS
from lficam.model.trunks import check_trunk, default_out_stride, default_stem_stride, trunk_version
from lficam.model.weights import sha256_of_weights

# Part of every run's id: raise it when the training code changes so that the same config gives another model.
TRAINING_VERSION = 2


# The fields that every id is made of; never add one. A later field enters an id only where it is not at its default, so that what
# was trained before it came keeps its id.
_FIRST_FIELDS = {
    *("dataset", "method", "trunk", "epochs", "lr", "batch_size", "weight_decay", "seed", "image_size", "augmentation"),
    *("stem_stride", "pretrained", "normalization", "max_classes", "max_per_class", "precision", "compile"),
}


class RunConfig(BaseModel):
    """One training. Strings such as "1e-4" are taken as numbers, since that is how papermill and a command line pass them.

    Raises pydantic.ValidationError, which names the field, the value and what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    method: str = "lfi-cam"
    trunk: str = "resnet18"
    # Upper bounds are far above what trains anything: beyond them numbers do not fit into what torch computes with.
    epochs: int = Field(300, ge=1, le=100_000)
    lr: float = Field(0.1, gt=0, le=1e30, allow_inf_nan=False)  # peak learning rate, see `schedule`
    batch_size: int = Field(256, ge=2, le=1_000_000)  # images; a batch norm needs two
    weight_decay: float = Field(1e-4, ge=0, le=1e30, allow_inf_nan=False)  # L2, on every parameter
    seed: int = Field(0, ge=0, lt=2**32)  # of the weights, the order of the images and their crops

    data: str | None = None  # folder of the data set; <data folder>/<dataset> when left out. Not part of the id
    image_size: int = Field(0, ge=8, le=4096)  # pixels; the data set's own when left out
    augmentation: str = ""  # the data set's own when left out
    stem_stride: Literal[1, 2] = 1  # of the first convolution; when left out what makes 14x14 maps of 224 pixels
    pretrained: bool = False  # start from timm's ImageNet weights
    normalization: Literal["own", "release", "weights"] = "own"  # of the data set, of the release, or what the weights expect
    max_classes: int = Field(0, ge=0)  # at most so many classes, always the same ones; 0: all
    max_per_class: int = Field(0, ge=0)  # at most so many training images of a class, always the same ones; 0: all
    precision: Literal["float32", "bfloat16"] = "float32"  # of the forward pass in training (autocast)
    compile: bool = False  # torch.compile the train step; needs a C++ compiler

    # Not among `_FIRST_FIELDS`.
    out_stride: int | None = Field(None, ge=1)  # pixels, of the trunk's last stage; when left out what makes 14x14 maps of 224
    weights: str | None = None  # a safetensors file in timm's names to start from; in the id by its SHA-256
    fold: str | None = None  # "2/5": train without the second of five parts of the training images
    schedule: Literal["step", "cosine"] = "step"  # x0.1 after 1/2 and 3/4 of the epochs; half a cosine from lr to 0
    # Of a CPU; as many as it has when left out. So many that the weights are the same bits on any number of cores: other threads
    # add up in another order.
    threads: int | None = Field(None, ge=1, le=1024)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Defaults that depend on other fields are written out, so that leaving one out and naming it give one id."""
        if not isinstance(given, dict) or given.get("dataset") not in list(DATASETS):
            return given
        info = dataset_info(given["dataset"])
        trunk = given.get("trunk", cls.model_fields["trunk"].default)
        method = METHODS.get(str(given.get("method")), METHODS[cls.model_fields["method"].default])
        return {
            "image_size": info.image_size,
            "augmentation": info.augmentation,
            "stem_stride": default_stem_stride(str(trunk), method.splits_trunk),
            "out_stride": default_out_stride(str(trunk), method.splits_trunk),
        } | given

    @field_validator("stem_stride", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdigit() else value

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, name: str) -> str:
        dataset_info(name)
        return name

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        if name not in METHODS:
            raise InputError(f"expected one of {', '.join(METHODS)}")
        return name

    @field_validator("trunk")
    @classmethod
    def _known_trunk(cls, name: str) -> str:
        check_trunk(name)
        return name

    @field_validator("augmentation")
    @classmethod
    def _known_augmentation(cls, name: str) -> str:
        if name not in AUGMENTATIONS:
            raise InputError(f"expected one of {', '.join(AUGMENTATIONS)}")
        return name

    @field_validator("fold")
    @classmethod
    def _known_fold(cls, fold: str | None) -> str | None:
        if fold is None:
            return None
        found = re.fullmatch(r"(\d+)/(\d+)", fold)
        k, n = map(int, found.groups()) if found else (0, 0)
        if not 1 <= k <= n or n < 2:
            raise InputError('expected "k/n", such as "2/5": train without the second of five parts')
        return f"{k}/{n}"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Refuse now what the data set or the trunk would refuse once training has begun."""
        if self.max_classes == 1:
            raise InputError("max_classes=1: a classifier needs two, or 0 for all")
        info = dataset_info(self.dataset)
        if info.fixed_size and self.image_size != info.image_size:
            raise InputError(f"image_size={self.image_size}: {self.dataset} is made at {info.image_size} pixels, leave it out")
        check_trunk(self.trunk, self.stem_stride, self.pretrained, self.out_stride, self.weights)
        if self.normalization == "weights" and not (self.pretrained or self.weights):
            raise InputError("normalization='weights', but there are none: give pretrained=true or weights=FILE, or leave it out")
        return self

    @property
    def hyperparameters(self) -> tuple[str, str, str]:
        """What the compared settings differ in, as words: "lr 0.1", "batch 32", "decay 0.0001"."""
        return f"lr {self.lr:g}", f"batch {self.batch_size}", f"decay {self.weight_decay:g}"

    @property
    def setting(self) -> str:
        """The same in one line: "lr 0.1, batch 32, decay 0.0001"."""
        return ", ".join(self.hyperparameters)

    def run_id(self) -> str:
        """Readable, and unique for the config, the data, the trunk and the version of the training code.

        Reads the names and sizes of the data's files, and the weights. Raises InputError if one of them is missing.
        """
        return self._id(data_fingerprint(self.dataset, self.data))

    def _id(self, data: str) -> str:
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        fields = self.model_dump(exclude={"data"})
        if self.weights:
            fields["weights"] = sha256_of_weights(self.weights)
        identity = {
            "config": {name: value for name, value in fields.items() if name in _FIRST_FIELDS or value != defaults[name]},
            "data": data,
            "trunk": trunk_version(self.trunk),
            "training": TRAINING_VERSION,
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.dataset}_{self.method}_{digest}"


def run_ids(configs: Iterable[RunConfig]) -> list[str]:
    """The id of each config, in order. Looks once at each data set's files, which takes a second for 25,000; errors: `run_id`."""
    fingerprint = cache(data_fingerprint)
    return [config._id(fingerprint(config.dataset, config.data)) for config in configs]


def by_id(configs: Sequence[RunConfig]) -> dict[str, RunConfig]:
    """Id -> config, of ids as `run_ids` has them; of two configs with one id the last."""
    return dict(zip(run_ids(configs), configs, strict=True))


def published(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a `RunConfig` as they are written where others read them: without folders of this machine."""
    fields = {name: value for name, value in fields.items() if name != "data"}
    return fields | {"weights": Path(fields["weights"]).name} if fields.get("weights") else fields


def describe(error: ValidationError) -> str:
    """A validation error in one line: each field, its value, and what was expected."""
    parts = []
    for problem in error.errors():
        field = ".".join(str(step) for step in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"there is no such field; expected one of {', '.join(RunConfig.model_fields)}"
        parts.append(f"{field}={problem['input']!r}: {message}" if field else message)
    return "; ".join(parts)
