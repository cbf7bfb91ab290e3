"""Saving and loading models: huggingface_hub's mixin, made strict.

A saved model is a folder with `config.json` (how to build the model, what it takes and what its logits mean), `model.safetensors`
(its weights) and a card, `README.md`. No pickle is read.
"""

import json
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import Any, Self

from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HTTPError, LocalEntryNotFoundError
from huggingface_hub.utils import HFValidationError, validate_repo_id
from safetensors.torch import load_model
from torch import nn

from lficam.errors import InputError
from lficam.model.bundled import BUNDLED, bundled
from lficam.model.metadata import Metadata
from lficam.model.trunks import trunk as build_trunk
from lficam.sums import check_sums

# A trunk is written as the spec that `lficam.trunk` attached to it, and stays a spec until `_from_pretrained` knows
# whether the user passed a module of their own instead.
_TRUNK_CODER = (lambda module: getattr(module, "spec", None), lambda spec: spec)

FILES = ("config.json", "model.safetensors")  # without which there is no model
_CARD = Path(__file__).with_name("model_card.jinja").read_text()


class Savable(PyTorchModelHubMixin):
    """Adds `save_pretrained`, `from_pretrained` and `push_to_hub` to a model whose first argument is its trunk.

    metadata: what a trained model takes and what its logits mean; None for a model that nobody has trained. Saved with it.
    """

    metadata: Metadata | None = None

    def __init_subclass__(cls, **card: Any) -> None:
        super().__init_subclass__(
            coders={nn.Module: _TRUNK_CODER},
            library_name="lficam",
            license="other",  # of the weights, which nobody here knows; the card says more
            license_name="see-below",
            pipeline_tag="image-classification",
            model_card_template=_CARD,
            **card,
        )

    def save_pretrained(self, save_directory: str | Path, *, config: dict | None = None, **options: Any) -> str | None:
        """Write the model into a folder, with its metadata, and a card if there is none yet.

        options: of huggingface_hub, such as `push_to_hub=`, `repo_id=`; `model_card_kwargs={"licence": ..., "training": ...}` puts
            sentences of one's own into the card.
        Raises InputError if the metadata names another number of classes than the model has.
        """
        config = config or {"architecture": type(self).__name__} | self._hub_mixin_config
        if self.metadata:
            if len(self.metadata.classes) != self.fc.out_features:
                named, there = len(self.metadata.classes), self.fc.out_features
                raise InputError(f"metadata names {named} classes, the model has {there}: expected a name for each")
            config |= asdict(self.metadata)
        return super().save_pretrained(save_directory, config=config, **options)

    def generate_model_card(self, **words: Any) -> ModelCard:
        """The card that `save_pretrained` writes. words: `licence` and `training`, sentences for it."""
        return super().generate_model_card(name=type(self).__name__, metadata=self.metadata, **words)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Load a model, in evaluation mode, from a local folder or by its name on the hub.

        pretrained_model_name_or_path: a folder written by `save_pretrained`, "owner/name" on the hub, or the name of a model that
            comes with the package, such as "photographs" ("./photographs" is a folder). Something whose parent folder exists is
            taken for a local folder, so a mistyped path asks no network.
        options: `trunk=` for a model whose trunk is a module of your own; `map_location=`; the hub's `revision=`, `token=`, ...

        Raises InputError if the folder, its configuration, its weights or its trunk is missing, or it is a model of another class;
        RuntimeError if the weights do not fit the model exactly.
        """
        name = str(bundled(str(pretrained_model_name_or_path)) or pretrained_model_name_or_path)
        folder = Path(name)
        if folder.is_dir():
            missing = [file for file in FILES if not (folder / file).is_file()]
            if missing:
                raise InputError(f"{folder} has no {' and no '.join(missing)}: expected a folder written by save_pretrained")
            check_sums(folder, *FILES, advice="get or train it again")
            cls._check_config(folder / "config.json")
        elif isinstance(pretrained_model_name_or_path, Path) or not is_hub_name(name):
            raise InputError(
                f"no model at {name!r}: expected a folder written by save_pretrained, owner/name on the hub, or one that comes "
                f"with the package: {', '.join(BUNDLED)}"
            )
        try:
            return super().from_pretrained(name, **options)
        except (LocalEntryNotFoundError, HTTPError) as error:
            why = shorten(str(error), 200)
            advice = "check the name and the connection, or pass the folder of a saved model"
            raise InputError(f"{name} could not be fetched from the hub ({why}): {advice}") from error

    @classmethod
    def _check_config(cls, file: Path) -> None:
        """Raise InputError unless it holds what `save_pretrained` writes."""
        classes = {cls, *Savable.__subclasses__()} - {Savable}  # which of them it is, is said later
        known = {
            "architecture",
            *Metadata.__dataclass_fields__,
            *(name for one in classes for name in one._hub_mixin_init_parameters),
        }
        try:
            config = json.loads(file.read_text())
        except ValueError as error:  # no text, no JSON
            why = type(error).__name__
        else:
            if not isinstance(config, dict):
                why = f"a {type(config).__name__}, not an object"
            elif unknown := sorted(config.keys() - known):
                why = f"an unknown key {unknown[0]!r}, expected {', '.join(sorted(known))}"
            elif not isinstance(config.get("trunk"), dict | None):
                why = f"the trunk {config['trunk']!r}, expected an object with its name"
            else:
                return
        raise InputError(f"the model in {file.parent} is damaged or of another version ({file.name}: {why}): get it again")

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, config: dict[str, Any] | None = None, map_location: str = "cpu", **options: Any
    ) -> Self:
        if config is None:  # of a folder it has been checked
            raise InputError(f"{model_id} is not on the hub, or has no config.json there: expected what save_pretrained wrote")
        # Saved before the name of the class was: an ABN has no FIN to be left out.
        architecture = config.get("architecture", "LFICAM" if "fin" in config else "ABN")
        if cls is Savable:
            cls = _subclass(architecture, model_id)
            # For a class without a signature of its own, the mixin takes all of the config for arguments.
            options = {key: value for key, value in options.items() if key not in config or key in cls._hub_mixin_init_parameters}
        elif "num_classes" in config and architecture not in {parent.__name__ for parent in cls.__mro__}:
            raise InputError(f"{model_id} is a model of class {architecture}: load it with {architecture}.from_pretrained")
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
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError as error:
                raise InputError(f"{model_id} has no model.safetensors on the hub; other formats are not loaded") from error
        model = cls(**options)
        load_model(model, weights, strict=True, device=map_location)
        if not all(value.isfinite().all() for value in model.state_dict().values() if value.is_floating_point()):
            raise InputError(f"{model_id} has weights that are NaN or infinite: get or train it again")
        if "classes" in config:
            model.metadata = Metadata(**{key: config[key] for key in Metadata.__dataclass_fields__ if key in config})
        return model.eval()


def is_hub_name(name: str) -> bool:
    """Whether it can be meant as owner/name on the hub: what lies in a folder that exists is not."""
    parent = Path(name).parent
    if name.count("/") != 1 or parent.exists():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _subclass(architecture: str, model_id: str) -> type[Savable]:
    known = {cls.__name__: cls for cls in Savable.__subclasses__()}
    if architecture not in known:
        raise InputError(f"{model_id} is a model of class {architecture!r}: expected one of {', '.join(known)}")
    return known[architecture]
