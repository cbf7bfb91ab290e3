"""The models of the package as runs, with random weights in their place."""

import pytest
import torch
from tiny_runs import bundle

from lficam.data.free_photographs import SHOWS
from lficam.errors import InputError
from lficam.metrics.similarity import spearman
from lficam.model import bundled
from lficam.model.abn import ABN
from lficam.model.bundled import BUNDLED
from lficam.model.methods import METHODS, load_pretrained
from lficam.training.bundled_runs import bundled_record, load_bundled
from lficam.training.runs import load_run
from lficam.training.saved import load_trained


@pytest.fixture(scope="module")
def names(runs, tmp_path_factory):
    """Name -> the id of the run whose weights stand in its place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled, "FOLDER", tmp_path_factory.mktemp("bundle"))
        yield bundle(runs, bundled.FOLDER, image_size=40)


def test_each_is_a_model_of_its_method(names):
    for name, method in BUNDLED.items():
        model = load_pretrained(name)
        assert isinstance(model, METHODS[method].model)
        assert torch.equal(model.fc.weight, load_run(names[name]).model.fc.weight)
        assert load_trained(name).id == name
    with pytest.raises(InputError, match="is a model of class ABN: load it with"):
        METHODS["lfi-cam"].model.from_pretrained("photographs-abn")
    assert isinstance(ABN.from_pretrained("photographs-abn"), ABN)


def test_a_run_of_the_package_says_how_it_was_trained_and_how_it_is_asked(names):
    run, trained = load_bundled("photographs"), load_run(names["photographs"])
    assert run.config.image_size == run.metadata.image_size == 40  # trained on images of 28
    assert bundled_record("photographs").config == trained.config
    assert run.config.model_copy(update={"image_size": 28}) == trained.config
    assert (run.classes, run.mean, run.history) == (trained.classes, trained.mean, trained.history)


def test_its_test_images_are_the_free_photographs(names):
    run = load_bundled("photographs")
    assert run.dataset.test.ids == tuple(SHOWS)
    assert run.explained.cam.shape == (6, 1, 10, 10)
    assert list(run.pictures([0])) == ["chelsea.png"]


def test_untrained_it_still_has_a_map_of_each_picture(names):
    run = load_bundled("photographs")
    networks = [run.untrained(number) for number in (0, 0, 1)]
    inputs = run.inputs(range(6))
    with torch.no_grad():
        first, again, other = (network.explain(inputs).cam for network in networks)
    assert (first.flatten(1).amax(1) == 1).all()  # not constant
    assert torch.equal(first, again)
    assert spearman(first, other).mean() < 0.99
    for layer in networks[0].modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert layer.num_batches_tracked == 1


def test_other_names_and_a_checkout_without_them_are_refused(names, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no model 'photos' comes with the package: expected one of photographs, "):
        load_bundled("photos")
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="photographs has not been made in this checkout: `make model` makes it"):
        load_trained("photographs")


def test_a_folder_of_that_name_is_asked_for_as_a_path(names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = load_run(names["photographs-plain"]).model
    other.save_pretrained("photographs")
    assert type(load_pretrained("./photographs")) is type(other)
    assert type(load_pretrained("photographs")) is METHODS["lfi-cam"].model
