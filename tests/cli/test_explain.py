"""`lficam explain` on image files and folders, with models of random weights: what is said, what is drawn, what is refused."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from helpers import REFERENCE, command
from PIL import Image
from tiny_runs import bundle

from lficam.cli import explain_images
from lficam.cli.explain_images import COMPARED, compared_columns
from lficam.data.augmentation import normalize
from lficam.data.free_photographs import FOLDER
from lficam.data.photograph import seen_in
from lficam.errors import InputError
from lficam.model import bundled
from lficam.training.runs import load_run


@pytest.fixture
def lficam(monkeypatch, capsys):
    return partial(command, monkeypatch, capsys)


@pytest.fixture
def run(runs, tmp_path, monkeypatch):
    """The id of an LFI-CAM. In the current folder are three pictures, one of them below a folder, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name, size in (("a.png", (40, 30, 3)), ("b.jpg", (28, 28, 3)), ("more/c.png", (9, 60, 3))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(name)
    (tmp_path / "bad.png").write_text("no image")
    return load_run(runs["lfi-cam"][0]).id  # which records its checksums, and says so


@pytest.fixture
def models(run, runs, tmp_path, monkeypatch):
    """Random weights in the place of the models that come with the package; the first wants .99 before it names a class."""
    monkeypatch.setattr(bundled, "FOLDER", tmp_path / "bundle")
    bundle(runs, bundled.FOLDER, unsure_below=0.99)


def probabilities(run, file):
    known, content = run.metadata, explain_images.read_picture(file)
    images = normalize(seen_in(content, known.image_size, known.augmentation)[None], known.mean, known.std)
    with torch.no_grad():
        return dict(zip(known.classes, run.model(images).softmax(1)[0].tolist(), strict=True))


def test_a_picture_is_drawn_and_its_three_most_probable_classes_are_said(run, lficam, tmp_path):
    done = lficam("explain", "a.png", "b.jpg", "--run", run)
    assert (done.returncode, done.stderr) == (0, "")
    expected = sorted(probabilities(load_run(run), tmp_path / "a.png").items(), key=lambda pair: -pair[1])[:3]
    first, second, third = (f"{name} {value:.3f}" for name, value in expected)
    assert done.stdout.splitlines()[0] == f"a_cam.png: {first} ({second}, {third})"
    for name in ("a_cam.png", "b_cam.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 1000


def test_an_object_a_line_holds_all_probabilities_and_nothing_is_drawn(run, lficam, tmp_path):
    done = lficam("explain", "a.png", "more", "--run", run, "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["file"] for one in found] == ["a.png", "more/c.png"]
    for one in found:
        expected = probabilities(load_run(run), tmp_path / one["file"])
        assert one["probabilities"] == pytest.approx(expected, abs=1e-6)
        assert one["label"] == max(expected, key=expected.get)
        assert list(one["probabilities"].values()) == sorted(expected.values(), reverse=True)
        assert one["model"] == "LFI-CAM"
    assert not list(tmp_path.rglob("*_cam.png"))


def test_pictures_of_a_folder_lie_as_they_lay_there_and_are_not_explained_again(run, lficam, tmp_path):
    for _ in range(2):
        done = lficam("explain", ".", "--run", run, "--output", "drawn", "--json")
        assert len(done.stdout.splitlines()) == 3
        drawn = sorted(file.relative_to(tmp_path / "drawn").as_posix() for file in (tmp_path / "drawn").rglob("*.png"))
        assert drawn == ["a_cam.png", "b_cam.png", "more/c_cam.png"]


def test_two_images_of_one_name_but_of_another_kind_are_drawn_apart(run, lficam, tmp_path):
    Image.open("a.png").save("a.jpg")
    lficam("explain", "a.png", "a.jpg", "b.jpg", "--run", run)
    assert sorted(file.name for file in tmp_path.glob("*_cam.png")) == ["a.jpg_cam.png", "a.png_cam.png", "b_cam.png"]


def test_what_cannot_be_read_is_named_and_the_others_go_on(run, lficam, tmp_path):
    done = lficam("explain", "bad.png", "nowhere.png", "a.png", "--run", run)
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["a_cam.png"]
    unreadable, missing = done.stderr.splitlines()
    assert unreadable.startswith("lficam: bad.png cannot be read")
    assert missing == "lficam: no image at nowhere.png: check the path"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.png", "more/../a.png"], "several images would be drawn into a.png_cam.png"),
        (["a.png", "--run", "nothing"], "no run 'nothing'"),
        (["a.png", "--run", "RUN", "--method", "abn"], "leave out --model"),
        (["empty", "--run", "RUN"], "no images in empty"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_writes_nothing(arguments, words, run, lficam, tmp_path):
    (tmp_path / "empty").mkdir()
    arguments = [run if argument == "RUN" else argument for argument in arguments]
    done = lficam("explain", *arguments, *([] if "--run" in arguments else ["--run", run]))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr
    assert not list(tmp_path.rglob("*_cam.png"))


def test_a_picture_keeps_its_shape(run, lficam, tmp_path):
    """The same pixels, three times as wide: its panels are a third as high."""
    heights = []
    for name, size in (("square.png", (60, 60)), ("wide.png", (180, 60))):
        Image.new("RGB", size, (90, 120, 40)).save(name)
        assert lficam("explain", name, "--run", run).returncode == 0
        with Image.open(tmp_path / name.replace(".png", "_cam.png")) as drawn:
            pixels = np.asarray(drawn.convert("RGB")).astype(int)
        rows = (abs(pixels - (90, 120, 40)).sum(2) < 6).any(1).nonzero()[0]
        heights.append(rows[-1] - rows[0] + 1)
    assert heights[0] / heights[1] == pytest.approx(3, rel=0.02)


def test_the_models_of_the_package_are_asked_where_none_is_named(models, runs, lficam, tmp_path):
    done = lficam("explain", "a.png", "--json")
    (found,) = map(json.loads, done.stdout.splitlines())
    assert found["probabilities"] == pytest.approx(probabilities(load_run(runs["lfi-cam"][0]), tmp_path / "a.png"), abs=1e-6)
    assert found["label"] is None  # none has .99
    done = lficam("explain", "a.png")
    first, known = done.stdout.splitlines()
    best = next(iter(found["probabilities"]))
    assert first.startswith(f"a_cam.png: {best}? 0.")
    classes = load_run(runs["lfi-cam"][0]).classes
    assert known == f"1 without a winner: the model knows {len(classes)} kinds of things: {', '.join(classes)}"


def test_methods_are_drawn_side_by_side_and_their_models_answer(models, lficam, tmp_path):
    done = lficam("explain", "a.png", "--method", "all", "--json", "--output", ".")
    assert [json.loads(line)["model"] for line in done.stdout.splitlines()] == ["LFI-CAM", "ABN", "plain network (CAM)"]
    with Image.open(tmp_path / "a_cam.png") as picture:
        assert picture.width == 1380
    done = lficam("explain", "a.png", "--method", "plain", "--method", "abn", "--json")
    assert [json.loads(line)["model"] for line in done.stdout.splitlines()] == ["plain network (CAM)", "ABN"]
    done = lficam("explain", "a.png", "--method", "cam")
    assert done.stderr == f"lficam: unknown method 'cam': expected {', '.join(COMPARED)}, or all\n"


def test_the_columns_are_of_the_maps_that_they_name(models, run):
    columns = dict(zip(COMPARED, compared_columns(COMPARED), strict=True))
    assert [column.title for column in columns.values()] == [
        "LFI-CAM",
        "LFI-CAM untrained",
        "ABN",
        "plain network (CAM)",
        "Grad-CAM of LFI-CAM",
    ]
    ours, untrained = columns["lfi-cam"].trained.model, columns["untrained"].trained.model
    assert not torch.equal(ours.fc.weight, untrained.fc.weight)
    assert columns["grad-cam"].trained.model is ours


def test_the_picture_of_the_readme_is_what_its_command_draws(lficam, tmp_path):
    """The same but for rounding, which differs between processors: here and there the side of a contour's pixel."""
    done = lficam("explain", str(FOLDER / "chelsea.png"), "--method", "all", "--output", str(tmp_path))
    assert done.stdout.count(": cat") == 3  # of the three models
    assert done.returncode == 0, done.stderr
    drawn, committed = (
        np.asarray(Image.open(folder / "chelsea_cam.png").convert("RGB")).astype(int) for folder in (tmp_path, REFERENCE)
    )
    assert drawn.shape == committed.shape
    assert (np.abs(drawn - committed).max(2) > 8).mean() < 0.002


def test_a_checkout_without_the_models_says_how_to_get_them(run, lficam, tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "FOLDER", tmp_path / "nothing")
    done = lficam("explain", "a.png")
    assert done.returncode == 2
    assert "`make model` makes it" in done.stderr
    with pytest.raises(InputError, match="photographs has not been made"):
        compared_columns(["lfi-cam"])
