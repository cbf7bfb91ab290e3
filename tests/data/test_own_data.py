"""A torch Dataset by name: trained on, and compared, as every other data set."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

import lficam
from lficam.data import own_data
from lficam.data.datasets import DATASETS, load_dataset
from lficam.data.own_data import samples_of
from lficam.errors import InputError
from lficam.training.fit import fit_missing


class Halves(torch.utils.data.Dataset):
    """Class 0 is bright on the left, class 1 on the right."""

    def __init__(self, count, seed, size=(12, 12)):
        self.noise = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed)) / 4

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        image, label = self.noise[index].clone(), index % 2
        half = image.shape[2] // 2
        image[:, :, half * label : half * label + half] += 0.7
        return image, label


@pytest.fixture(autouse=True, scope="module")
def forgotten():
    """What is registered here is not there for other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_data, "_registered", set(own_data._registered))
        before = set(DATASETS)
        yield
        for name in set(DATASETS) - before:
            del DATASETS[name]


SETTINGS = {"image_size": 12, "augmentation": "none", "classes": ["left", "right"]}


def test_it_is_trained_on_and_compared_like_any_other(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path))
    lficam.register_dataset("tests-halves", Halves(64, 0), Halves(32, 1), **SETTINGS)
    shared = {"dataset": "tests-halves", "trunk": "cifar_resnet8", "epochs": 4, "batch_size": 8}
    runs = [lficam.fit_or_load(lficam.RunConfig(**shared, seed=seed)) for seed in (0, 1)]
    assert [run.metrics["test_accuracy"] for run in runs] == [1, 1]
    assert runs[0].classes == ("left", "right")
    maps = {run.id: (run.explained.ids, run.explained.cam.numpy()[:, 0]) for run in runs}  # arrays (N, u, v)
    table = lficam.pairwise_stability(maps, size=(12, 12))
    as_tensors = {run.id: (run.explained.ids, run.explained.cam) for run in runs}
    assert table.equals(lficam.pairwise_stability(as_tensors, size=(12, 12)))
    assert lficam.load_run(runs[0].id).config == runs[0].config


def test_the_id_of_a_run_follows_from_the_images():
    ids = []
    for train in (Halves(8, 0), Halves(8, 0), Halves(8, 5)):
        lficam.register_dataset("tests-halves", train, Halves(4, 1), **SETTINGS)
        ids.append(lficam.RunConfig(dataset="tests-halves", trunk="cifar_resnet8").run_id())
    assert ids[0] == ids[1] != ids[2]


def test_pixels_are_those_of_the_data_set_and_normalised_by_their_moments():
    lficam.register_dataset("tests-halves", Halves(6, 0), Halves(4, 1), **SETTINGS)
    data = load_dataset("tests-halves")
    expected = torch.stack([image for image, _ in Halves(6, 0)])
    assert (data.train.images.double() / 255 - expected).abs().max() <= 0.5 / 255 + 1e-6
    assert data.train.labels.tolist() == [0, 1] * 3
    pixels = data.train.images.double() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert data.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (20, 10), (10, 200, 30)),
        np.full((10, 20, 3), (10, 200, 30), np.uint8),
        torch.tensor([10, 200, 30], dtype=torch.uint8).view(3, 1, 1).expand(3, 10, 20),
        torch.tensor([10, 200, 30]).view(3, 1, 1).expand(3, 10, 20) / 255,
    ],
    ids=["PIL", "array", "uint8", "float"],
)
def test_images_in_every_form_are_the_same(image):
    samples = samples_of([(image, 1)], "train", 8)
    assert samples.images.shape == (1, 3, 8, 8)
    assert samples.images[0, :, 3, 3].tolist() == [10, 200, 30]
    assert samples.shapes.tolist() == [[10, 20]]


def test_an_image_folder_brings_its_classes(tmp_path):
    for split in ("train", "test"):
        for kind in ("ant", "bee"):
            (tmp_path / split / kind).mkdir(parents=True)
            Image.new("RGB", (9, 7)).save(tmp_path / split / kind / "1.png")
    train, test = (ImageFolder(tmp_path / split) for split in ("train", "test"))
    lficam.register_dataset("tests-insects", train, test, image_size=16)
    assert load_dataset("tests-insects").classes == ("ant", "bee")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "the train part is empty"),
        ([(torch.randn(3, 4, 4) - 9, 0)], "train image 0 has values from .* expected pixels in .0, 1., not normalised ones"),
        ([(torch.full((3, 4, 4), torch.nan), 0)], "train image 0 has values from nan to nan"),
        ([(torch.rand(1, 4, 4), 0)], r"train image 0 is \(1, 4, 4\) of torch.float32: expected a PIL image"),
        ([("cat.jpg", 0)], "train image 0 is str: expected a PIL image"),
        ([(torch.rand(3, 4, 4), -1)], "has a label -1"),
        ([(torch.rand(3, 4, 4), 2)], "labels up to 2 and 2 classes"),
    ],
)
def test_what_cannot_be_used_is_one_line(items, message):
    with pytest.raises(InputError, match=message):
        lficam.register_dataset("tests-wrong", items, Halves(2, 0), **SETTINGS)
    with pytest.raises(InputError, match="unknown data set 'tests-wrong'"):
        load_dataset("tests-wrong")


def test_a_built_in_name_cannot_be_registered():
    with pytest.raises(InputError, match="'stl10' is built in: choose another name"):
        lficam.register_dataset("stl10", Halves(2, 0), Halves(2, 1))


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "my.data", "mine!"])
def test_a_name_that_is_no_name_of_a_folder_is_refused(name):
    with pytest.raises(InputError, match="expected letters, digits, - and _"):
        lficam.register_dataset(name, Halves(2, 0), Halves(2, 1), **SETTINGS)


def test_what_another_process_registered_is_not_taken_for_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path))
    lficam.register_dataset("tests-elsewhere", Halves(8, 0), Halves(4, 1), **SETTINGS)
    config = lficam.RunConfig(dataset="tests-elsewhere", trunk="cifar_resnet8", epochs=1, batch_size=4)
    assert fit_missing([config], jobs=2) == {}  # in this process, which alone knows it
    id = lficam.fit_or_load(config).id
    monkeypatch.delitem(DATASETS, "tests-elsewhere")
    with pytest.raises(InputError, match=r"unknown data set .tests-elsewhere.*register it under this name first") as error:
        lficam.load_run(id)
    assert "damaged" not in str(error.value)
