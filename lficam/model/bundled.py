"""The trained models that come with the package, by name."""

from pathlib import Path

FOLDER = Path(__file__).with_name("pretrained")

# Name -> method. All of one training recipe, on photographs of ten kinds of things; `make model` makes them.
BUNDLED = {"photographs": "lfi-cam", "photographs-abn": "abn", "photographs-plain": "plain"}


def bundled(name: str) -> Path | None:
    """The folder of one of them, as `save_pretrained` writes it; None for any other name, and where it has not been made."""
    return FOLDER / name if name in BUNDLED and (FOLDER / name / "config.json").is_file() else None
