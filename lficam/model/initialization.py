"""Fresh weights, as in He et al., "Delving Deep into Rectifiers", ICCV 2015: He-normal convolutions, norms at identity."""

from torch import nn


def initialize(module: nn.Module) -> None:
    """Give every layer inside fresh weights, in place, from torch's global generator.

    Convolutions: normal with variance 2 / fan out, no bias. Every other layer, batch norms among them: as when it was built.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
