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
from lficam.figures.printed_table import PrintedTable
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


# The supplement's notation, for which it has no legend: what can be read off the layers.
_NOTATION = (
    "h, w: height and width of the image in pixels; a shape is (height, width, channels). CONV-(N, K, S, P): a convolution with N "
    "filters of K × K, stride S and padding P; BN: batch normalisation. Stride 0 cannot be: only 1 keeps the printed shapes."
)


def architecture_figure(experiment: Experiment) -> Result:
    """Table 1 beside the real modules."""
    table = fin_table()
    source = "as printed in the supplement, and read off the modules here: ResNet-50, K = 2048, a 224×224 image"
    widths = [9, 15, 15, 12, 15]
    # A shape is not broken between its numbers.
    rows = [[text.replace(", ", ",\u00a0") if "→" in text else text for text in row] for row in table.to_numpy().tolist()]
    drawn = PrintedTable(experiment.title, source, list(table.columns), rows, widths, _NOTATION)
    costs = cost_table()
    return Result(experiment, drawn, table, remarks=_remarks(table, costs), beside={"costs": _costs(experiment, costs)})


def _remarks(table: pd.DataFrame, costs: pd.DataFrame) -> tuple[str, ...]:
    """What differs from the supplement; what the FIN costs."""
    cells = f"{IMAGE_SIZE // 16}, {IMAGE_SIZE // 16}"
    shapes = table["shape in the supplement"].str.replace("h/16, w/16", cells) == table["shape here"]
    printed, layers = table["layer in the supplement"], table["layer here"]
    fin, explained = costs.loc["FIN of LFI-CAM"], costs.loc["ResNet-50 trunk (stem stride 1, 14×14)"]
    parameters, multiply_adds = costs.columns
    return (
        f"As printed are {shapes.sum()} of {len(table)} shapes and {(printed == layers).sum()} of {len(table)} layers; with stride "
        f"1 where stride 0 is printed, which no convolution has, {(printed.str.replace('S0', 'S1') == layers).sum()} layers",
        f"The FIN has {fin[parameters]:.0f} million parameters and takes {fin[multiply_adds]:.0f} billion multiply-adds an image; "
        f"the trunk that it explains has {explained[parameters]:.0f} million and takes {explained[multiply_adds]:.0f} billion",
    )


def _costs(experiment: Experiment, costs: pd.DataFrame) -> Result:
    """What each part costs."""
    source = "ResNet-50, K = 2048, one 224×224 image; counted on the modules"
    bars = Bars("What each part costs", source, list(costs.index), costs.round(4).to_dict("list"))
    return Result(experiment, bars, costs.rename_axis("part").reset_index())


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


class Cost(NamedTuple):
    """What a whole LFI-CAM costs: millions of parameters, billions of multiply-adds of one image; and the FIN's share of both."""

    parameters: float
    multiply_adds: float
    fin_share_of_parameters: float
    fin_share: float


def cost_of(model: nn.Module, image_size: int) -> Cost:
    """The cost of an LFI-CAM on square images; shares in [0, 1], 0 without FIN. Computes nothing and leaves the model as it is.

    Raises InputError for another model.
    """
    if not isinstance(model, LFICAM):
        raise InputError(f"{type(model).__name__} has no FIN: expected an LFICAM")
    model = copy.deepcopy(model).to("meta").eval()
    image = torch.empty(1, 3, image_size, image_size, device="meta", dtype=model.fc.weight.dtype)
    parameters, whole = _millions(model), multiply_adds(model, image)
    if model.fin is None:
        return Cost(parameters, whole, 0.0, 0.0)
    fin = multiply_adds(model.fin, model.features(image))
    return Cost(parameters, whole, _millions(model.fin) / parameters, fin / whole)


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
