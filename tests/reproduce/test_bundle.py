"""The models that come with the package: how the bound is chosen, how they are written, what their cards say."""

import json
from dataclasses import replace

import pytest
import torch
from helpers import untrained_run
from safetensors.torch import load_file

from lficam.data.folders import IMAGENETTE
from lficam.model.methods import load_pretrained
from lficam.reproduce.bundle import AMONG_THEM, ASKED_AT, _write_model, card_of, choose_bound
from lficam.training.runs import record_of

MEASURED = {
    "test_images": 1000,
    "accuracy": 0.8768,
    "accuracy_float32": 0.8771,
    "unsure_below": 0.62,
    "known_with_winner": 0.91,
    "unknown_without_winner": 0.73,
    "cats": 500,
    "dogs": 499,
    "cats_called_cat": 0.812,
    "dogs_called_dog": 0.654,
    "rank_correlation_untrained": 0.41,
} | {
    f"{metric} of {name}": value
    for name, value in (("own", 0.61), ("untrained", 0.52), ("a centred blob", 0.57), ("a uniform map", 0.43))
    for metric in ("energy", "pointing")
}


def test_a_bound_between_what_is_known_and_what_is_not_is_the_lowest_that_tells_them_apart():
    assert choose_bound(torch.full((10,), 0.9), torch.full((6,), 0.3)) == (0.31, 1.0, 1.0)


def test_where_nothing_tells_them_apart_every_picture_has_a_winner():
    values = torch.linspace(0.2, 0.9, 20)
    assert choose_bound(values, values) == (0.0, 1.0, 0.0)


def test_what_the_bound_does_is_counted_on_pictures_that_did_not_choose_it():
    known, unknown = torch.tensor([0.9, 0.2] * 5), torch.tensor([0.3, 0.8] * 5)  # every other one is the other way round
    assert choose_bound(known, unknown) == (0.31, 0.0, 0.0)


def test_a_bound_worked_by_hand():
    """Even positions: known .5 .7 .9, unknown .4 .6. From .41 on 3 of 3 are kept, 1 of 2 refused; from .61 on 2 of 3 and 2 of 2."""
    known, unknown = torch.tensor([0.5, 0.0, 0.7, 0.0, 0.9, 1.0]), torch.tensor([0.4, 0.1, 0.6, 0.99])
    bound, kept, refused = choose_bound(known, unknown)
    assert bound == 0.61  # 5/3 is more than 3/2
    assert (kept, refused) == (pytest.approx(1 / 3), pytest.approx(1 / 2))


def test_imagenettes_classes_that_are_among_the_ten_are_left_out():
    assert set(AMONG_THEM) <= set(IMAGENETTE.values())
    assert len(IMAGENETTE) - len(AMONG_THEM) == 8  # as the card says


@pytest.mark.parametrize("method", ["lfi-cam", "abn", "plain"])
def test_a_model_is_written_in_half_precision_with_its_record_and_its_card(method, tmp_path):
    run = untrained_run(method)
    _write_model(run, tmp_path, "What was **measured**.")
    stored = load_file(tmp_path / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16, torch.int64}
    model = load_pretrained(tmp_path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    images = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(model(images), run.model(images), atol=0.02)
    assert model.metadata.image_size == ASKED_AT
    record = record_of("photographs", json.loads((tmp_path / "run.json").read_text()))
    assert (record.config, record.classes) == (run.config, run.classes)
    card = (tmp_path / "README.md").read_text()
    assert "What was **measured**." in card
    assert "Apache-2.0" in card


def test_the_card_says_what_was_measured():
    card = card_of(replace(untrained_run("lfi-cam"), environment={"gpu": "NVIDIA H100"}), MEASURED)
    for row in (
        "| 1,000 held-out photographs of STL10 named rightly, weights in half precision, as stored | 87.7 % |",
        "| the same, weights in full precision | 87.7 % |",
        "| 500 cats of another data set called cat | 81.2 % |",
        "| 499 dogs of it called dog | 65.4 % |",
        "| this model's | 0.61 | 0.61 |",
        "| a centred blob | 0.57 | 0.57 |",
    ):
        assert row in card
    assert "has less than\n0.62, `lficam explain` names none" in card
    assert "0.41 (1: the same order of cells)" in card
    assert "This one was trained on NVIDIA H100." in card
