"""The methods that are compared: what each is called, and which model it is."""

from typing import NamedTuple

from torch import nn

from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM


class Method(NamedTuple):
    """One method.

    name: in a `RunConfig` and in the id of a run. title: in pictures and tables. short_title: where there is little room.
    model: its class. fin: whether it learns the importance of its channels.
    """

    name: str
    title: str
    short_title: str
    model: type[LFICAM] | type[ABN]
    fin: bool

    @property
    def splits_trunk(self) -> bool:
        """Whether the map is made before the trunk's last stage, by a branch, not of the features that the trunk returns."""
        return self.model is ABN

    def build(self, trunk: nn.Module, num_classes: int) -> nn.Module:
        """The untrained model around a trunk."""
        return ABN(trunk, num_classes=num_classes) if self.splits_trunk else LFICAM(trunk, num_classes=num_classes, fin=self.fin)


METHODS = {
    method.name: method
    for method in (
        Method("lfi-cam", "LFI-CAM", "LFI-CAM", LFICAM, fin=True),
        Method("lfi-cam-without-fin", "LFI-CAM without FIN", "no FIN", LFICAM, fin=False),
        Method("abn", "ABN", "ABN", ABN, fin=False),
    )
}
