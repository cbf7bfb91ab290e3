"""What LFI-CAM costs on networks of ten families: multiply-adds of an image of 224 pixels and parameters, trunk and FIN.

The FIN's convolutions grow with the square of K. On networks that end with thousands of channels it costs many times what the
network costs that it explains: choose one with fewer, or an earlier stage (`out_stride`). Counted on the meta device: nothing is
computed.

    python benchmarks/trunk_cost.py     writes trunk_cost.csv beside it, which the README shows in part
"""

from pathlib import Path

import pandas as pd
import torch

from lficam.figures.architecture import multiply_adds
from lficam.model.lfi_cam import FeatureImportanceNetwork
from lficam.model.trunks import trunk

# A network of each family, from timm.
FAMILIES = {
    "ResNet": "resnet50",
    "ResNet, two-layer blocks": "resnet18",
    "DenseNet": "densenet121",
    "SENet": "legacy_senet154",
    "EfficientNet-Lite": "tf_efficientnet_lite0",
    "MobileNetV3": "mobilenetv3_large_100",
    "RegNet": "regnety_032",
    "ConvNeXt": "convnext_tiny",
    "MobileViT": "mobilevit_s",
    "Swin": "swin_tiny_patch4_window7_224",
    "ViT": "vit_small_patch16_224",
}


def millions(module: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def main() -> None:
    rows = []
    for family, name in FAMILIES.items():
        with torch.device("meta"):
            image = torch.empty(1, 3, 224, 224)
            base = trunk(name).eval()
            features = base(image)
            fin = FeatureImportanceNetwork(base.num_features).eval()
            row = {
                "family": family,
                "trunk": name,
                "channels": base.num_features,
                "map": f"{features.shape[2]}x{features.shape[3]}",
            }
            row |= {
                "trunk_billion_multiply_adds": multiply_adds(base, image),
                "fin_billion_multiply_adds": multiply_adds(fin, features),
            }
            row |= {"trunk_million_parameters": millions(base), "fin_million_parameters": millions(fin)}
        rows.append(row)
    pd.DataFrame(rows).to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.3g")


if __name__ == "__main__":
    main()
