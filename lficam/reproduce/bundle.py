"""Maintainers only, `make model`: the trained models that come with the package, and the cards that say what is known of them.

Half an hour a model on two cores; what has been trained is not trained again. The epochs are as many as end within that half hour
(`EPOCHS`); the last epoch's weights are taken.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from jinja2 import Template
from safetensors.torch import load_file, save_file
from torch import Tensor

from lficam.data.datasets import load_dataset
from lficam.data.folders import IMAGENETTE
from lficam.data.samples import Split, shuffled
from lficam.errors import InputError
from lficam.figures.explanations import anyones_maps
from lficam.metrics.localisation import localisation
from lficam.metrics.similarity import spearman
from lficam.model.bundled import BUNDLED, FOLDER
from lficam.model.methods import METHODS, load_pretrained
from lficam.paths import atomic_folder
from lficam.provenance import hardware
from lficam.reproduce.results import published_record
from lficam.sums import write_sums
from lficam.training.bundled_runs import BundledRun, bundled_run
from lficam.training.config import RunConfig
from lficam.training.explain import Explained, explain_samples
from lficam.training.fit import fit_or_load
from lficam.training.runs import Run

EPOCHS = 12
RECIPE = RunConfig(
    dataset="stl10",
    trunk="tf_efficientnet_lite0",
    pretrained=True,
    normalization="weights",
    image_size=160,
    schedule="cosine",
    epochs=EPOCHS,
    lr=0.03,
    batch_size=32,
    weight_decay=1e-4,
    seed=1,
)
ASKED_AT = 224  # pixels: crops of a training show things larger than they are, so that larger images are asked about afterwards

# Imagenette's classes that are among STL10's; of the others no model of these ten kinds of things can name one.
AMONG_THEM = {"English springer": "dog", "garbage truck": "truck"}
_IMAGES = 300  # that maps are measured on

_CARD = Path(__file__).with_name("bundled_card.jinja")
LICENCE = (
    "The weights began as those of `tf_efficientnet_lite0` in timm (Apache-2.0) and were trained further on STL10's photographs, "
    "which were drawn from ImageNet: these belong to their owners and are there for research and education. No photograph comes "
    "with this model."
)


def make_models(recipe: RunConfig = RECIPE, folder: Path = FOLDER) -> None:
    """Train, measure and write every model of the package. Raises MissingDataError for data that is not there."""
    stl10 = load_dataset("stl10", recipe.data, image_size=ASKED_AT)
    for name, method in BUNDLED.items():
        run = fit_or_load(recipe.model_copy(update={"method": method}))
        print(f"{name}: {run.id}, test accuracy {run.metrics['test_accuracy']:.3f}", flush=True)
        with atomic_folder(folder / name) as target:
            _write_model(run, target)
            measured = measure_model(run, target, stl10.test)
            run.model.metadata = replace(run.model.metadata, unsure_below=measured["unsure_below"])
            _write_model(run, target, card_of(run, measured))
            (target / "measured.json").write_text(json.dumps(measured, indent=1) + "\n")
            write_sums(target)


def measure_model(run: Run, folder: Path, test: Split) -> dict[str, float]:
    """What the card says of a model that was trained as `run` and lies in `folder` in half precision: shares in [0, 1]."""

    def say(model: torch.nn.Module, images: Split) -> Explained:
        return explain_samples(model, images, run.mean, run.std, ASKED_AT, run.config.augmentation)

    model = load_pretrained(folder)
    known, strangers = say(model, test), _strangers()
    unknown, pets = say(model, strangers), load_dataset("catdog", None, image_size=ASKED_AT)
    bound, kept, refused = choose_bound(known.probabilities.amax(1), unknown.probabilities.amax(1))
    found = {
        "test_images": len(test),
        "accuracy": known.accuracy(test.labels),
        "accuracy_float32": say(run.model, test).accuracy(test.labels),
        f"accuracy_at_{run.config.image_size}_pixels": run.metrics["test_accuracy"],
        "unsure_below": bound,
        "known_with_winner": kept,
        "unknown_without_winner": refused,
    }
    called = say(model, pets.test).probabilities.argmax(1)
    for label, name in enumerate(pets.classes):
        own = called[pets.test.labels == label]
        found |= {f"{name}s": len(own), f"{name}s_called_{name}": (own == run.classes.index(name)).double().mean().item()}
    return found | _of_maps(bundled_run(run, model), known, test)


def choose_bound(known: Tensor, unknown: Tensor) -> tuple[float, float, float]:
    """The probability below which no class is named, and what it does: shares of known (N,) above it and unknown (M,) below it.

    known, unknown: of the most probable class, of pictures that show one of the classes, and none. Chosen on every other picture,
    in hundredths, for the largest sum of both shares, the lowest of equal ones; the shares are those of the rest.
    """
    bounds = torch.arange(0, 101) / 100
    kept, refused = ((values[::2] >= bounds[:, None]).double().mean(1) for values in (known, unknown))
    bound = bounds[(kept - refused).argmax()].item()
    return round(bound, 2), (known[1::2] >= bound).double().mean().item(), (unknown[1::2] < bound).double().mean().item()


def _strangers() -> Split:
    """Test images of Imagenette that show none of STL10's kinds, in the order of the shuffle."""
    imagenette = load_dataset("imagenette", None, image_size=ASKED_AT)
    labels = imagenette.test.labels.tolist()
    none = {k for k, name in enumerate(imagenette.classes) if IMAGENETTE.get(name, name) not in AMONG_THEM}
    return imagenette.test.take([i for i in shuffled(len(labels)) if labels[i] in none])


def _of_maps(run: BundledRun, known: Explained, test: Split) -> dict[str, float]:
    """Where the map is, beside what anyone's maps and an untrained network's have, and what is left of it without training."""
    index = shuffled(len(test))[:_IMAGES]
    chosen = test.take(index)
    masks = chosen.masks(ASKED_AT, run.config.augmentation)
    untrained = explain_samples(run.untrained(), chosen, run.mean, run.std, ASKED_AT, run.config.augmentation).cam
    own = known.cam[index]
    found = {"rank_correlation_untrained": spearman(own, untrained).mean().item()}
    maps = {"own": localisation(own, masks), "untrained": localisation(untrained, masks)} | anyones_maps(masks)
    return found | {
        f"{metric} of {name}": values.nanmean().item() for name, scores in maps.items() for metric, values in scores.items()
    }


def card_of(run: Run, measured: Mapping[str, float]) -> str:
    """What the card says of the training and of what was measured, in Markdown."""
    maps = {
        "this model's": "own",
        "an untrained network's": "untrained",
        "a centred blob": "a centred blob",
        "a uniform map": "a uniform map",
    }
    return Template(_CARD.read_text(), trim_blocks=True).render(
        run=run,
        config=run.config,
        asked_at=ASKED_AT,
        hardware=hardware(run.environment),
        m=measured,
        images=_IMAGES,
        maps=maps.items(),
        share=lambda value: f"{100 * value:.1f} %",
    )


def _write_model(run: Run, folder: Path, card: str = "") -> None:
    """The model in half precision, with its card and the record of its training."""
    model = run.model
    model.metadata = replace(model.metadata or run.metadata, image_size=ASKED_AT)
    (folder / "README.md").unlink(missing_ok=True)  # a card that is there would stay
    model.save_pretrained(folder, model_card_kwargs={"training": card, "licence": LICENCE})
    file = folder / "model.safetensors"
    weights = {name: value.half() if value.is_floating_point() else value for name, value in load_file(file).items()}
    save_file(weights, file, {"format": "pt"})
    (folder / "run.json").write_text(json.dumps(published_record(run), indent=1) + "\n")


def main() -> None:
    """Make all of them."""
    try:
        make_models()
    except InputError as error:
        sys.exit(f"lficam: {error}")
    total = sum(file.stat().st_size for file in FOLDER.rglob("*.safetensors"))
    print(f"{', '.join(BUNDLED)}: {total / 1e6:.1f} MB of weights, {', '.join(METHODS[m].title for m in BUNDLED.values())}")


if __name__ == "__main__":
    main()
