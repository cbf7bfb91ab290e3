import io
import random

import numpy as np
import pytest
import torch
from helpers import write_image
from torch import nn

from lficam.cli.maps import collect_maps, load_maps
from lficam.cli.own_images import list_images, read_images
from lficam.data.digits import RECIPES
from lficam.errors import InputError
from lficam.metrics.stability import pairwise_stability
from lficam.training.config import RunConfig
from lficam.training.fit import fit_or_load_all
from lficam.training.runs import load_run

ROWS = [[[0, 2], [4, 8]], [[3, 3], [3, 3]], [[5, 5], [1, 5]]]
NORMALISED = torch.tensor([[[[0, 0.25], [0.5, 1]]], [[[0, 0], [0, 0]]], [[[1, 1], [0, 1]]]])


def stored(file, content, ids=None):
    """A file of that name: an array as .npy, anything else as .pt; ids on lines beside it."""
    np.save(file, content) if file.suffix == ".npy" else torch.save(content, file)
    if ids:
        file.with_suffix(".txt").write_text("\n".join(ids))
    return file


def same_maps(found, expected_ids, expected):
    ids, maps = found
    assert ids == expected_ids
    assert (maps.dtype, maps.device.type) == (torch.float32, "cpu")
    assert torch.equal(maps, expected)


# --- one file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", ">f4", "uint8", "int64", "uint16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_any_numbers_is_min_max_normalised(kind, order, tmp_path):
    array = np.array(ROWS, kind, order=order)
    same_maps(load_maps(stored(tmp_path / "a.npy", array)), None, NORMALISED)
    same_maps(load_maps(stored(tmp_path / "a.npy", array[:, None])), None, NORMALISED)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16, torch.uint8])
def test_a_tensor_with_and_without_ids(kind, tmp_path):
    tensor = torch.tensor(ROWS).to(kind)
    same_maps(load_maps(stored(tmp_path / "a.pt", tensor)), None, NORMALISED)
    same_maps(load_maps(stored(tmp_path / "a.pt", tensor[:, None])), None, NORMALISED)
    same_maps(load_maps(stored(tmp_path / "a.PT", {"ids": ["x", "y", "z"], "maps": tensor})), ["x", "y", "z"], NORMALISED)


def test_a_parameter_is_a_tensor(tmp_path):
    same_maps(load_maps(stored(tmp_path / "a.pt", nn.Parameter(torch.tensor(ROWS).float()))), None, NORMALISED)


def test_maps_of_two_levels(tmp_path):
    same_maps(load_maps(stored(tmp_path / "a.npy", np.array([[[True, False]]]))), None, torch.tensor([[[[1.0, 0.0]]]]))


def test_no_range_is_too_large_or_too_small(tmp_path):
    large = np.array([[[-3e38, 0, 3e38]], [[0, 1e-30, 2e-30]]], np.float32)
    assert load_maps(stored(tmp_path / "a.npy", large))[1].flatten(1).tolist() == [[0, 0.5, 1]] * 2
    beyond_32_bits = np.array([[[0, 1e300, 2e300]], [[1e9, 1e9 + 1, 1e9 + 2]]])
    assert load_maps(stored(tmp_path / "b.npy", beyond_32_bits))[1].flatten(1).tolist() == [[0, 0.5, 1]] * 2


def test_many_maps_stay_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("lficam.cli.maps.CHUNK", 2)
    maps = np.random.default_rng(0).normal(size=(7, 3, 5))
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    expected = torch.from_numpy((maps - low) / (high - low)).float()[:, None]
    assert torch.equal(load_maps(stored(tmp_path / "a.npy", maps))[1], expected)
    maps[5, 1, 1] = np.nan
    with pytest.raises(InputError, match=r"map 5 of .*a\.npy holds NaN or infinity"):
        load_maps(stored(tmp_path / "a.npy", maps))


@pytest.mark.parametrize("text", [b"x\ny\nz", b"x\ny\nz\n\n", b"x\r\ny\r\nz\r\n", b"\xef\xbb\xbfx\ny\nz\n"])
@pytest.mark.parametrize("suffix", ["npy", "pt"])
def test_ids_may_lie_beside_the_file(text, suffix, tmp_path):
    file = stored(tmp_path / f"a.{suffix}", np.array(ROWS) if suffix == "npy" else torch.tensor(ROWS))
    (tmp_path / "a.txt").write_bytes(text)
    same_maps(load_maps(file), ["x", "y", "z"], NORMALISED)


def test_the_ids_inside_the_file_count(tmp_path):
    file = stored(tmp_path / "a.pt", {"ids": ["x", "y", "z"], "maps": torch.tensor(ROWS)}, ids=["1", "2"])
    same_maps(load_maps(file), ["x", "y", "z"], NORMALISED)


GOOD = torch.tensor(ROWS)
NOT_FINITE = np.array([[[0.0, 1.0]], [[1.0, np.inf]]])
REFUSED = {
    "two axes": ("a.npy", np.zeros((3, 4)), r"holds \(3, 4\): expected \(N, u, v\) or \(N, 1, u, v\)"),
    "five axes": ("a.npy", np.zeros((3, 1, 1, 4, 4)), r"holds \(3, 1, 1, 4, 4\)"),
    "colours": ("a.npy", np.zeros((2, 3, 4, 4)), r"holds \(2, 3, 4, 4\)"),
    "no maps": ("a.npy", np.zeros((0, 4, 4)), r"holds \(0, 1, 4, 4\)"),
    "no pixels": ("a.npy", np.zeros((2, 0, 4)), r"holds \(2, 1, 0, 4\)"),
    "NaN": ("a.npy", np.array([[[0.0, np.nan]]]), "map 0 of .* holds NaN or infinity"),
    "infinity": ("a.npy", NOT_FINITE, "map 1 of .* holds NaN or infinity"),
    "objects": ("a.npy", np.array([[[1, None]]]), r"cannot read .* \(ValueError\)"),
    "text": ("a.npy", np.array([[["1", "2"]]]), r"cannot read .* \(TypeError\)"),
    "complex": ("a.npy", np.zeros((1, 2, 2), complex), "complex128.*expected a plain tensor of real numbers"),
    "complex tensor": ("a.pt", torch.zeros(1, 2, 2, dtype=torch.complex64), "complex64.*real numbers"),
    "sparse": ("a.pt", GOOD.float().to_sparse(), "sparse.*expected a plain tensor"),
    "a list": ("a.pt", [1, 2], "holds a list: expected a tensor, or"),
    "a model": ("a.pt", nn.Linear(1, 1), r"cannot read .* \(UnpicklingError\)"),
    "state": ("a.pt", {"weight": GOOD}, "holds a dict: expected a tensor, or"),
    "no ids": ("a.pt", {"maps": GOOD}, "holds a dict: expected a tensor, or"),
    "maps as lists": ("a.pt", {"ids": ["x"], "maps": ROWS}, "holds a dict: expected a tensor, or"),
    "numbers as ids": ("a.pt", {"ids": [1, 2, 3], "maps": GOOD}, "the ids in .* are no list of text"),
    "a text as ids": ("a.pt", {"ids": "xyz", "maps": GOOD}, "the ids in .* are no list of text"),
    "few ids": ("a.pt", {"ids": ["x", "y"], "maps": GOOD}, "has 2 ids, 2 of them different, for 3 maps"),
    "an id twice": ("a.pt", {"ids": ["x", "y", "x"], "maps": GOOD}, "has 3 ids, 2 of them different, for 3 maps"),
}


@pytest.mark.filterwarnings("ignore:.*[Ss]parse")  # torch's, on saving and loading one
@pytest.mark.parametrize("fault", REFUSED)
def test_what_holds_no_maps_is_refused_in_one_line(fault, tmp_path):
    name, content, words = REFUSED[fault]
    file = stored(tmp_path / name, content)
    with pytest.raises(InputError, match=words) as raised:
        load_maps(file)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_ids_beside_the_file_are_checked(tmp_path):
    file = stored(tmp_path / "a.npy", np.array(ROWS), ids=["x", "y"])
    with pytest.raises(InputError, match=r"a\.txt has 2 ids, 2 of them different, for 3 maps"):
        load_maps(file)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(InputError, match=r"a\.txt is no text: expected the ids of a\.npy, one a line"):
        load_maps(file)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match=r"no file .*: check the path"):
        load_maps(tmp_path / "a.npy")
    (tmp_path / "b.npy").mkdir()
    with pytest.raises(InputError, match=r"no file .*: check the path"):
        load_maps(tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", np.array(ROWS))
    with pytest.raises(InputError, match=r"c\.npz is neither \.npy nor \.pt"):
        load_maps(tmp_path / "c.npz")
    (tmp_path / "c.npz").rename(tmp_path / "d.npy")
    with pytest.raises(InputError, match=r"cannot read .*d\.npy"):
        load_maps(tmp_path / "d.npy")


def serialised(kind):
    opened = io.BytesIO()
    if kind == "npy":
        np.save(opened, np.array(ROWS, float))
    else:
        torch.save({"ids": ["x", "y", "z"], "maps": GOOD}, opened, _use_new_zipfile_serialization=kind == "zip")
    return opened.getvalue()


@pytest.mark.filterwarnings("ignore")  # of numpy and torch, about what is damaged
@pytest.mark.parametrize("kind", ["npy", "zip", "pickle"])
def test_a_damaged_file_is_one_line_wherever_the_damage_is(kind, tmp_path):
    whole, dice, refused = serialised(kind), random.Random(0), []
    file = tmp_path / ("a.npy" if kind == "npy" else "a.pt")
    for attempt in range(400):
        content = bytearray(whole)
        if attempt % 4 == 0:
            del content[dice.randrange(len(content)) :]
        for _ in range(attempt % 4):
            content[dice.randrange(128 if kind == "npy" else len(content))] = dice.randrange(256)
        file.write_bytes(content)
        try:
            load_maps(file)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 200
    assert not [message for message in refused if "\n" in message]


# --- several files --------------------------------------------------------------------------------------------------

A, B, C = [[[1, 1], [0, 0]]], [[[0, 1], [0, 1]]], [[[0, 0], [0, 1]]]


def iou(collected):
    values = pairwise_stability(collected.maps, collected.size, metrics=["iou"])
    return dict(zip(values["id"], values["value"], strict=True))


def test_maps_are_paired_by_id(tmp_path):
    a = stored(tmp_path / "a.npy", np.array(A + B + C, float), ids=["one", "two", "three"])
    b = stored(tmp_path / "b.pt", {"ids": ["three", "one", "two"], "maps": torch.tensor(A + B + C, dtype=torch.float)})
    collected = collect_maps([str(a), str(b)])
    assert list(collected.maps) == [str(a), str(b)]
    assert (collected.size, collected.sources, collected.note) == ((2, 2), ["one", "two", "three"], "")
    # one: A and B share one of three; two: B and C one of two; three: C and A nothing
    assert iou(collected) == pytest.approx({"one": 1 / 3, "two": 1 / 2, "three": 0})


def test_without_ids_maps_are_in_the_order_of_the_first_that_has_them(tmp_path):
    plain = stored(tmp_path / "plain.npy", np.array(A + B + C))
    named = stored(tmp_path / "named.npy", np.array(B + C + A), ids=["z", "y", "x"])
    later = stored(tmp_path / "later.npy", np.array(A + C + B), ids=["x", "y", "z"])
    collected = collect_maps([str(plain), str(named), str(later)])
    assert [ids for ids, _ in collected.maps.values()] == [["z", "y", "x"], ["z", "y", "x"], ["x", "y", "z"]]
    assert collected.sources == ["z", "y", "x"]
    assert collected.note == f"maps without ids are paired by position like the ids of {named}: {plain}"


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_some_images_are_the_same_ones_of_every_model(count, tmp_path):
    one = stored(tmp_path / "one.npy", np.array(ROWS, float), ["x", "y", "z"])
    two = stored(tmp_path / "two.npy", np.array(ROWS, float)[::-1].copy(), ["z", "y", "x"])
    some = collect_maps([str(one), str(two)], images=count)
    (ids, cams), (other_ids, other_cams) = some.maps.values()
    assert len(set(ids)) == len(some.sources) == min(count, 3)
    found, other = dict(zip(ids, cams, strict=True)), dict(zip(other_ids, other_cams, strict=True))
    assert found.keys() == other.keys()
    for id in ids:
        assert torch.equal(found[id], other[id])
        assert torch.equal(found[id], NORMALISED["xyz".index(id)])


def test_where_nothing_has_ids_all_are_paired_by_position(tmp_path):
    a, b = stored(tmp_path / "a.npy", np.array(A + B)), stored(tmp_path / "b.pt", torch.tensor(B + C))
    collected = collect_maps([str(a), str(b)])
    assert iou(collected) == pytest.approx({"0": 1 / 3, "1": 1 / 2})
    assert collected.note == f"maps without ids are paired by position: {a}, {b}"


def test_maps_of_different_size_need_one_to_be_compared_at(tmp_path):
    a, b = stored(tmp_path / "a.npy", np.eye(4)[None]), stored(tmp_path / "b.npy", np.ones((1, 2, 6)))
    with pytest.raises(InputError, match=r"a\.npy and .*b\.npy have maps of \(4, 4\) and \(2, 6\) pixels: give the size"):
        collect_maps([str(a), str(b)])
    assert collect_maps([str(a), str(b)], size=16).size == (16, 16)
    wide = stored(tmp_path / "wide.npy", np.ones((1, 2, 6)))
    assert collect_maps([str(wide), str(b)]).size == (2, 6)


def test_what_cannot_be_compared_is_refused(tmp_path):
    a, b = str(stored(tmp_path / "a.npy", np.array(A + B))), str(stored(tmp_path / "b.npy", np.array(A)))
    with pytest.raises(InputError, match=r"b\.npy has 1 maps without ids, .*a\.npy has 2 images.*b\.txt beside it"):
        collect_maps([a, b])
    for names in ([a], [a, a], []):
        with pytest.raises(InputError, match="expected two or more different models or files with maps"):
            collect_maps(names)
    with pytest.raises(InputError, match="is for models to explain"):
        collect_maps([a, b], folder=tmp_path)
    with pytest.raises(InputError, match="no run 'nothing'"):
        collect_maps([a, "nothing"])
    with pytest.raises(InputError, match=r"maps\.npz"):
        collect_maps([a, str(tmp_path / "maps.npz")])


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two models for ten digits each of a stand-in for STL10, and one of that for Cat&Dog."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LFICAM_RUNS", str(tmp_path_factory.mktemp("runs")))
        for name in ("digits-stl10", "digits-catdog"):
            patch.setitem(RECIPES, name, RECIPES[name]._replace(train=24, test=10))
        shared = {"trunk": "cifar_resnet8", "epochs": 1, "batch_size": 8}
        configs = [RunConfig(dataset="digits-stl10", seed=seed, **shared) for seed in (0, 1)]
        yield fit_or_load_all([*configs, RunConfig(dataset="digits-catdog", **shared)])


@pytest.fixture
def pictures(tmp_path):
    """Five images at several depths, and what is none."""
    for number, name in enumerate(("b/2.png", "b/1.png", "a.JPG", "c/d/e/3.bmp", "c/4.gif")):
        write_image(tmp_path / "pictures" / name, (40 * number, 200, 250 - 40 * number))
    for name in ("b/.hidden.png", ".cache/5.png"):
        write_image(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / "notes.txt").write_text("none")
    return tmp_path / "pictures"


IDS = ["a.JPG", "b/1.png", "b/2.png", "c/4.gif", "c/d/e/3.bmp"]


def test_runs_bring_the_maps_and_the_sources_of_their_test_images(runs, tmp_path):
    a, b, _ = runs
    ids = list(a.explained.ids)
    plain = stored(tmp_path / "plain.npy", b.explained.cam.numpy())
    named = stored(tmp_path / "named.pt", {"ids": ids[::-1], "maps": b.explained.cam.flip(0)})
    collected = collect_maps([str(named), a.id, b.id, str(plain)])
    assert list(collected.maps) == [str(named), a.id, b.id, str(plain)]
    assert collected.size == (a.config.image_size,) * 2
    assert collected.sources == a.sources()[::-1]  # those of the first argument's ids
    assert collected.sources == [id.split("/")[2].split("-")[0] for id in ids[::-1]]
    assert collected.maps[a.id][0] == ids
    assert torch.equal(collected.maps[a.id][1], a.explained.cam)
    assert collected.maps[str(plain)][0] == ids[::-1]
    assert collect_maps([a.id, str(plain)]).maps[str(plain)][0] == ids


def test_runs_explain_the_images_of_a_folder(runs, pictures):
    a, _, other = runs
    collected = collect_maps([a.id, other.id], folder=pictures, size=20)
    assert (collected.size, collected.sources) == ((20, 20), IDS)
    for run in (a, other):
        crops = read_images(list_images(pictures), run.metadata).images.float() / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (run.mean, run.std))
        ids, cams = collected.maps[run.id]
        assert ids == IDS
        assert torch.allclose(cams, run.model.explain((crops - mean) / std).cam, atol=1e-5)


def test_runs_that_do_not_see_the_same_are_refused(runs, pictures, monkeypatch):
    a, b, other = runs
    with pytest.raises(InputError, match="test different images: compare runs of the same data"):
        collect_maps([a.id, other.id])
    real = load_run

    def with_centre(id):
        run = real(id)
        changed = run.config.model_copy(update={"augmentation": "resized-crop-flip"} if id == b.id else {})
        run.__dict__["config"] = changed
        return run

    monkeypatch.setattr("lficam.cli.maps.load_trained", with_centre)
    with pytest.raises(InputError, match="look at all and the centre of an image"):
        collect_maps([a.id, b.id], folder=pictures)


def test_a_folder_without_images_is_refused(runs, tmp_path):
    names = [run.id for run in runs[:2]]
    with pytest.raises(InputError, match=r"no folder .*nowhere"):
        collect_maps(names, folder=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no images in .*: expected files that end in"):
        collect_maps(names, folder=tmp_path)
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(InputError, match=r"cannot read the image .*a\.png"):
        collect_maps(names, folder=tmp_path)


def test_images_are_found_at_any_depth_in_the_order_of_their_paths(pictures):
    assert list(list_images(pictures)) == IDS
    assert list_images(pictures)["b/1.png"] == pictures / "b" / "1.png"
