import pytest

from lficam.augmentation import AUGMENTATIONS
from lficam.datasets import DATASETS, data_fingerprint, load_dataset
from lficam.errors import InputError, MissingDataError


def test_every_embedded_set_has_masks_and_its_own_size_and_clutter():
    from lficam.digits import RECIPES

    tens = [recipe for recipe in RECIPES.values() if len(recipe.digits) == 10]
    assert len(tens) == 3
    assert len({recipe.size for recipe in tens}) == 3
    assert len(RECIPES["digits-catdog"].digits) == 2
    assert all(load_dataset(name).test.masks is not None for name in RECIPES)


def test_every_default_is_allowed():
    assert all(info.augmentation in AUGMENTATIONS for info in DATASETS.values())


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"'mnist'.*digits-cifar100"):
        load_dataset("mnist")


def test_embedded_digits_have_one_size():
    with pytest.raises(InputError, match=r"28 pixels.*image_size=64"):
        load_dataset("digits-stl10", image_size=64)


def test_missing_data_says_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=str(tmp_path / "catdog")):
        data_fingerprint("catdog", None)
