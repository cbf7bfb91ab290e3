"""Image folders: which files belong to them, which of them test, and what identifies them."""

import hashlib
import os
import random
import shutil

import pytest
import torch
from helpers import BLUE, RED, write_image
from PIL import Image

from lficam.data.augmentation import evaluation_crop
from lficam.data.datasets import DATASETS, data_fingerprint, load_dataset, title_of
from lficam.data.folders import MEAN, STD, fingerprint, list_catdog, list_folder, load_listing, split_by_name
from lficam.errors import InputError, MissingDataError
from lficam.training.config import RunConfig


@pytest.fixture
def photographs(tmp_path):
    """Two classes, red cats and blue dogs, 3 + 2 for training, 1 + 2 for testing."""
    root = tmp_path / "photographs"
    for name in ("train/cat/a.png", "train/cat/b.PNG", "train/cat/deep/c.png", "test/cat/a.png"):
        write_image(root / name, RED)
    for name in ("train/dog/1.png", "train/dog/2.png", "test/dog/1.png", "test/dog/3.png"):
        write_image(root / name, BLUE)
    return root


def load(folder, size=28):
    return load_dataset("folder", str(folder), image_size=size)


def identify(folder):
    return fingerprint(list_folder, folder)


def test_ids_classes_and_labels(photographs):
    dataset = load(photographs)
    assert dataset.name == "folder"
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.ids == ("train/cat/a.png", "train/cat/b.PNG", "train/cat/deep/c.png", "train/dog/1.png", "train/dog/2.png")
    assert dataset.test.ids == ("test/cat/a.png", "test/dog/1.png", "test/dog/3.png")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert dataset.test.labels.tolist() == [0, 1, 1]
    assert dataset.train.labels.dtype == torch.int64
    assert dataset.train.objects_known == 0
    assert dataset.unreadable == ()
    for samples in (dataset.train, dataset.test):
        assert samples.images.dtype == torch.uint8
        assert samples.images.shape[1:] == (3, 32, 32)  # 28 of 32 as 224 of 256
        for image, label in zip(samples.images, samples.labels, strict=True):
            assert torch.equal(image, torch.tensor([RED, BLUE][label], dtype=torch.uint8).view(3, 1, 1).expand(3, 32, 32))


def test_a_listing_is_not_decoded_before_it_is_asked_to(photographs):
    (photographs / "train/cat/a.png").write_bytes(b"no image")
    dataset = load_listing("folder", list_folder, photographs)
    assert dataset.train.ids[0] == "train/cat/a.png"
    assert dataset.train.files == tuple(photographs / id for id in dataset.train.ids)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1]


def test_photographs_are_normalised_as_imagenets(photographs):
    dataset = load(photographs)
    assert (dataset.mean, dataset.std) == (MEAN, STD) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_every_image_is_kept_large_enough_for_its_test_crop(photographs):
    samples = load(photographs, 224).test
    assert samples.images.shape[2:] == (256, 256)
    assert evaluation_crop(samples.images, samples.shapes, 224, "resized-crop-flip").shape == (3, 3, 224, 224)


def test_val_serves_as_test(photographs):
    before = load(photographs), identify(photographs)
    (photographs / "test").rename(photographs / "val")
    after = load(photographs), identify(photographs)
    assert after[0].test.ids == before[0].test.ids
    assert torch.equal(after[0].test.images, before[0].test.images)
    assert after[1] == before[1]


def test_hidden_files_and_other_files_are_no_images(photographs):
    expected = load(photographs).train.ids
    before = identify(photographs)
    write_image(photographs / "train/cat/.hidden.png")
    write_image(photographs / "train/cat/._a.png")  # macOS leaves such files on other file systems
    write_image(photographs / "train/.cache/cat/a.png")
    write_image(photographs / "train/cat/.ipynb_checkpoints/a-checkpoint.png")
    write_image(photographs / "train/stray.png")  # in no class
    (photographs / "train/cat/notes.txt").write_text("no image")
    (photographs / "train/dog/Thumbs.db").write_bytes(b"no image")
    (photographs / "README").write_text("no image")
    dataset = load(photographs)
    assert dataset.train.ids == expected
    assert dataset.classes == ("cat", "dog")
    assert identify(photographs) == before


# --- what is missing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)],
    ids=["a FIFO", "a directory", "a link that leads nowhere"],
)
def test_what_is_only_called_an_image_is_left_out_and_named(make, photographs, capsys):
    ids = load(photographs).train.ids
    make(photographs / "train/cat/none.png")
    assert load(photographs).train.ids == ids  # and nothing waits for a FIFO to be written
    assert "train/cat/none.png is called an image and is no file, or leads nowhere: left out" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "id"), [(b"\xff$x^.png", r"\xff$x^.png"), ("Žluťoučký $kůň.png".encode(), "Žluťoučký $kůň.png")])
def test_a_name_may_be_no_text_and_look_like_mathematics(name, id, photographs):
    write_image(photographs / "train/cat" / os.fsdecode(name), RED)
    dataset = load(photographs)
    assert f"train/cat/{id}" in dataset.train.ids
    assert len(dataset.train) == 6


def test_a_missing_folder_is_named(tmp_path):
    for ask in (load, lambda folder: data_fingerprint("folder", str(folder))):
        with pytest.raises(MissingDataError, match=r"no data folder .*nowhere.*train/<class>"):
            ask(tmp_path / "nowhere")


@pytest.mark.parametrize(("removed", "named"), [("train", "no folder train"), ("test", "no folder test or val")])
def test_a_missing_split_is_named(removed, named, photographs):
    shutil.rmtree(photographs / removed)
    with pytest.raises(MissingDataError, match=named):
        load(photographs)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_images_is_named(split, photographs):
    for file in list((photographs / split).rglob("*.*")):
        file.unlink()
    with pytest.raises(MissingDataError, match=rf"no images in .*{split}"):
        load(photographs)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(MissingDataError, match=rf"no images in {tmp_path}"):
        load(tmp_path)


def test_one_class_is_not_enough(photographs):
    for split in ("train", "test"):
        shutil.rmtree(photographs / split / "dog")
    with pytest.raises(InputError, match=r"one class, 'cat'.*at least two"):
        load(photographs)


@pytest.mark.parametrize("split", ["train", "test"])
def test_both_splits_need_the_same_classes(split, photographs):
    write_image(photographs / split / "bird" / "1.png")
    with pytest.raises(InputError, match=r"train has .*cat.*test has .*cat.*same folders") as caught:
        load(photographs)
    assert str(caught.value).count("bird") == 1


# --- what identifies the data ---------------------------------------------------------------------------------------


def add(root):
    write_image(root / "train/cat/new.png")


def rename(root):
    (root / "train/cat/a.png").rename(root / "train/cat/z.png")


def grow(root):
    file = root / "test/dog/1.png"
    file.write_bytes(file.read_bytes() + b"\0")


def move_to_other_class(root):
    (root / "train/cat/a.png").rename(root / "train/dog/a.png")


def remove(root):
    (root / "test/dog/3.png").unlink()


@pytest.mark.parametrize("change", [add, rename, grow, move_to_other_class, remove])
def test_the_fingerprint_changes_with_the_files(change, photographs):
    before = identify(photographs)
    change(photographs)
    assert identify(photographs) != before


def test_the_fingerprint_stays_when_the_folder_moves(photographs, tmp_path):
    before = identify(photographs)
    shutil.copytree(photographs, tmp_path / "else" / "where")
    assert identify(tmp_path / "else" / "where") == before
    photographs.rename(tmp_path / "renamed")
    assert identify(tmp_path / "renamed") == before


def test_the_fingerprint_decodes_nothing(photographs):
    (photographs / "train/cat/a.png").write_bytes(b"no image")
    assert len(identify(photographs)) == 64


# --- a split by name ------------------------------------------------------------------------------------------------


def names(count, kind="cat"):
    return {f"{kind}/{i}.jpg": f"/somewhere/{i}.jpg" for i in range(count)}


def names_that_test(listing):
    """The names that test."""
    return {id.removeprefix("test/") for id in listing if id.startswith("test/")}


def test_a_split_by_name_is_the_one_that_a_second_implementation_makes():
    expected = {}
    for name, file in names(2000).items():
        share = int(hashlib.sha256(name.encode("utf-8")).hexdigest()[:8], 16) / 16**8
        expected["test/" + name if share < 0.2 else "train/" + name] = file
    assert split_by_name(names(2000)) == expected


def test_some_names_are_in_the_same_split_for_ever():
    """By `printf cat/0.jpg | sha256sum`: those that begin with 33333333 or less."""
    listing = split_by_name(names(20) | names(20, "dog"))
    assert sorted(names_that_test(listing)) == [
        "cat/13.jpg",
        "cat/3.jpg",
        "dog/13.jpg",
        "dog/16.jpg",
        "dog/19.jpg",
        "dog/6.jpg",
        "dog/9.jpg",
    ]


@pytest.mark.parametrize("kind", ["cat", "dog", "kit fox", "Größe"])
def test_a_fifth_of_the_names_test(kind):
    count = 2000
    listing = split_by_name(names(count, kind))
    assert len(listing) == count
    assert {id.split("/", 1)[0] for id in listing} == {"train", "test"}
    # Binomial: five standard deviations.
    assert len(names_that_test(listing)) == pytest.approx(0.2 * count, abs=5 * (count * 0.2 * 0.8) ** 0.5)


def test_a_name_stays_in_its_split_whatever_else_there_is():
    many, few = names_that_test(split_by_name(names(2000) | names(2000, "dog"))), names(300)
    assert names_that_test(split_by_name(few)) == {name for name in many if name in few} != set()


def test_the_split_does_not_depend_on_the_order_of_the_names():
    shuffled = list(names(500).items())
    random.Random(0).shuffle(shuffled)
    assert list(split_by_name(dict(shuffled)).items()) == list(split_by_name(names(500)).items())


ALL_TEST, NONE_TESTS = (3, 13), (0, 1, 2)  # of cats, by `printf cat/0.jpg | sha256sum`, as above


@pytest.mark.parametrize("cats", [ALL_TEST, NONE_TESTS])
@pytest.mark.parametrize("ask", ["listing", "folder", "catdog"])
def test_a_class_of_which_all_or_none_would_test_is_named(ask, cats, tmp_path):
    dogs = names(20, "dog")
    expected = r"a fifth .* of class 'cat' all or none were chosen: give it more .*train/<class>"
    with pytest.raises(InputError, match=expected) as caught:
        if ask == "listing":
            split_by_name({f"cat/{i}.jpg": None for i in cats} | dogs)
        else:
            for name in [*(f"cat/{i}.jpg" for i in cats), *dogs]:
                write_image(tmp_path / name)
            load_dataset(ask, str(tmp_path), image_size=28)
    assert not isinstance(caught.value, MissingDataError)
    assert "\n" not in str(caught.value)


def test_one_image_that_tests_and_one_that_trains_are_enough_for_a_class():
    assert list(split_by_name({"cat/2.jpg": 1, "cat/3.jpg": 2, "dog/0.jpg": 3, "dog/6.jpg": 4}).items()) == (
        [("test/cat/3.jpg", 2), ("test/dog/6.jpg", 4), ("train/cat/2.jpg", 1), ("train/dog/0.jpg", 3)]
    )


def unsplit(root, count, pattern="{kind}/{i}.jpg"):
    """Red cats and blue dogs, `count` of each, one pixel."""
    for kind, colour in (("cat", RED), ("dog", BLUE)):
        for i in range(count):
            file = root / pattern.format(kind=kind, Kind=kind.title(), i=i)
            write_image(file, Image.new("RGB", (4, 4), colour), quality=95)
    return root


def test_a_folder_without_splits_is_split_by_name(tmp_path):
    dataset = load(unsplit(tmp_path, 40))
    assert dataset.classes == ("cat", "dog")
    expected = split_by_name({f"{kind}/{i}.jpg": None for kind in ("cat", "dog") for i in range(40)})
    assert dataset.train.ids + dataset.test.ids == tuple(sorted(expected, key=lambda id: (id.startswith("test"), id)))
    for samples in (dataset.train, dataset.test):
        assert samples.labels.tolist() == [int("/dog/" in id) for id in samples.ids]
        assert ((samples.images[:, 0] > 128).all((1, 2)) == (samples.labels == 0)).all()  # cats are red


def test_images_added_to_a_folder_move_no_other(tmp_path):
    before = load(unsplit(tmp_path, 30))
    after = load(unsplit(tmp_path, 60))
    assert set(before.train.ids) < set(after.train.ids)
    assert set(before.test.ids) < set(after.test.ids)


# --- cats and dogs --------------------------------------------------------------------------------------------------

LAYOUTS = {"kaggle": "train/{kind}.{i}.jpg", "microsoft": "PetImages/{Kind}/{i}.jpg", "folder": "{kind}/{i}.jpg"}


def load_catdog(folder):
    return load_dataset("catdog", str(folder), image_size=28)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cats_and_dogs_are_found_in_every_layout(layout, tmp_path):
    dataset = load_catdog(unsplit(tmp_path, 40, LAYOUTS[layout]))
    assert dataset.name == "catdog"
    assert dataset.classes == ("cat", "dog")
    assert len(dataset.train) + len(dataset.test) == 80
    for samples in (dataset.train, dataset.test):
        assert samples.labels.tolist() == [int("/dog/" in id) for id in samples.ids]
        assert ((samples.images[:, 0] > 128).all((1, 2)) == (samples.labels == 0)).all()  # cats are red


def test_every_layout_gives_the_same_split_and_the_same_fingerprint(tmp_path):
    folders = [unsplit(tmp_path / layout, 40, pattern) for layout, pattern in LAYOUTS.items()]
    datasets = [load_catdog(folder) for folder in folders]
    assert len({(dataset.train.ids, dataset.test.ids) for dataset in datasets}) == 1
    assert len({data_fingerprint("catdog", str(folder)) for folder in folders}) == 1
    assert len(datasets[0].test) == len(names_that_test(split_by_name(names(40) | names(40, "dog"))))


def test_cats_and_dogs_with_a_split_of_their_own_keep_it(photographs):
    assert list_catdog(photographs) == list_folder(photographs)


def test_kaggles_unlabelled_test_images_and_microsofts_other_files_are_none_of_ours(tmp_path):
    kaggle = unsplit(tmp_path / "kaggle", 40, LAYOUTS["kaggle"])
    microsoft = unsplit(tmp_path / "microsoft", 40, LAYOUTS["microsoft"])
    expected = list(list_catdog(kaggle))
    for i in (1, 2):
        write_image(kaggle / "test1" / f"{i}.jpg")
    (kaggle / "sampleSubmission.csv").write_text("id,label\n1,0\n")
    (microsoft / "PetImages/Cat/Thumbs.db").write_bytes(b"no image")
    (microsoft / "MSR-LA - 3467.docx").write_bytes(b"no image")
    assert list(list_catdog(kaggle)) == expected
    assert list(list_catdog(microsoft)) == expected


def test_a_folder_is_found_by_the_name_of_its_data_set(photographs, monkeypatch):
    monkeypatch.setenv("LFICAM_DATA", str(photographs.parent))
    photographs.rename(photographs.parent / "catdog")
    named = load_dataset("catdog", image_size=28)
    given = load(photographs.parent / "catdog")
    assert named.name == "catdog"
    assert torch.equal(named.train.images, given.train.images)
    assert data_fingerprint("catdog", None) == data_fingerprint("folder", str(photographs.parent / "catdog"))


def test_a_folder_at_home_is_found(photographs, monkeypatch):
    monkeypatch.setenv("HOME", str(photographs.parent))
    assert load("~/photographs").train.ids == load(photographs).train.ids
    assert data_fingerprint("folder", "~/photographs") == identify(photographs)
    configs = [RunConfig(dataset="folder", trunk="cifar_resnet8", data=data) for data in ("~/photographs", str(photographs))]
    assert configs[0].run_id() == configs[1].run_id()
    with pytest.raises(MissingDataError, match=f"no data folder {photographs.parent}/nowhere"):
        load("~/nowhere")


def test_a_data_set_is_read_again_when_its_files_change(photographs):
    before = load(photographs)
    assert load(photographs) is before  # ten runs read it once
    write_image(photographs / "train/cat/new.png", RED)
    assert len(load(photographs).train) == len(before.train) + 1


@pytest.mark.parametrize("name", ["stl10", "cifar10", "cifar100", "catdog"])
def test_public_data_is_read_as_folders_too_and_its_title_says_how_many(name, photographs, monkeypatch):
    dataset = load_dataset(name, str(photographs), image_size=20, augmentation="none")
    assert dataset.name == name
    assert dataset.classes == ("cat", "dog")
    assert (len(dataset.train), len(dataset.test)) == (5, 3)
    assert data_fingerprint(name, str(photographs)) == identify(photographs)
    assert title_of(name, str(photographs)) == f"{DATASETS[name].title} (5 + 3 photographs)"
    assert RunConfig(dataset=name, data=str(photographs)).run_id() != RunConfig(dataset="folder", data=str(photographs)).run_id()


def test_a_title_that_cannot_be_a_part_says_no_number(photographs):
    assert title_of("folder", str(photographs)) == "image folder"
    assert title_of("stl10", str(photographs / "nowhere")) == "STL10"
    assert title_of("digits-stl10") == "cluttered digits (stand-in for STL10)"


WNIDS = ("n03888257", "n01440764")


@pytest.fixture(params=["", "imagenette2", "imagenette2-320"])
def imagenette(request, tmp_path):
    """Two of the ten classes, as they are passed on, or as torchvision unpacks them."""
    for split, count in (("train", 3), ("val", 2)):
        for wnid in WNIDS:
            for i in range(count):
                write_image(tmp_path / request.param / split / wnid / f"{wnid}_{i}.JPEG", RED if wnid == WNIDS[0] else BLUE)
    return tmp_path


def test_imagenette_names_its_classes(imagenette):
    dataset = load_dataset("imagenette", str(imagenette), image_size=20, augmentation="none")
    assert dataset.classes == ("tench", "parachute")
    assert dataset.test.ids[0] == "test/n01440764/n01440764_0.JPEG"
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    assert dataset.test.images[0, 2].float().mean() > 200  # blue
    assert dataset.test.images[2, 0].float().mean() > 200  # red
    assert "ten classes of ImageNet" in title_of("imagenette", str(imagenette))


def test_imagenettes_boxes_lie_beside_its_folders(imagenette):
    root = next(imagenette.glob("**/val")).parent
    file = root / "boxes/val/n01440764/n01440764_1.txt"
    file.parent.mkdir(parents=True)
    file.write_text("0 0 40 20")
    masks = load_dataset("imagenette", str(imagenette), image_size=20, augmentation="none").test.masks(20, "none")
    assert masks.flatten(1).any(1).tolist() == [False, True, False, False]
    assert masks[1, 0, :10].all()
    assert not masks[1, 0, 10:].any()


def test_a_folder_that_is_none_of_the_ten_is_named(imagenette):
    root = next(imagenette.glob("**/val")).parent
    for split in ("train", "val"):
        write_image(root / split / "n02123045" / "tabby.JPEG")
    with pytest.raises(InputError, match="class folder 'n02123045': expected Imagenette's, n01440764"):
        data_fingerprint("imagenette", str(imagenette))
