"""Table 1, read off the real modules, and what each part of the networks costs.

Everything runs on torch's meta device: shapes and counts without weights or arithmetic.
"""

import copy
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lficam.errors import InputError
from lficam.figures.charts import Bars
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM, FeatureImportanceNetwork
from lficam.model.trunks import trunk

IMAGE_SIZE = 224

# The supplement's Table 1 as printed: part, input -> output shape, layer information.
_SHAPE = "(h/16, w/16, 2048)"
PRINTED_TABLE = pd.DataFrame(
    [("CONV Layer", f"{_SHAPE} → {_SHAPE}", "CONV-(N2048, K3, S0, P1), BN, ReLU")] * 4
    + [("Output Layer", f"{_SHAPE} → (2048)", "Global Average Pooling & SoftMax")],
    columns=["part", "shape in the supplement", "layer in the supplement"],
)


def architecture_figure(experiment: Experiment) -> Result:
    """Table 1 beside the real modules, and what each part costs."""
    costs = cost_table()
    source = "ResNet-50, K = 2048, one 224×224 image; counted on the modules"
    bars = Bars("What each part costs", source, list(costs.index), costs.round(4).to_dict("list"))
    return Result(experiment, bars, fin_table())


def fin_table() -> pd.DataFrame:
    """Table 1 beside the FIN of LFI-CAM on ResNet-50 for 224 x 224 images: shapes and layers as the modules have them."""
    with torch.device("meta"):
        model = LFICAM(trunk("resnet50"))
        shapes = _layer_shapes(model.fin, lambda: model(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)))
    layers, measured = list(model.fin), []
    for convolution, bn, relu in zip(layers[::3], layers[1::3], layers[2::3], strict=True):
        (size_in, _), (_, size_out) = shapes[convolution], shapes[relu]
        layer = (
            f"CONV-(N{convolution.out_channels}, K{convolution.kernel_size[0]}, S{convolution.stride[0]}, "
            f"P{convolution.padding[0]}), {'BN' if isinstance(bn, nn.BatchNorm2d) else type(bn).__name__}, {type(relu).__name__}"
        )
        measured.append((f"{_channels_last(size_in)} → {_channels_last(size_out)}", layer))
    size_in, size_out = shapes[model.fin]
    pooled_from = shapes[model.fin[-1]][1]
    measured.append((f"{_channels_last(pooled_from)} → ({size_out[1]})", "Global Average Pooling & SoftMax"))
    return PRINTED_TABLE.assign(**{"shape here": [m[0] for m in measured], "layer here": [m[1] for m in measured]})


def cost_table() -> pd.DataFrame:
    """Parameters (millions) and multiply-adds (billions an image of 224 x 224) of each part, on ResNet-50."""
    with torch.device("meta"):
        image = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
        usual, fine = trunk("resnet50", stem_stride=2).eval(), trunk("resnet50", stem_stride=1).eval()
        fin = FeatureImportanceNetwork(fine.num_features).eval()
        abn = ABN(usual).eval()
        branch_input = usual[:-1](image)
        parts = {
            "ResNet-50 trunk (stem stride 2, 7×7)": (usual, image),
            "ResNet-50 trunk (stem stride 1, 14×14)": (fine, image),
            "FIN of LFI-CAM": (fin, fine(image)),
            "ABN's attention branch": (abn.attention_branch, branch_input),
        }
        rows = {name: (_millions(module), multiply_adds(module, x)) for name, (module, x) in parts.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["parameters (millions)", "multiply-adds (billions)"])


class FinShare(NamedTuple):
    """What part of a whole LFI-CAM its FIN is, in [0, 1]: of the parameters, and of the multiply-adds of one image."""

    parameters: float
    multiply_adds: float


def fin_share(model: nn.Module, image_size: int) -> FinShare:
    """The FIN's share of the cost of an LFI-CAM on square images; 0 without FIN. Computes nothing and leaves the model as it is.

    Raises InputError for another model.
    """
    if not isinstance(model, LFICAM):
        raise InputError(f"{type(model).__name__} has no FIN: expected an LFICAM")
    if model.fin is None:
        return FinShare(0.0, 0.0)
    model = copy.deepcopy(model).to("meta").eval()
    image = torch.empty(1, 3, image_size, image_size, device="meta", dtype=model.fc.weight.dtype)
    fin = multiply_adds(model.fin, model.features(image))
    return FinShare(_millions(model.fin) / _millions(model), fin / multiply_adds(model, image))


def _layer_shapes(module: nn.Module, forward: object) -> dict[nn.Module, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Input and output shape of every layer of `module` while `forward()` runs."""
    shapes = {}

    def record(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        shapes[layer] = (tuple(inputs[0].shape), tuple(output.shape))

    hooks = [layer.register_forward_hook(record) for layer in module.modules()]
    forward()
    for hook in hooks:
        hook.remove()
    return shapes


def _channels_last(shape: tuple[int, ...]) -> str:
    _, channels, height, width = shape
    return f"({height}, {width}, {channels})"


def _millions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def multiply_adds(module: nn.Module, x: Tensor) -> float:
    """Billions of multiply-adds of `module(x)`, in convolutions and matrix products; works on the meta device."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(x)
    return counter.get_total_flops() / 2e9  # one multiply-add is two operations
