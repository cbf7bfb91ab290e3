"""What does the Feature Importance Network do? How many channels its weights spread over, and what other weights would do.

`swap_importance` changes the weights of a trained model and nothing else; a model trained without FIN has learned other features.
Source of the weights: Lee, Park, Oh, Kwak, "LFI-CAM: Learning Feature Importance for Better Visual Explanation", ICCV 2021.
"""

import torch
from torch import Tensor, nn

from lficam.errors import InputError
from lficam.model.lfi_cam import LFICAM

IMPORTANCES = ("learned", "uniform", "random", "permuted")


def effective_channels(importance: Tensor) -> Tensor:
    """exp(H(w)): how many of the K channels each row of importance (N, K) spreads over.

    (N,) from 1, one channel has all the weight, to K, all have the same.
    """
    return torch.special.entr(importance).sum(1).exp()


def replaced_importance(kind: str, learned: Tensor, seed: int = 0) -> Tensor:
    """Other weights in place of the learned ones, (N, K) each; call it once for all images, since they share one generator.

    kind: one of `IMPORTANCES`.
        learned: as they are.
        uniform: 1/K.
        random: drawn for each image uniformly from all weights that are positive and sum to 1.
        permuted: each image's own learned weights, as uneven as they are, dealt to the channels in a random order of its own.
            With one order for all images the answer would hang on that single draw.

    Raises InputError for another kind.
    """
    if kind not in IMPORTANCES:
        raise InputError(f"unknown importance {kind!r}: expected one of {', '.join(IMPORTANCES)}")
    if kind == "learned":
        return learned
    if kind == "uniform":
        return torch.full_like(learned, 1 / learned.shape[1])
    drawn = torch.rand(learned.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)  # in [0, 1)
    if kind == "permuted":
        return learned.gather(1, drawn.argsort(1).to(learned.device))
    exponential = -torch.log1p(-drawn)  # normalised, K of them are Dirichlet(1, ..., 1)
    return (exponential / exponential.sum(1, keepdim=True)).to(learned)


@torch.inference_mode()
def swap_importance(model: nn.Module, images: Tensor, importance: Tensor, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """What an LFI-CAM says when the weights of its channels are `importance`; the model comes back in evaluation mode.

    images: (N, 3, h, w), normalised as in training. importance: (N, K), no weight negative, each row sums to 1.

    Returns cam (N, 1, u, v) in [0, 1] and probabilities (N, C), float32 on the CPU.
    Raises InputError for a model without importance, or weights that are not as above.
    """
    if not isinstance(model, LFICAM):
        raise InputError(f"{type(model).__name__} has no importance to replace: expected an LFICAM")
    _check_importance(importance, len(images), model.num_features)
    model.eval()
    cams, probabilities = [], []
    for x, w in zip(images.split(batch_size), importance.split(batch_size), strict=True):
        e = model.attend(model.features(x.to(model.fc.weight)), w.to(model.fc.weight))
        cams.append(e.cam.float().cpu())
        probabilities.append(e.logits.float().softmax(1).cpu())
    return torch.cat(cams), torch.cat(probabilities)


def _check_importance(importance: Tensor, images: int, channels: int) -> None:
    if importance.shape != (images, channels):
        raise InputError(f"importance is {tuple(importance.shape)}: expected ({images}, {channels}), a weight an image and channel")
    if (bad := ~(importance >= 0).all(1)).any():  # NaN is not either
        raise InputError(f"importance of image {int(bad.int().argmax())} holds NaN or a negative weight: expected 0 or more")
    sums = importance.double().sum(1)
    if (bad := ~torch.isclose(sums, torch.ones_like(sums), rtol=0, atol=1e-3)).any():
        i = int(bad.int().argmax())
        raise InputError(f"importance of image {i} sums to {sums[i]:.4g}, expected 1: divide each row by its sum")
