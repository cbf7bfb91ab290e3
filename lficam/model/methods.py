"""The methods that are compared: what each is called, and which model it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from lficam.errors import InputError
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM
from lficam.model.plain import Plain
from lficam.model.saving import Savable


class Method(NamedTuple):
    """One method.

    name: in a `RunConfig` and in the id of a run. title: in pictures and tables. short_title: where there is little room.
    model: its class. options: what it is built with, beside a trunk and the number of classes.
    """

    name: str
    title: str
    short_title: str
    model: type[nn.Module]
    options: Mapping[str, Any] = {}

    @property
    def fin(self) -> bool:
        """Whether it learns the importance of its channels."""
        return self.model is LFICAM and self.options.get("fin", True)

    @property
    def splits_trunk(self) -> bool:
        """Whether the map is made before the trunk's last stage, by a branch, not of the features that the trunk returns."""
        return self.model is ABN

    def build(self, trunk: nn.Module, num_classes: int) -> nn.Module:
        """The untrained model around a trunk."""
        return self.model(trunk, num_classes=num_classes, **self.options)


METHODS = {
    method.name: method
    for method in (
        Method("lfi-cam", "LFI-CAM", "LFI-CAM", LFICAM),
        Method("lfi-cam-without-fin", "LFI-CAM without FIN", "no FIN", LFICAM, {"fin": False}),
        Method("abn", "ABN", "ABN", ABN),
        Method("plain", "plain network (CAM)", "plain", Plain),
    )
}


def method_of(model: nn.Module) -> Method:
    """Which method a model is of: that of its class which says most of how it was built. Raises InputError if it is of none."""

    def fits(method: Method) -> bool:
        built = model._hub_mixin_config
        return isinstance(model, method.model) and all(built.get(name) == value for name, value in method.options.items())

    found = [method for method in METHODS.values() if fits(method)]
    if not found:
        raise InputError(f"{type(model).__name__} is of no method: expected one of {', '.join(METHODS)}")
    return max(found, key=lambda method: len(method.options))


def load_pretrained(name: str | Path, **options: Any) -> nn.Module:
    """A saved model of whichever class, from a folder, the hub or the package: as its class's `from_pretrained`."""
    return Savable.from_pretrained(name, **options)
