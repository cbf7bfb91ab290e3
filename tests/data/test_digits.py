import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from lficam.data import digits
from lficam.data.datasets import DATASETS, load_dataset
from lficam.data.digits import RECIPES, fingerprint, make_digits
from lficam.errors import InputError


@pytest.fixture(scope="module")
def catdog():
    return make_digits("digits-catdog")


@pytest.fixture
def few(monkeypatch):
    """Every set, made small; ten images of each digit need sources to be used again in none of them."""
    for name, recipe in list(RECIPES.items()):
        monkeypatch.setitem(RECIPES, name, recipe._replace(train=50, test=30))


def sources(samples):
    """Number of the handwritten digit that each id names."""
    return [int(id.split("/")[2].split("-")[0]) for id in samples.ids]


def image_bytes(dataset):
    return dataset.train.images.numpy().tobytes() + dataset.test.images.numpy().tobytes()


def test_the_images_are_the_same_bits_on_every_machine(catdog):
    # If this changes on purpose, raise digits.VERSION too: it is part of every run's id.
    assert hashlib.sha256(image_bytes(catdog)).hexdigest() == "f932e70fd68ddfdddb089c97d6985958143f1e1079cb34fcd741765e1a84f407"
    assert digits.VERSION == 1


def test_the_masks_are_the_same_bits_on_every_machine(catdog):
    masks = catdog.train.objects.numpy().tobytes() + catdog.test.objects.numpy().tobytes()
    assert hashlib.sha256(masks).hexdigest() == "5ec7e60434802f59a8ee36996e983aa73be60b7f485ed8124870b38de199bd76"


def test_sizes_and_types(catdog):
    for samples, count in ((catdog.train, 1000), (catdog.test, 500)):
        assert len(samples) == count
        assert (samples.images.shape, samples.images.dtype) == ((count, 3, 28, 28), torch.uint8)
        assert (samples.labels.shape, samples.labels.dtype) == ((count,), torch.int64)
        assert (samples.objects.shape, samples.objects.dtype) == ((count, 1, 28, 28), torch.bool)
        assert torch.equal(samples.shapes, torch.full((count, 2), 28.0))
        assert samples.shapes.dtype == torch.float32


def test_classes_are_the_digits_and_balanced(catdog):
    assert catdog.classes == ("3", "5")
    for samples in (catdog.train, catdog.test):
        counts = torch.bincount(samples.labels, minlength=2)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", list(RECIPES))
def test_labels_are_those_of_the_handwritten_digits(name, few):
    dataset = make_digits(name)
    target = load_digits().target
    assert dataset.classes == tuple(str(digit) for digit in RECIPES[name].digits)
    for split, samples in (("train", dataset.train), ("test", dataset.test)):
        named = [dataset.classes[label] for label in samples.labels]
        assert [str(target[source]) for source in sources(samples)] == named
        assert [id.split("/")[:2] for id in samples.ids] == [[split, name] for name in named]


def test_training_and_test_images_come_from_different_handwritten_digits(catdog):
    train, test = set(sources(catdog.train)), set(sources(catdog.test))
    assert not train & test
    # All of the 183 threes and 182 fives are used.
    assert len(train | test) == sum(np.isin(load_digits().target, [3, 5])) == 365
    assert len(train) == round(0.7 * 183) + round(0.7 * 182)


def test_ids_are_unique(catdog):
    assert len({*catdog.train.ids, *catdog.test.ids}) == 1500


def test_every_handwritten_digit_is_used_once_before_any_is_used_again(catdog):
    for samples in (catdog.train, catdog.test):
        for label in range(2):
            own = [source for source, its in zip(sources(samples), samples.labels, strict=True) if its == label]
            counts = np.unique(own, return_counts=True)[1]
            assert counts.max() - counts.min() <= 1


def test_a_mask_is_the_digit_that_the_id_names(catdog):
    images = load_digits().images
    for samples in (catdog.train, catdog.test):
        for i in range(0, len(samples), 17):
            source = np.uint8(images[sources(samples)[i]] * 255 / 16)
            glyph = np.asarray(Image.fromarray(source).resize((14, 14), Image.Resampling.BICUBIC)) / 255 > 0.5
            mask = samples.objects[i, 0].numpy()
            assert mask.sum() == glyph.sum() > 0
            trimmed = [shape[np.ix_(shape.any(1), shape.any(0))] for shape in (mask, glyph)]
            assert np.array_equal(*trimmed)


def test_masked_pixels_are_bright(catdog):
    for samples in (catdog.train, catdog.test):
        brightness = samples.images.amax(1, keepdim=True)
        # The digit is painted last, its brightest channel is 1 and its opacity above 1/2.
        assert brightness[samples.objects].min() >= 127


def test_the_digit_has_one_colour_and_lies_anywhere(catdog):
    masks = catdog.train.objects[:, 0]
    assert masks.any(0)[4:-4, 4:-4].all()  # the outer columns of a handwritten digit are empty
    # Where a digit is opaque its colour shows alone.
    for i in range(20):
        source = np.uint8(load_digits().images[sources(catdog.train)[i]] * 255 / 16)
        glyph = np.asarray(Image.fromarray(source).resize((14, 14), Image.Resampling.BICUBIC))
        rows, columns = np.nonzero(masks[i].numpy())
        glyph_rows, glyph_columns = np.nonzero(glyph > 127.5)
        opaque = glyph[glyph_rows, glyph_columns] == 255
        colours = catdog.train.images[i][:, rows[opaque], columns[opaque]].unique(dim=1)
        assert colours.shape[1] == bool(opaque.any())
        assert (colours.amax(0) == 255).all()


def test_mean_and_std_are_those_of_the_training_images(catdog):
    pixels = catdog.train.images.numpy() / 255
    assert catdog.mean == pytest.approx(pixels.mean((0, 2, 3)), abs=1e-9)
    assert catdog.std == pytest.approx(pixels.std((0, 2, 3)), abs=1e-5)


@pytest.mark.parametrize("name", list(RECIPES))
def test_two_calls_make_the_same_bits(name, few):
    first, again = make_digits(name), make_digits(name)
    assert image_bytes(first) == image_bytes(again)
    for split in ("train", "test"):
        a, b = getattr(first, split), getattr(again, split)
        assert a.ids == b.ids
        assert torch.equal(a.objects, b.objects)
        assert torch.equal(a.labels, b.labels)
    assert first.mean == again.mean


def test_making_digits_leaves_the_global_generators_alone(few):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    make_digits("digits-catdog")
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_the_sets_differ_in_images_and_fingerprint(few):
    assert len({image_bytes(make_digits(name)) for name in RECIPES}) == len(RECIPES)
    assert len({fingerprint(name) for name in RECIPES}) == len(RECIPES)


def test_the_fingerprint_follows_the_recipe_and_the_code(monkeypatch):
    before = fingerprint("digits-stl10")
    monkeypatch.setattr(digits, "VERSION", digits.VERSION + 1)
    after = fingerprint("digits-stl10")
    monkeypatch.setitem(RECIPES, "digits-stl10", RECIPES["digits-stl10"]._replace(fragments=9))
    assert len({before, after, fingerprint("digits-stl10")}) == 3


def test_digits_are_never_named_as_the_data_set_they_stand_in_for():
    for name in RECIPES:
        assert DATASETS[name].title.startswith("cluttered digits")
        assert DATASETS[name].image_size == RECIPES[name].size


def test_another_size_is_refused(few):
    with pytest.raises(InputError, match=r"digits-stl10 .*28 pixels.*image_size=64"):
        load_dataset("digits-stl10", image_size=64)


def test_an_unknown_data_set_is_named():
    with pytest.raises(InputError, match=r"'stl11'.*digits-stl10"):
        load_dataset("stl11")
