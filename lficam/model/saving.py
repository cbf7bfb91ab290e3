"""Saving and loading models: huggingface_hub's mixin, made strict.

A saved model is a folder with `config.json` (how to build the model) and `model.safetensors` (its weights). No pickle is read.
"""

from pathlib import Path
from typing import Any, Self

from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.utils import HFValidationError, validate_repo_id
from safetensors.torch import load_model
from torch import nn

from lficam.errors import InputError
from lficam.model.trunks import trunk as build_trunk

# A trunk is written as the spec that `lficam.trunk` attached to it, and stays a spec until `_from_pretrained` knows
# whether the user passed a module of their own instead.
_TRUNK_CODER = (lambda module: getattr(module, "spec", None), lambda spec: spec)


class Savable(PyTorchModelHubMixin):
    """Adds `save_pretrained`, `from_pretrained` and `push_to_hub` to a model whose first argument is its trunk."""

    def __init_subclass__(cls, **card: Any) -> None:
        super().__init_subclass__(coders={nn.Module: _TRUNK_CODER}, library_name="lficam", **card)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Load a model, in evaluation mode, from a local folder or by its name on the hub.

        pretrained_model_name_or_path: a folder written by `save_pretrained`, or "owner/name" on the hub. Something whose parent
            folder exists is taken for a local folder, so a mistyped path asks no network.
        options: `trunk=` for a model whose trunk is a module of your own; `map_location=`; the hub's `revision=`, `token=`, ...

        Raises InputError if the folder, its configuration, its weights or its trunk is missing; RuntimeError if the weights
        do not fit the model exactly.
        """
        name = str(pretrained_model_name_or_path)
        folder = Path(name)
        if folder.is_dir():
            missing = [file for file in ("config.json", "model.safetensors") if not (folder / file).is_file()]
            if missing:
                raise InputError(f"{folder} has no {' and no '.join(missing)}: expected a folder written by save_pretrained")
        elif isinstance(pretrained_model_name_or_path, Path) or not _is_hub_name(name):
            raise InputError(f"no model at {name!r}: expected a folder written by save_pretrained, or owner/name on the hub")
        return super().from_pretrained(name, **options)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, map_location: str = "cpu", **options: Any) -> Self:
        hub_options = {key: options.pop(key) for key in ("revision", "cache_dir", "force_download", "local_files_only", "token")}
        if options.get("trunk") is None:
            raise InputError(
                f"{model_id} does not say how to build its trunk, a module of its author's own: "
                "build it and pass it, from_pretrained(path, trunk=...)"
            )
        if isinstance(options["trunk"], dict):
            options["trunk"] = build_trunk(**options["trunk"])
        weights = Path(model_id) / "model.safetensors"
        if not Path(model_id).is_dir():
            try:
                weights = Path(hf_hub_download(model_id, "model.safetensors", **hub_options))
            except EntryNotFoundError as error:
                raise InputError(f"{model_id} has no model.safetensors on the hub; other formats are not loaded") from error
        model = cls(**options)
        load_model(model, weights, strict=True, device=map_location)
        return model.eval()


def _is_hub_name(name: str) -> bool:
    parent = Path(name).parent
    if name.count("/") != 1 or parent.exists():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True
