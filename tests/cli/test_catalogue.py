"""`lficam data`: what there is, where it is looked for, how to get it; archives of photographs are unpacked."""

import io
import os
import re
import zipfile

import numpy as np
import pytest
from helpers import BLUE, RED, command, flip_a_byte, photographs, write_image
from matplotlib.colors import to_rgb
from PIL import Image

from lficam.cli.catalogue import describe, prepare, print_table
from lficam.data.datasets import DATASETS, load_dataset
from lficam.data.folders import split_by_name
from lficam.errors import InputError
from lficam.figures.page import OUTLINE


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("LFICAM_DATA", str(folder))
    return folder


@pytest.fixture
def lficam(monkeypatch, capsys):
    return lambda *arguments: command(monkeypatch, capsys, *arguments)


# --- the table ------------------------------------------------------------------------------------------------------


def table(capsys, monkeypatch, width=1000):
    """name -> its cells (here, what it is, how to get it, licence), and all that was printed."""
    monkeypatch.setenv("COLUMNS", str(width))
    capsys.readouterr()
    print_table()
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│\n").split("│")] for line in printed.splitlines() if line.startswith("│")]
    return {row[0]: row[1:] for row in rows}, printed


DIGITS = [name for name in DATASETS if name.startswith("digits-")]


def test_every_data_set_has_a_row_with_all_there_is_to_know(data, capsys, monkeypatch):
    rows, printed = table(capsys, monkeypatch)
    assert list(rows) == list(DATASETS)
    for name, (_, about, source, licence) in rows.items():
        info = DATASETS[name]
        assert (about, source, licence) == (info.about, info.source, info.licence)
        assert min(map(len, (about, source, licence))) > 4
    assert f"Looked for in {data}/<name>" in printed


def test_where_nothing_is_there_only_the_digits_are(data, capsys, monkeypatch):
    rows, _ = table(capsys, monkeypatch)
    assert {name: row[0] for name, row in rows.items()} == {name: "yes" if name in DIGITS else "no" for name in DATASETS}


def test_what_is_there_says_yes_and_what_cannot_be_used_says_so(data, capsys, monkeypatch):
    photographs(data / "catdog")
    write_image(data / "folder" / "train" / "cat" / "1.png")  # one class
    write_image(data / "folder" / "test" / "cat" / "1.png")
    (data / "imagenet" / "train").mkdir(parents=True)
    (data / "imagenet" / "train" / "n01440764.tar").write_bytes(b"")  # an unpacking was interrupted
    (data / "cifar10" / "cifar-10-batches-py").mkdir(parents=True)  # nothing in it
    rows, _ = table(capsys, monkeypatch)
    states = {name: row[0] for name, row in rows.items() if name not in DIGITS}
    assert {name: states[name] for name in ("cifar10", "cifar100", "stl10")} == dict.fromkeys(
        ("cifar10", "cifar100", "stl10"), "no"
    )
    assert states["catdog"] == "yes: 2 + 2 images, 2 classes"
    assert re.fullmatch("not usable: .*n01440764.tar is not unpacked.*", states["imagenet"])
    assert re.fullmatch("not usable: .* has one class, 'cat'.*", states["folder"])


def test_the_table_decodes_nothing(data, capsys, monkeypatch):
    for file in photographs(data / "catdog").rglob("*.png"):
        file.write_bytes(b"no image")
    rows, _ = table(capsys, monkeypatch)
    assert rows["catdog"][0] == "yes: 2 + 2 images, 2 classes"


def test_on_a_narrow_terminal_nothing_is_cut_off(data, capsys, monkeypatch):
    _, printed = table(capsys, monkeypatch, 80)
    assert max(len(line) for line in printed.splitlines()) <= 80
    assert "…" not in printed
    cells = [line.strip("│").split("│") for line in printed.splitlines() if line.startswith("│")]
    columns = ["".join("".join(column).split()) for column in zip(*cells, strict=True)]
    for name, info in DATASETS.items():
        for column, text in zip(columns, (name, "", info.about, info.source, info.licence), strict=True):
            assert "".join(text.split()) in column


def test_the_table_is_what_the_command_prints(data, lficam, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "1000")
    done = lficam("data")
    assert done.returncode == 0
    assert done.stdout == table(capsys, monkeypatch)[1]


# --- one data set ---------------------------------------------------------------------------------------------------


def test_one_data_set_is_read_and_described(data, lficam):
    root = photographs(data / "catdog")
    (root / "train/cat/page.jpg").write_bytes(b"<html></html>")
    done = lficam("data", "catdog")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    for line in (
        f"looked for in: {root}",
        "found: 2 training and 2 test images of 2 classes (cat, dog)",
        "left out as unreadable: 1",
        "normalised with mean 0.4850, 0.4560, 0.4060, standard deviation 0.2290, 0.2240, 0.2250",
    ):
        assert line in lines
    assert lines[lines.index("left out as unreadable: 1") + 1].startswith("  train/cat/page.jpg: cannot identify image file")
    assert DATASETS["catdog"].licence in done.stdout
    assert DATASETS["catdog"].source in done.stdout


def test_the_digits_are_described_too(data, lficam):
    done = lficam("data", "digits-catdog")
    assert done.returncode == 0
    assert "found: 1000 training and 500 test images of 2 classes (3, 5)" in done.stdout
    assert "left out as unreadable: 0" in done.stdout


def test_of_many_classes_the_first_ten_are_named(data):
    for split in ("train", "test"):
        for i in range(12):
            write_image(data / "folder" / split / f"class {i:02}" / "1.png")
    (found,) = [line for line in describe("folder", None) if line.startswith("found")]
    assert found.startswith("found: 12 training and 12 test images of 12 classes (class 00, class 01,")
    assert found.endswith("class 09, ...)")


def test_where_the_object_is_known_is_said_and_drawn(data, lficam, tmp_path):
    root = data / "stl10"
    for split, count in (("train", 2), ("test", 3)):
        for kind in ("cat", "ship"):
            for i in range(count):
                write_image(root / split / kind / f"{i}.png")
    mask = Image.new("L", (40, 40))
    mask.paste(3, (10, 10, 30, 30))
    (root / "masks/test/cat").mkdir(parents=True)
    mask.save(root / "masks/test/cat/1.png")
    done = lficam("data", "stl10", "--picture", tmp_path / "sheet.png")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "found: 4 training and 6 test images of 2 classes (cat, ship)" in lines
    assert "where the object is: known of 1 of 6 test images" in lines
    assert not any("training images" in line for line in lines if line.startswith("where"))
    assert lines[-1] == f"some of the test images: {tmp_path / 'sheet.png'}"
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 1380
        colours = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    outline = np.abs(colours.astype(int) - [round(255 * part) for part in to_rgb(OUTLINE)]).max(1) < 30
    assert outline.sum() > 200


def test_a_picture_of_no_known_kind_is_one_line(data, lficam, tmp_path):
    done = lficam("data", "digits-stl10", "--picture", tmp_path / "sheet.hat")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "sheet.hat" in done.stderr
    assert list(tmp_path.glob("*sheet*")) == []


def test_a_data_set_elsewhere_is_described(tmp_path, data, lficam):
    root = photographs(tmp_path / "elsewhere")
    done = lficam("data", "folder", "--folder", root)
    assert done.returncode == 0
    assert f"looked for in: {root}" in done.stdout.splitlines()
    assert "found: 2 training and 2 test images" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mnist"], ["unknown data set 'mnist'", "cifar10", "folder"]),
        (["mnist", "--download"], ["unknown data set 'mnist'"]),
        (["digits-stl10", "--download"], ["digits-stl10 has nothing to download", "scikit-learn"]),
        (["folder", "--download"], ["folder has nothing to download", "train/<class>"]),
        (["--download"], ["name a data set", "lficam data"]),
        (["--folder", "/somewhere"], ["name a data set"]),
        (["stl10"], ["stl10", "lficam data stl10 --download"]),
        (["imagenet"], ["image-net.org", "ILSVRC2012_img_train.tar"]),
        (["imagenet", "--download"], ["ILSVRC2012_devkit_t12.tar.gz", "not present"]),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing_behind(arguments, words, data, lficam):
    done = lficam("data", *arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("lficam: ")
    assert all(word in done.stderr for word in words), done.stderr
    assert list(data.iterdir()) == []


# --- archives of cats and dogs --------------------------------------------------------------------------------------


def picture(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), RED if kind == "cat" else BLUE).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


PLACES = [(kind, i) for kind in ("cat", "dog") for i in range(30)]


def kaggle():
    """dogs-vs-cats.zip: archives in an archive."""
    train = zipped({"train/": b""} | {f"train/{kind}.{i}.jpg": picture(kind) for kind, i in PLACES})
    test = zipped({"test1/": b""} | {f"test1/{i}.jpg": picture("cat") for i in range(1, 4)})
    return {"sampleSubmission.csv": b"id,label\n1,0\n", "test1.zip": test, "train.zip": train}


def microsoft():
    """kagglecatsanddogs_5340.zip, with what else is in it; one of its images is empty, as some of the original are."""
    members = {f"PetImages/{kind.title()}/{i}.jpg": picture(kind) for kind, i in PLACES} | {"PetImages/Cat/666.jpg": b""}
    return members | {"PetImages/Cat/Thumbs.db": b"no image", "readme[1].txt": b"Kaggle", "CDLA-Permissive-2.0.pdf": b"%PDF"}


ARCHIVES = {"dogs-vs-cats.zip": kaggle, "kagglecatsanddogs_5340.zip": microsoft}


def break_a_stream(file):
    """Overwrite where the second of the packed files begins."""
    with zipfile.ZipFile(file) as opened:
        entry = opened.infolist()[1]
    content = bytearray(file.read_bytes())
    start = entry.header_offset + 30 + len(entry.filename)
    content[start : start + 20] = b"\xff" * 20
    file.write_bytes(content)


def cut_off(file):
    os.truncate(file, file.stat().st_size // 2)


def empty(file):
    os.truncate(file, 0)


def state(folder):
    """Everything in a folder, to see that nothing was changed."""
    return {file: (file.stat().st_mtime_ns, file.read_bytes() if file.is_file() else None) for file in folder.rglob("*")}


@pytest.fixture
def catdog(data):
    root = data / "catdog"
    root.mkdir()
    return root


@pytest.mark.parametrize("archive", ARCHIVES)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_both_archives_are_unpacked_and_read(archive, compression, catdog, lficam):
    (catdog / archive).write_bytes(zipped(ARCHIVES[archive](), compression))
    done = lficam("data", "catdog", "--download")
    assert done.returncode == 0
    found = re.search(r"found: (\d+) training and (\d+) test images of 2 classes \(cat, dog\)", done.stdout)
    assert sum(map(int, found.groups())) == 60
    dataset = load_dataset("catdog")
    expected = split_by_name({f"{kind}/{i}.jpg": None for kind, i in PLACES})
    assert set(dataset.train.ids) | set(dataset.test.ids) == set(expected)
    for samples in (dataset.train, dataset.test):
        assert ((samples.images[:, 0] > 128).all((1, 2)) == (samples.labels == 0)).all()  # cats are red
    assert [id.split("/", 1)[1] for id, _ in dataset.unreadable] == (["cat/666.jpg"] if "5340" in archive else [])
    assert not [entry.name for entry in catdog.iterdir() if entry.name.startswith("tmp")]


@pytest.mark.parametrize("damage", [flip_a_byte, break_a_stream, cut_off, empty])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_archive_is_named_and_leaves_nothing_behind(damage, compression, catdog, lficam):
    archive = catdog / "kagglecatsanddogs_5340.zip"
    members = {f"PetImages/Cat/{i}.jpg": os.urandom(size) for i, size in enumerate((100, 5000, 100))}  # its middle is an image
    archive.write_bytes(zipped(members, compression))
    damage(archive)
    before = state(catdog)
    done = lficam("data", "catdog", "--download")
    assert done.returncode == 2
    assert re.fullmatch(rf"lficam: {archive} is damaged \(.+\): remove it and get it again\n", done.stderr)
    assert state(catdog) == before


def test_a_damaged_archive_in_an_archive_is_named_and_not_half_unpacked(catdog):
    members = kaggle()
    members["train.zip"] = members["train.zip"][: len(members["train.zip"]) // 2]
    (catdog / "dogs-vs-cats.zip").write_bytes(zipped(members))
    with pytest.raises(InputError, match=rf"{catdog / 'train.zip'} is damaged"):
        prepare("catdog", None)
    assert not (catdog / "train").exists()
    assert not [entry.name for entry in catdog.iterdir() if entry.name.startswith("tmp")]


@pytest.mark.parametrize("there", ["readme[1].txt", "PetImages"])
def test_nothing_is_overwritten(there, catdog):
    (catdog / "kagglecatsanddogs_5340.zip").write_bytes(zipped(microsoft()))
    if there == "PetImages":
        write_image(catdog / "PetImages" / "Cat" / "mine.jpg")
    else:
        (catdog / there).write_text("mine")
    before = state(catdog)
    with pytest.raises(InputError, match=rf"5340\.zip holds {re.escape(there)}, which is in {catdog} already: move one"):
        prepare("catdog", None)
    assert state(catdog) == before


def test_an_archive_cannot_write_outside_the_folder(catdog, data):
    (catdog / "evil.zip").write_bytes(zipped({"../../outside.txt": b"evil", f"{data}/absolute.txt": b"evil"}))
    prepare("catdog", None)
    assert {file.relative_to(catdog).name for file in catdog.rglob("*.txt")} == {"outside.txt", "absolute.txt"}
    assert {file.name for file in [*data.parent.iterdir(), *data.iterdir()]} == {"data", "catdog"}


def test_an_interrupted_unpacking_leaves_nothing_behind(catdog, monkeypatch):
    (catdog / "kagglecatsanddogs_5340.zip").write_bytes(zipped(microsoft()))
    before = state(catdog)
    real = zipfile.ZipFile._extract_member

    def interrupted(self, member, *args):
        if getattr(member, "filename", member) == "PetImages/Dog/7.jpg":
            raise KeyboardInterrupt
        return real(self, member, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(zipfile.ZipFile, "_extract_member", interrupted)
        prepare("catdog", None)
    assert state(catdog) == before
    prepare("catdog", None)
    assert (catdog / "PetImages" / "Dog" / "7.jpg").read_bytes() == picture("dog")


@pytest.mark.parametrize("archive", ARCHIVES)
def test_unpacking_a_second_time_changes_nothing(archive, catdog, lficam):
    (catdog / archive).write_bytes(zipped(ARCHIVES[archive]()))
    first = lficam("data", "catdog", "--download")
    before = state(catdog)
    second = lficam("data", "catdog", "--download")
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    (found,) = [line for line in first.stdout.splitlines() if line.startswith("found: ")]
    assert found in second.stdout.splitlines()
    assert state(catdog) == before


@pytest.mark.parametrize("stop", ["test1/2.jpg", "train/dog.7.jpg"])
def test_an_interrupted_unpacking_of_archives_in_an_archive_is_finished(stop, catdog, monkeypatch):
    (catdog / "dogs-vs-cats.zip").write_bytes(zipped(kaggle()))
    real = zipfile.ZipFile._extract_member

    def interrupted(self, member, *args):
        if getattr(member, "filename", member) == stop:
            raise KeyboardInterrupt
        return real(self, member, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(zipfile.ZipFile, "_extract_member", interrupted)
        prepare("catdog", None)
    outer = {"dogs-vs-cats.zip", *kaggle()}
    assert {entry.name for entry in catdog.iterdir()} == outer | ({"test1"} if "train" in stop else set())
    prepare("catdog", None)
    assert {entry.name for entry in catdog.iterdir()} == outer | {"test1", "train"}
    assert {file.name: file.read_bytes() for file in (catdog / "train").iterdir()} == (
        {f"{kind}.{i}.jpg": picture(kind) for kind, i in PLACES}
    )
    assert len(list((catdog / "test1").iterdir())) == 3
