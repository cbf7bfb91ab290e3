"""CIFAR10, CIFAR100, STL10 and ImageNet in the exact format of their originals, but small.

Only the checksums that torchvision knows are replaced, by those of the files written here.
"""

import hashlib
import io
import os
import pickle
import shutil
import struct
import tarfile
from typing import ClassVar

import numpy as np
import pytest
import torch
import torchvision.datasets.imagenet as torchvision_imagenet
from helpers import BLUE, GREEN, RED, check_four_quarters, command, flip_a_byte, four_quarters, without_network
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import CIFAR10, CIFAR100, STL10

from lficam.data.datasets import data_fingerprint, load_dataset
from lficam.data.torchvision_sets import _hash_names, download_arrays, load_arrays, unpack_imagenet
from lficam.errors import InputError, MissingDataError

pytestmark = [
    # torchvision before 0.29 leaves the choice of a filter to Python, which does not like that from 3.12 on.
    pytest.mark.filterwarnings("ignore:Python 3.14 will, by default, filter extracted tar:DeprecationWarning"),
    # numpy 2.4.0 to 2.4.4 do not like the arrays of Python 2.
    pytest.mark.filterwarnings("ignore:.*align should be passed as Python or NumPy boolean"),
]

SOURCES = {"cifar10": CIFAR10, "cifar100": CIFAR100, "stl10": STL10}

# --- writing the originals' formats ---------------------------------------------------------------------------------


class Python2Pickler(pickle._Pickler):
    """Protocol 2 with the byte strings of Python 2 and the arrays of its numpy, as the CIFAR files have them."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, string):
        data = string if isinstance(string, bytes) else string.encode("latin1")
        short = len(data) < 256
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) if short else pickle.BINSTRING + struct.pack("<i", len(data)))
        self.write(data)
        self.memoize(string)

    def save_array(self, array):
        self.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01")
        self.save(array.shape)
        self.write(b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
        self.save(array.tobytes())
        self.write(b"tb")

    dispatch[str] = dispatch[bytes] = save_string
    dispatch[np.ndarray] = save_array


def write_pickle(file, content):
    with file.open("wb") as opened:
        Python2Pickler(opened, protocol=2).dump(content)


def planes(images):
    """(n, h, w, 3) -> (n, 3 h w): all of red, row by row, then green, then blue."""
    return np.stack([np.concatenate([image[:, :, channel].ravel() for channel in range(3)]) for image in images])


def columns(images):
    """(n, h, w, 3) -> bytes: all of red, column by column, then green, then blue."""
    return b"".join(image[:, x, channel].tobytes() for image in images for channel in range(3) for x in range(image.shape[1]))


def pictures(count, size, seed):
    """(count, size, size, 3): noise, the first one `four_quarters`."""
    images = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    images[0] = four_quarters(size)
    return images


NAMES10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
NAMES100 = [f"fine {i:02}" for i in range(100)]


def write_cifar10(folder, train, train_labels, test, test_labels):
    batches = [(f"data_batch_{i + 1}", train[i::5], train_labels[i::5]) for i in range(5)] + [("test_batch", test, test_labels)]
    for name, images, labels in batches:
        names = [f"{label}_s_{i:06}.png" for i, label in enumerate(labels)]
        content = {"batch_label": name, "labels": labels, "data": planes(images), "filenames": names}
        write_pickle(folder / name, content)
    write_pickle(folder / "batches.meta", {"num_cases_per_batch": 10000, "label_names": NAMES10, "num_vis": 3072})
    (folder / "readme.html").write_text("<html></html>")


def write_cifar100(folder, train, train_labels, test, test_labels):
    for name, images, labels in (("train", train, train_labels), ("test", test, test_labels)):
        content = {"filenames": [f"x_s_{i:06}.png" for i in range(len(images))], "batch_label": f"{name}ing batch 1 of 1"}
        content |= {"fine_labels": labels, "coarse_labels": [label // 5 for label in labels], "data": planes(images)}
        write_pickle(folder / name, content)
    names = {"fine_label_names": NAMES100, "coarse_label_names": [f"coarse {i:02}" for i in range(20)]}
    write_pickle(folder / "meta", names)
    (folder / "file.txt~").write_text("")


def write_stl10(folder, train, train_labels, test, test_labels):
    for name, images, labels in (("train", train, train_labels), ("test", test, test_labels)):
        (folder / f"{name}_X.bin").write_bytes(columns(images))
        (folder / f"{name}_y.bin").write_bytes(bytes(label + 1 for label in labels))  # 1 to 10
    (folder / "unlabeled_X.bin").write_bytes(columns(pictures(2, 96, 7)))
    (folder / "class_names.txt").write_text("".join(f"{name}\n" for name in NAMES10))
    (folder / "fold_indices.txt").write_text("".join("0 1 2 \n" for _ in range(10)))


WRITERS = {"cifar10": (write_cifar10, 32), "cifar100": (write_cifar100, 32), "stl10": (write_stl10, 96)}
LABELS = {"cifar10": [6, 9, 9, 4, 0, 3, 1], "cifar100": [49, 33, 99, 71, 0, 14, 5], "stl10": [1, 5, 9, 0, 6, 3, 2]}


def md5(file):
    return hashlib.md5(file.read_bytes()).hexdigest()


def pack(archive, folder, names):
    mode = "w:gz" if archive.suffix == ".gz" else "w"
    with tarfile.open(archive, mode) as file:
        for name in names:
            file.add(folder / name, name)


class Original:
    """A small data set on disk, its archive, and what is in it."""

    def __init__(self, name, root, monkeypatch):
        self.name, self.root, self.source = name, root, SOURCES[name]
        writer, size = WRITERS[name]
        self.train, self.test = pictures(7, size, 0), pictures(4, size, 1)
        self.train_labels, self.test_labels = LABELS[name], LABELS[name][2:6]
        self.folder = root / self.source.base_folder
        self.folder.mkdir(parents=True)
        writer(self.folder, self.train, self.train_labels, self.test, self.test_labels)
        for split in ("train_list", "test_list"):
            files = [[file, md5(self.folder / file)] for file, _ in getattr(self.source, split)]
            monkeypatch.setattr(self.source, split, files)
        if name != "stl10":
            file = self.folder / self.source.meta["filename"]
            monkeypatch.setattr(self.source, "meta", self.source.meta | {"md5": md5(file)})
            # The batches hold every fifth image each; one after the other they are all of the training images.
            order = [i for batch in range(5) for i in range(batch, 7, 5)] if name == "cifar10" else list(range(7))
            self.train, self.train_labels = self.train[order], [self.train_labels[i] for i in order]
        self.archive = root / self.source.filename
        pack(self.archive, root, [self.source.base_folder])
        monkeypatch.setattr(self.source, "tgz_md5", md5(self.archive))

    def load(self, **options):
        return load_dataset(self.name, str(self.root), **options)


@pytest.fixture(params=SOURCES)
def original(request, tmp_path, monkeypatch):
    return Original(request.param, tmp_path / request.param, monkeypatch)


# --- CIFAR10, CIFAR100, STL10 ---------------------------------------------------------------------------------------


def test_the_cifar_files_written_here_are_python_2s(tmp_path):
    write_pickle(tmp_path / "batch", {"labels": [3], "data": np.arange(6, dtype=np.uint8).reshape(1, 6)})
    content = pickle.loads((tmp_path / "batch").read_bytes(), encoding="bytes")  # as the CIFAR page says
    assert content.keys() == {b"labels", b"data"}
    assert content[b"data"].tolist() == [[0, 1, 2, 3, 4, 5]]
    assert (tmp_path / "batch").read_bytes().startswith(b"\x80\x02}q\x00(U\x06labels")


def test_pixels_and_labels_are_those_that_were_written(original):
    dataset = original.load()
    assert dataset.name == original.name
    for split in ("train", "test"):
        samples, pixels, labels = getattr(dataset, split), getattr(original, split), getattr(original, f"{split}_labels")
        assert (samples.images.dtype, samples.labels.dtype) == (torch.uint8, torch.int64)
        assert np.array_equal(samples.images.permute(0, 2, 3, 1).numpy(), pixels)
        assert samples.labels.tolist() == labels
        assert samples.ids == tuple(f"{split}/{i:05}" for i in range(len(pixels)))
        assert torch.equal(samples.shapes, torch.full((len(pixels), 2), float(pixels.shape[1])))
        assert samples.objects is None
    assert dataset.unreadable == ()


def test_pictures_are_upright_and_not_mirrored(original):
    dataset = original.load()
    check_four_quarters(dataset.train.images[0])
    check_four_quarters(dataset.test.images[0])


def test_classes_have_their_names_in_the_order_of_the_labels(original):
    classes = original.load().classes
    assert list(classes) == (NAMES100 if original.name == "cifar100" else NAMES10)


def test_mean_and_deviation_are_those_of_the_training_pixels(original):
    dataset = original.load()
    pixels = original.train.astype(np.float64) / 255  # (n, h, w, 3)
    assert dataset.mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-12)
    assert dataset.std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-9)


def test_the_releases_normalisation_is_taken_when_asked_for(original):
    dataset = original.load(normalization="release")
    assert (dataset.mean, dataset.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert original.load(normalization="own").mean == original.load().mean != dataset.mean


def test_a_part_of_it_keeps_pixels_and_labels_together(original):
    dataset = original.load(max_classes=3)
    whole = original.load()
    assert len(dataset.classes) == 3
    for split in ("train", "test"):
        part, pixels = getattr(dataset, split), getattr(original, split)
        for id, image, label in zip(part.ids, part.images, part.labels, strict=True):
            i = int(id.split("/")[1])
            assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels[i])
            assert dataset.classes[label] == whole.classes[getattr(whole, split).labels[i]]


def test_the_image_size_changes_the_networks_input_and_not_what_is_kept(original):
    assert original.load(image_size=64).train.images.shape == original.load().train.images.shape


@pytest.mark.parametrize("nth", [0, 2, -1])
def test_a_flipped_byte_is_found_and_says_what_to_do(nth, original):
    files = [file for file, _ in original.source.train_list + original.source.test_list]
    if original.name != "stl10":
        files.append(original.source.meta["filename"])
    flip_a_byte(original.folder / files[nth])
    with pytest.raises(InputError, match=rf"{original.folder} is damaged.*Remove it.*data {original.name} --download") as caught:
        original.load()
    assert not isinstance(caught.value, MissingDataError)
    assert "\n" not in str(caught.value)


def test_data_that_is_not_there_is_named_with_its_place_and_the_command(original):
    shutil.rmtree(original.folder)
    for ask in (original.load, lambda: data_fingerprint(original.name, str(original.root))):
        with pytest.raises(MissingDataError, match=rf"{original.folder}.*lficam data {original.name} --download"):
            ask()


def test_every_single_missing_file_is_named(original):
    names = [file for file, _ in original.source.train_list + original.source.test_list]
    names.append("class_names.txt" if original.name == "stl10" else original.source.meta["filename"])
    for name in names:
        hidden = (original.folder / name).rename(original.root / "hidden")
        with pytest.raises(MissingDataError, match=rf"no file {original.folder / name}\. .*--download"):
            original.load()
        hidden.rename(original.folder / name)
    assert len(original.load().train) == 7


def test_the_fingerprint_follows_the_files_and_not_their_place(original, tmp_path):
    before = data_fingerprint(original.name, str(original.root))
    moved = original.root.rename(tmp_path / "moved")
    assert data_fingerprint(original.name, str(moved)) == before
    file = moved / original.source.base_folder / original.source.train_list[0][0]
    file.write_bytes(file.read_bytes() + b"\0")
    assert data_fingerprint(original.name, str(moved)) != before


def test_the_fingerprints_of_the_three_differ(tmp_path, monkeypatch):
    originals = [Original(name, tmp_path / name, monkeypatch) for name in SOURCES]
    assert len({data_fingerprint(original.name, str(original.root)) for original in originals}) == 3


def test_an_archive_that_lies_there_is_unpacked_without_network(original, monkeypatch, capsys):
    shutil.rmtree(original.folder)
    asked = without_network(monkeypatch)
    done = command(monkeypatch, capsys, "data", original.name, "--folder", original.root, "--download")
    assert done.returncode == 0
    assert "found: 7 training and 4 test images of 10" in done.stdout
    assert asked == []
    assert np.array_equal(original.load().train.images.permute(0, 2, 3, 1).numpy(), original.train)


def test_downloading_twice_asks_for_nothing(original, monkeypatch):
    original.archive.unlink()
    asked = without_network(monkeypatch)
    download_arrays(original.name, original.root)
    assert asked == []


def test_without_network_and_archive_it_is_one_line_with_what_to_do(original, monkeypatch, capsys):
    shutil.rmtree(original.folder)
    original.archive.unlink()
    asked = without_network(monkeypatch)
    done = command(monkeypatch, capsys, "data", original.name, "--folder", original.root, "--download")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    for words in (original.source.url, "name resolution", f"put {original.source.filename} into {original.root}"):
        assert words in done.stderr
    assert asked[0] == original.source.url
    assert not original.root.exists()


def test_a_damaged_archive_is_not_unpacked(original, monkeypatch):
    shutil.rmtree(original.folder)
    flip_a_byte(original.archive)
    without_network(monkeypatch)
    with pytest.raises(InputError, match=rf"put {original.source.filename} into"):
        download_arrays(original.name, original.root)
    assert list(original.root.iterdir()) == [original.archive]


class Response(io.BytesIO):
    """What a server sends."""

    def __init__(self, content, url):
        super().__init__(content)
        self.url, self.length = url, len(content)


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_server_sends_is_checked(whole, original, monkeypatch):
    content = original.archive.read_bytes()
    shutil.rmtree(original.root)
    sent = content if whole else b"<html>This server is being maintained.</html>"
    monkeypatch.setattr("urllib.request.urlopen", lambda request: Response(sent, original.source.url))
    if whole:
        download_arrays(original.name, original.root)
        assert np.array_equal(load_arrays(original.name, original.root).test.images.permute(0, 2, 3, 1).numpy(), original.test)
    else:
        with pytest.raises(InputError, match=rf"{original.source.url} could not be downloaded .*try again"):
            download_arrays(original.name, original.root)
        assert not original.folder.exists()


# --- ImageNet -------------------------------------------------------------------------------------------------------

# ILSVRC2012_ID, WNID, words, children. The ids are not in the order of the WNIDs, and two synsets are no classes.
SYNSETS = [
    (1, "n02119789", "kit fox, Vulpes macrotis", []),
    (2, "n02100735", "English setter", []),
    (3, "n01440764", "tench, Tinca tinca", []),
    (4, "n00001740", "entity", [5, 3]),
    (5, "n02083346", "canine, canid", [1, 2]),
]
COLOURS = {"n01440764": RED, "n02100735": GREEN, "n02119789": BLUE}
TRUTH = [3, 1, 2, 2, 1, 3]  # of the validation images, by ILSVRC2012_ID


def jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_tar(file, members):
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


def meta_mat():
    """`synsets`, a struct array (n, 1), as Matlab wrote it."""
    text = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"]
    synsets = np.empty((len(SYNSETS), 1), dtype=[(name, object) for name in text])
    for row, (id, wnid, words, children) in zip(synsets[:, 0], SYNSETS, strict=True):
        row["ILSVRC2012_ID"], row["WNID"], row["words"], row["gloss"] = float(id), wnid, words, f"a {words}"
        row["num_children"], row["children"] = float(len(children)), np.array(children, float)
        row["wordnet_height"], row["num_train_images"] = float(bool(children)), 1300.0
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": synsets})
    return buffer.getvalue()


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """The three archives: three training images a class, six validation images; the first tench is `four_quarters`."""
    root = tmp_path / "imagenet"
    root.mkdir()
    parts = {}
    for wnid, colour in COLOURS.items():
        images = {f"{wnid}_{i}.JPEG": jpeg(Image.new("RGB", (60, 40), colour)) for i in (18, 7, 103)}
        if wnid == "n01440764":
            images["n01440764_18.JPEG"] = jpeg(Image.fromarray(four_quarters(64)))
        parts[f"{wnid}.tar"] = write_tar(tmp_path / "part.tar", images).read_bytes()
    wnids = {id: wnid for id, wnid, _, _ in SYNSETS}
    val = [jpeg(Image.new("RGB", (40, 50), COLOURS[wnids[id]])) for id in TRUTH]
    devkit = {"data/meta.mat": meta_mat(), "data/ILSVRC2012_validation_ground_truth.txt": "".join(f"{i}\n" for i in TRUTH).encode()}
    archives = {
        "train": write_tar(root / "ILSVRC2012_img_train.tar", parts),
        "val": write_tar(
            root / "ILSVRC2012_img_val.tar", {f"ILSVRC2012_val_{i:08}.JPEG": image for i, image in enumerate(val, start=1)}
        ),
        "devkit": write_tar(
            root / "ILSVRC2012_devkit_t12.tar.gz",
            {f"ILSVRC2012_devkit_t12/{name}": content for name, content in (devkit | {"readme.txt": b"ILSVRC 2012"}).items()},
        ),
    }
    for part, file in archives.items():
        assert torchvision_imagenet.ARCHIVE_META[part][0] == file.name
        monkeypatch.setitem(torchvision_imagenet.ARCHIVE_META, part, (file.name, md5(file)))
    return root


@pytest.fixture
def unpacked(imagenet):
    unpack_imagenet(imagenet)
    for archive in imagenet.glob("ILSVRC*"):
        archive.unlink()
    return imagenet


def test_imagenet_is_unpacked_and_read(imagenet, monkeypatch, capsys):
    done = command(monkeypatch, capsys, "data", "imagenet", "--folder", imagenet, "--download")
    assert done.returncode == 0
    assert f"unpacking ImageNet in {imagenet}" in done.stdout
    assert "found: 9 training and 6 test images of 3 classes (tench, English setter, kit fox)" in done.stdout
    assert "left out as unreadable: 0" in done.stdout


def test_imagenets_classes_are_the_leaves_in_the_order_of_their_ids(unpacked):
    assert load_dataset("imagenet", str(unpacked), image_size=28).classes == ("tench", "English setter", "kit fox")


def test_imagenets_images_have_their_labels(unpacked):
    dataset = load_dataset("imagenet", str(unpacked), image_size=28)
    assert dataset.train.ids[:4] == (
        "train/n01440764/n01440764_103.JPEG",
        "train/n01440764/n01440764_18.JPEG",
        "train/n01440764/n01440764_7.JPEG",
        "train/n02100735/n02100735_103.JPEG",
    )
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    # By the ground truth: tench 1 and 6, English setter 3 and 4, kit fox 2 and 5.
    assert [int(id[-13:-5]) for id in dataset.test.ids] == [1, 6, 3, 4, 2, 5]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    colours = torch.tensor([RED, GREEN, BLUE])
    for samples in (dataset.train, dataset.test):
        for id, image, label in zip(samples.ids, samples.images, samples.labels, strict=True):
            if not id.endswith("n01440764_18.JPEG"):
                assert (image.long() - colours[label].view(3, 1, 1)).abs().max() <= 3, id  # JPEG loses a little
    assert set(map(tuple, dataset.test.shapes.tolist())) == {(50.0, 40.0)}
    check_four_quarters(dataset.train.images[1], tolerance=8)


def test_imagenet_is_normalised_as_its_pretrained_models_were(unpacked):
    dataset = load_dataset("imagenet", str(unpacked), image_size=28)
    assert (dataset.mean, dataset.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_unpacking_imagenet_again_changes_nothing(unpacked):
    before = {file: file.stat().st_mtime_ns for file in unpacked.rglob("*")}
    unpack_imagenet(unpacked)
    assert {file: file.stat().st_mtime_ns for file in unpacked.rglob("*")} == before


def test_missing_imagenet_says_which_archives_go_where(tmp_path):
    with pytest.raises(MissingDataError, match=rf"not in {tmp_path} .*devkit_t12.*img_train.*img_val.*data imagenet --download"):
        data_fingerprint("imagenet", str(tmp_path))


def test_archives_alone_are_not_yet_imagenet(imagenet):
    with pytest.raises(MissingDataError, match=r"no train, no val.*lficam data imagenet --download"):
        load_dataset("imagenet", str(imagenet))


@pytest.mark.parametrize(
    ("removed", "named"), [("train", r"\(no train\)"), ("val", r"\(no val\)"), ("meta.bin", r"\(no meta.bin\)")]
)
def test_a_part_of_imagenet_that_is_missing_is_named(removed, named, unpacked):
    (unpacked / removed).rename(unpacked / "elsewhere")
    with pytest.raises(MissingDataError, match=named):
        load_dataset("imagenet", str(unpacked))


@pytest.mark.parametrize("archive", ["ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"])
@pytest.mark.parametrize("damage", [flip_a_byte, lambda file: file.unlink()])
def test_an_archive_that_is_damaged_or_missing_is_named_and_not_unpacked(archive, damage, imagenet):
    damage(imagenet / archive)
    with pytest.raises(InputError, match=rf"{archive} is not present .*or is corrupted.*Expected .* in {imagenet}") as caught:
        unpack_imagenet(imagenet)
    assert "\n" not in str(caught.value)
    part = {"n": "train", "l": "val"}.get(archive[-5])
    assert part is None or not (imagenet / part).exists()
    with pytest.raises(MissingDataError):
        load_dataset("imagenet", str(imagenet))


@pytest.mark.parametrize(("stopped_at", "remains"), [(1, None), (2, None), (3, "train"), (5, "train"), (6, "val")])
def test_an_interrupted_unpacking_of_imagenet_is_refused_until_it_is_repeated(stopped_at, remains, imagenet, monkeypatch):
    """Archives are unpacked in the order devkit, train, its three classes, val (stopped when its files are out, not yet sorted)."""
    real, calls = torchvision_imagenet.extract_archive, []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) < stopped_at or stopped_at == 6:
            real(*args, **kwargs)
        if len(calls) == stopped_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torchvision_imagenet, "extract_archive", interrupted)
        unpack_imagenet(imagenet)
    with pytest.raises(InputError, match=f"unpacked: remove {imagenet / remains}," if remains else "is not in") as caught:
        load_dataset("imagenet", str(imagenet))
    assert isinstance(caught.value, MissingDataError) is (remains is None)
    if remains:
        with pytest.raises(InputError, match=rf"is not unpacked: remove {imagenet / remains},"):
            unpack_imagenet(imagenet)
        shutil.rmtree(imagenet / remains)
    unpack_imagenet(imagenet)
    dataset = load_dataset("imagenet", str(imagenet), image_size=28)
    assert (len(dataset.train), len(dataset.test)) == (9, 6)


@pytest.mark.parametrize("left", ["train/n02119789.tar", "val/ILSVRC2012_val_00000004.JPEG"])
def test_a_left_over_of_an_interrupted_unpacking_is_named(left, unpacked):
    (unpacked / left).write_bytes(b"")
    for ask in (lambda: load_dataset("imagenet", str(unpacked)), lambda: data_fingerprint("imagenet", str(unpacked))):
        with pytest.raises(InputError, match=rf"{left} is not unpacked: remove .*, then .*--download") as caught:
            ask()
        assert not isinstance(caught.value, MissingDataError)


def test_a_damaged_record_of_the_classes_is_named(unpacked):
    whole = (unpacked / "meta.bin").read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no archive"):
        (unpacked / "meta.bin").write_bytes(content)
        with pytest.raises(InputError, match=r"meta\.bin is damaged: remove it.*devkit") as caught:
            load_dataset("imagenet", str(unpacked))
        assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_class_of_imagenet_is_named(unpacked):
    for part in ("train", "val"):
        shutil.copytree(unpacked / part / "n01440764", unpacked / part / "n99999999")
    with pytest.raises(InputError, match=r"train has a folder 'n99999999'.*no class of ImageNet"):
        load_dataset("imagenet", str(unpacked))


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_without_images_is_named(part, unpacked):
    for file in (unpacked / part / "n02100735").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"n02100735"):
        load_dataset("imagenet", str(unpacked))


def test_both_parts_of_imagenet_need_the_same_classes(unpacked):
    shutil.rmtree(unpacked / "val" / "n02100735")
    with pytest.raises(InputError, match=r"train has 3 classes.*expected the same folders in both"):
        load_dataset("imagenet", str(unpacked))


def changed(folder):
    """The clock of a file system ticks in milliseconds; a person's changes are further apart."""
    state = folder.stat()
    os.utime(folder, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))


def test_imagenets_fingerprint_follows_the_file_names_and_not_their_place(unpacked, tmp_path):
    before = data_fingerprint("imagenet", str(unpacked))
    moved = unpacked.rename(tmp_path / "moved")
    assert data_fingerprint("imagenet", str(moved)) == before
    file = moved / "train" / "n01440764" / "n01440764_7.JPEG"
    file.rename(file.with_name("n01440764_8.JPEG"))
    changed(file.parent)
    after = data_fingerprint("imagenet", str(moved))
    assert after != before
    file.with_name("n01440764_8.JPEG").rename(moved / "train" / "n02100735" / "n01440764_8.JPEG")
    changed(file.parent)
    assert data_fingerprint("imagenet", str(moved)) not in (before, after)


def test_imagenets_names_are_read_once(unpacked):
    data_fingerprint("imagenet", str(unpacked))
    before = _hash_names.cache_info()
    data_fingerprint("imagenet", str(unpacked))
    after = _hash_names.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)
