"""Does a map depend on what the model has learned? Cascading and independent randomisation.

The parts of a trained model are replaced by untrained ones, from the output to the input or each alone, and the map is compared
with the trained model's. A map that stays the same does not explain the parts replaced. From the output down, what is below goes
on working as trained, which keeps much of a map for that reason alone (Binder, Weber, Lapuschkin, Montavon, Müller, Samek,
"Shortcomings of Top-Down Randomization-Based Sanity Checks", CVPR 2023): hence also each alone. Source: Adebayo, Gilmer, Muelly,
Goodfellow, Hardt, Kim, "Sanity Checks for Saliency Maps", NeurIPS 2018, sections 3.1 and 3.2.
"""

import copy
from collections.abc import Callable

from torch import Tensor, nn

from lficam.errors import InputError
from lficam.metrics.similarity import spearman
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM
from lficam.model.plain import Plain


def stages(model: nn.Module) -> tuple[str, ...]:
    """Names of the parts of an LFICAM, ABN or Plain, from the output to the input, as `model.get_submodule` takes them.

    "fc", then "fin" or "attention_branch" where there is one, then the trunk's stages from the last to the first, such as
    "trunk.layer3"; a trunk that is no `nn.Sequential` is one stage, "trunk". Stages without weights, such as an activation, are
    left out.

    Two of them cannot change LFI-CAM's and ABN's map: "fc", and of ABN the trunk's last stage. Both make the map before these.
    Raises InputError for another model.
    """
    if not isinstance(model, LFICAM | ABN | Plain):
        raise InputError(f"the parts of {type(model).__name__} have no known order: expected an LFICAM, ABN or Plain")
    trunk = [f"trunk.{name}" for name, _ in model.trunk.named_children()] if isinstance(model.trunk, nn.Sequential) else ["trunk"]
    between = [name for name in ("attention_branch", "fin") if getattr(model, name, None) is not None]
    return tuple(name for name in ["fc", *between, *reversed(trunk)] if model.get_submodule(name).state_dict())


def cascade(
    model: nn.Module, untrained: nn.Module, images: Tensor, maps_of: Callable[[nn.Module, Tensor], Tensor]
) -> dict[str, Tensor]:
    """How alike the maps stay while the parts of a trained model are replaced, one after another, by those of an untrained one.

    untrained: the same architecture with other weights; its parameters and batch-norm statistics are taken.
    images: (N, 3, h, w), given to `maps_of` as they are.
    maps_of: a model in evaluation mode and the images -> maps (N, 1, u, v). Maps are compared at the size that it returns. Let that
        be the map's own: resizing to the image adds no information, only pixels between cells, which agree more than the cells do.

    Returns "trained" and each of `stages(model)` -> (N,) rank correlation with the trained model's map in [-1, 1]; 1: the same
    order of pixels; 0: none in common, or a constant map. "trained" is therefore 1, or 0 where the map was constant to begin with.
    Lower means that the map depends more on what was learned, but 0 is not the floor: untrained maps follow the image as well.
    Two untrained LFI-CAMs correlate by 0.8 to 0.9 on the embedded digits; read the last value beside that of such a pair.
    Neither model is changed. Raises InputError for models of different architectures.
    """
    _check_alike(model, untrained)
    randomised = copy.deepcopy(model).eval()
    trained = _maps(maps_of, randomised, images)
    similarity = {"trained": spearman(trained, trained)}
    for stage in stages(model):
        _replace(stage, randomised, untrained)
        similarity[stage] = spearman(_maps(maps_of, randomised, images), trained)
    return similarity


def each_alone(
    model: nn.Module, untrained: nn.Module, images: Tensor, maps_of: Callable[[nn.Module, Tensor], Tensor]
) -> dict[str, Tensor]:
    """As `cascade`, for each stage while all others stay as they were trained: each of `stages(model)` -> (N,)."""
    _check_alike(model, untrained)
    randomised = copy.deepcopy(model).eval()
    trained, similarity = _maps(maps_of, randomised, images), {}
    for stage in stages(model):
        _replace(stage, randomised, untrained)
        similarity[stage] = spearman(_maps(maps_of, randomised, images), trained)
        _replace(stage, randomised, model)
    return similarity


def _replace(stage: str, model: nn.Module, source: nn.Module) -> None:
    model.get_submodule(stage).load_state_dict(source.get_submodule(stage).state_dict())


def _maps(maps_of: Callable[[nn.Module, Tensor], Tensor], model: nn.Module, images: Tensor) -> Tensor:
    return maps_of(model, images).detach().float().cpu()


def _check_alike(model: nn.Module, untrained: nn.Module) -> None:
    shapes, others = ({name: value.shape for name, value in each.state_dict().items()} for each in (model, untrained))
    if different := [name for name in {**shapes, **others} if shapes.get(name) != others.get(name)]:
        raise InputError(
            f"the untrained {type(untrained).__name__} and the {type(model).__name__} differ in {len(different)} weights, such as "
            f"{different[0]!r}: expected the same architecture, built with another seed"
        )
