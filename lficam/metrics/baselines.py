"""Maps that other methods make of a trained LFI-CAM or plain network, by torchcam, to be set beside the model's own.

All of them weigh the features F (N, K, u, v) that the trunk returns: A = s(ReLU(sum_k w_k F_k)).
Grad-CAM: w_k is the mean gradient of the class logit over the plane (Selvaraju et al., ICCV 2017).
Score-CAM: w is the softmax over k of the class logit of the image times s(F_k), less that of the image (Wang et al., CVPR
workshops 2020).
LayerCAM: w_k is the positive part of the gradient, cell by cell (Jiang et al., IEEE Transactions on Image Processing 2021).
The gradients go through all that follows the trunk: the FIN, the model's own map, and the attention.
"""

import torch
from torch import Tensor, nn
from torchcam.methods import GradCAM, LayerCAM, ScoreCAM

from lficam.errors import InputError
from lficam.metrics import map_names
from lficam.metrics.faithfulness import check_classes
from lficam.model.cam import normalize_map
from lficam.model.devices import device_of
from lficam.model.lfi_cam import LFICAM
from lficam.model.plain import Plain

BASELINES = {map_names.GRAD_CAM: GradCAM, map_names.SCORE_CAM: ScoreCAM, map_names.LAYER_CAM: LayerCAM}


def baseline_maps(name: str, model: nn.Module, images: Tensor, classes: Tensor, batch_size: int = 64) -> Tensor:
    """Maps of images (N, 3, h, w), normalised, for the class asked of each, (N,) int64: (N, 1, u, v) float32 in [0, 1], on the CPU.

    name: one of `BASELINES`.
    model: an LFICAM or a Plain. It is used in evaluation mode, on the device of its parameters, and comes back as it was, without
        gradients.
    batch_size: images in one forward pass; of Score-CAM, which makes K passes an image, also those multiplied by a feature map.

    A map without a peak, such as one whose weighted sum is nowhere positive, is 0.
    Raises InputError for an unknown method, another model than LFICAM, shapes that do not fit together, or a class that the model
    does not have.
    """
    _check(name, model, images, classes)
    device = device_of(model)
    options = {"batch_size": batch_size} if BASELINES[name] is ScoreCAM else {}
    parts = []
    with (
        BASELINES[name](model, "trunk", **options) as extractor,
        extractor._eval_mode(),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        for batch, labels in zip(images.split(batch_size), classes.split(batch_size), strict=True):
            # A copy: autograd takes no tensor of inference mode, and with it gradients reach the trunk of a frozen model too.
            scores = model(batch.to(device, copy=True).requires_grad_())
            (cam,) = extractor(labels.tolist(), scores, normalized=False)  # (n, u, v), after the ReLU
            parts.append(normalize_map(cam.float().unsqueeze(1)).cpu())
    return torch.cat(parts)


def random_maps(count: int, cells: int, seed: int = 0) -> Tensor:
    """Maps that know nothing: uniform noise (count, 1, cells, cells) in [0, 1]. The first maps of a seed are always the same."""
    return normalize_map(torch.rand(count, 1, cells, cells, generator=torch.Generator().manual_seed(seed)))


def _check(name: str, model: nn.Module, images: Tensor, classes: Tensor) -> None:
    if name not in BASELINES:
        raise InputError(f"unknown method {name!r}: expected {', '.join(BASELINES)}")
    if not isinstance(model, LFICAM | Plain):
        raise InputError(
            f"{name} takes the features that `model.trunk` returns, and {type(model).__name__} does not call it as one module: "
            "pass an LFICAM or a Plain"
        )
    check_classes(images, classes)
    if classes.max() >= model.fc.out_features:
        raise InputError(
            f"class {int(classes.max())}: the model has {model.fc.out_features}, expected 0 to {model.fc.out_features - 1}"
        )
