import numpy as np
import pandas as pd
import pytest
import torch
from helpers import write_image
from PIL import Image

from lficam.cli import evaluate
from lficam.cli.evaluate import compare_maps, evaluate_model
from lficam.data.digits import RECIPES
from lficam.data.samples import shuffled
from lficam.errors import InputError
from lficam.metrics.baselines import BASELINES, baseline_maps, random_maps
from lficam.metrics.faithfulness import faithfulness
from lficam.metrics.intervals import interval, pair_interval
from lficam.metrics.localisation import localisation
from lficam.metrics.stability import pair_matrix
from lficam.training.config import RunConfig
from lficam.training.fit import fit_or_load_all

A, B, C = [[[1, 1], [0, 0]]], [[[0, 1], [0, 1]]], [[[0, 0], [0, 1]]]


def maps(*cams):
    return torch.tensor(cams, dtype=torch.float32)


def random_cams(count, u, v, seed):
    return torch.rand(count, 1, u, v, generator=torch.Generator().manual_seed(seed))


# --- models beside each other ---------------------------------------------------------------------------------------


def test_iou_worked_by_hand():
    ids = ["one", "two"]
    found = compare_maps({"a": (ids, maps(A, B)), "b": (ids, maps(B, C)), "c": (ids, maps(C, A))}, (2, 2), ids)
    # one: AB 1/3, AC 0, BC 1/2; two: BC 1/2, BA 1/3, CA 0
    assert found.pairs[["a", "b", "iou"]].values.tolist() == [
        ["a", "b", pytest.approx((1 / 3 + 1 / 2) / 2)],
        ["a", "c", pytest.approx((0 + 1 / 3) / 2)],
        ["b", "c", pytest.approx((1 / 2 + 0) / 2)],
    ]
    (row,) = found.metrics[found.metrics["metric"] == "iou"].to_dict("records")
    assert row["images_and_models"] == row["images_alone"] == pytest.approx((1 / 3 + 0 + 1 / 2) * 2 / 6)
    # where there are two images, each is the other's only partner: A and B, B and C, C and A
    assert found.free["different images"].tolist() == pytest.approx([1 / 3, 1 / 2, 0])
    assert found.free["maps"].tolist() == ["a", "b", "c"]


def test_the_same_maps_are_alike_everywhere():
    ids, cams = list("abcde"), random_cams(5, 7, 7, 0)
    found = compare_maps({"a": (ids, cams), "b": (ids, cams.clone())}, (28, 28), ids)
    assert found.metrics["metric"].tolist() == ["iou", "iou_published", "ssim", "spearman", "top_overlap"]
    assert found.values["value"].to_numpy() == pytest.approx(1, abs=1e-5)
    assert found.pairs["iou"].tolist() == [1]
    assert (found.free["different images"] < 1).all()


def test_the_order_of_the_ids_changes_nothing():
    ids, order = list("abcdefgh"), [3, 1, 7, 0, 2, 6, 5, 4]
    a, b = random_cams(8, 5, 5, 0), random_cams(8, 5, 5, 1)
    sources = list("uuvvwwxx")
    found = compare_maps({"a": (ids, a), "b": (ids, b)}, (12, 12), sources)
    again = compare_maps({"a": (ids, a), "b": ([ids[i] for i in order], b[order])}, (12, 12), sources)
    for table, other in zip(found, again, strict=True):
        pd.testing.assert_frame_equal(table, other)


def test_intervals_are_those_of_the_images_by_source():
    ids, sources = [str(i) for i in range(12)], [str(i // 3) for i in range(12)]
    given = {name: (ids, random_cams(12, 6, 6, seed)) for seed, name in enumerate("abcd")}
    found = compare_maps(given, (14, 14), sources)
    for row in found.metrics.to_dict("records"):
        matrix = pair_matrix(found.values, row["metric"])
        for column, over in (("images_and_models", "images and models"), ("images_alone", "images")):
            expected = pair_interval(matrix, sources, over=over)
            assert (row[column], row[f"{column}_low"], row[f"{column}_high"]) == expected[:3]
        values = found.values.loc[found.values["metric"] == row["metric"], "value"]
        assert row["images_alone"] == pytest.approx(values.mean())
    first = found.values.query("a == 'a' and b == 'b' and metric == 'iou'")["value"]
    assert tuple(found.pairs.loc[0, ["iou", "iou_low", "iou_high"]]) == interval(torch.tensor(first.tolist()), sources)[:3]


def test_two_models_do_not_say_what_others_would_give():
    ids = ["x", "y"]
    found = compare_maps({"a": (ids, maps(A, B)), "b": (ids, maps(B, C))}, (2, 2), ids)
    assert list(found.metrics) == ["metric", "images_alone", "images_alone_low", "images_alone_high"]


@pytest.mark.parametrize(("size", "with_ssim"), [((10, 30), False), ((11, 11), True)])
def test_ssim_is_left_out_where_its_window_does_not_fit(size, with_ssim):
    ids = ["x", "y"]
    found = compare_maps({"a": (ids, maps(A, B)), "b": (ids, maps(B, C))}, size, ids)
    assert ("ssim" in found.metrics["metric"].tolist()) is with_ssim


def test_other_images_are_refused():
    with pytest.raises(InputError, match="'b' and 'a' differ in 2 ids"):
        compare_maps({"a": (["x", "y"], maps(A, B)), "b": (["x", "z"], maps(A, B))}, (2, 2), ["x", "y"])


# --- maps beside their model ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An LFI-CAM, one without FIN and an ABN, for twelve digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LFICAM_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setitem(RECIPES, "digits-stl10", RECIPES["digits-stl10"]._replace(train=24, test=12))
        shared = {"dataset": "digits-stl10", "trunk": "cifar_resnet8", "epochs": 1, "batch_size": 8}
        yield fit_or_load_all([RunConfig(method=method, **shared) for method in ("lfi-cam", "lfi-cam-without-fin", "abn")])


@pytest.fixture
def pictures(runs, tmp_path):
    """Five images of the size that the network takes, and their pixels (5, 3, h, w) in [0, 1]."""
    side = runs[0].config.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), np.uint8)
    for i, image in enumerate(pixels):
        write_image(tmp_path / "pictures" / f"{'ab'[i // 3]}" / f"{i}.png", Image.fromarray(image))
    return tmp_path / "pictures", torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255


PICTURE_IDS = ["a/0.png", "a/1.png", "a/2.png", "b/3.png", "b/4.png"]


def measured(evaluation):
    """Map -> metric -> (ids, values)."""
    return {
        name: {metric: (rows["id"].tolist(), rows["value"].tolist()) for metric, rows in part.groupby("metric", sort=False)}
        for name, part in evaluation.values.groupby("map", sort=False)
    }


CLOSE = 1e-3  # two pixels of nearly the same value may change places


def check(evaluation, model, images, classes, masks, ids, cams):
    found = measured(evaluation)
    assert list(found) == list(cams)
    for name, cam in cams.items():
        expected = faithfulness(model, images, cam, classes) | localisation(cam, masks)
        assert list(found[name]) == list(expected)
        for metric, values in expected.items():
            assert found[name][metric][0] == list(ids)
            assert found[name][metric][1] == pytest.approx(values.tolist(), abs=CLOSE), (name, metric)


def baselines(model, images, classes):
    return {name: baseline_maps(name, model, images, classes) for name in BASELINES}


@pytest.mark.parametrize(("which", "batch"), [(0, 2), (1, 64), (2, 3)], ids=["LFI-CAM", "without FIN", "ABN"])
def test_the_numbers_are_those_of_the_metrics(which, batch, runs, monkeypatch):
    monkeypatch.setattr(evaluate, "BATCH", batch)
    run = runs[which]
    index = shuffled(len(run.dataset.test))[:5]
    images, cams = run.inputs(index), run.explained.cam[index]
    classes = run.explained.probabilities[index].argmax(1)
    judged = {"own map": cams, "random map": random_maps(5, cams.shape[-1], run.config.seed)}
    if which < 2:
        judged |= baselines(run.model, images, classes)
    evaluation = evaluate_model(run, images=5)
    ids = [run.dataset.test.ids[i] for i in index]
    check(evaluation, run.model, images, classes, run.dataset.test.objects[index], ids, judged)
    labels = dict(zip(ids, (run.classes[label] for label in classes), strict=True))
    assert (evaluation.values["class"] == evaluation.values["id"].map(labels)).all()
    assert evaluation.note == ""


def test_means_are_those_of_the_values_with_their_intervals(runs):
    run = runs[2]
    evaluation = evaluate_model(run, images=6)
    sources = run.sources(shuffled(len(run.dataset.test))[:6])
    assert list(evaluation.values) == ["map", "id", "class", "metric", "value"]
    for row in evaluation.means.to_dict("records"):
        values = torch.tensor(measured(evaluation)[row["map"]][row["metric"]][1])
        assert (row["mean"], row["mean_low"], row["mean_high"]) == pytest.approx(interval(values, sources)[:3])
        assert row["mean"] == pytest.approx(values.mean().item(), abs=1e-6)
    better = dict(zip(evaluation.means["metric"], evaluation.means["better"], strict=True))
    assert {metric for metric, direction in better.items() if direction == "lower"} == {"deletion", "average_drop"}
    assert set(better) == {"insertion", "deletion", "average_drop", "increase", "pointing", "energy"}
    assert set(better.values()) == {"higher", "lower"}


def test_images_of_one_source_are_resampled_together(runs, monkeypatch):
    run = runs[2]
    apart = evaluate_model(run, images=6).means
    monkeypatch.setattr(type(run), "sources", lambda self, index: [str(i // 2) for i in range(len(index))])
    together = evaluate_model(run, images=6).means
    assert (apart["mean"] == together["mean"]).all()
    assert (apart["mean_low"] != together["mean_low"]).any()


def test_more_images_than_there_are_means_all(runs):
    assert sorted(evaluate_model(runs[2], images=1000).values["id"].unique()) == sorted(runs[2].dataset.test.ids)


def test_all_images_of_a_folder(runs, pictures):
    run, (folder, pixels) = runs[0], pictures
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (run.mean, run.std))
    images = (pixels - mean) / std
    with torch.no_grad():
        e = run.model.explain(images)
    classes = e.logits.argmax(1)
    judged = {"own map": e.cam, "random map": random_maps(5, e.cam.shape[-1], run.config.seed)}
    evaluation = evaluate_model(run, images=2, folder=folder)
    check(evaluation, run.model, images, classes, None, PICTURE_IDS, judged | baselines(run.model, images, classes))


def test_maps_of_a_file_are_paired_by_id(runs, tmp_path):
    run = runs[0]
    index = shuffled(len(run.dataset.test))[:4]
    ids, cams = [run.dataset.test.ids[i] for i in index], random_cams(4, 9, 6, 0)
    order = [2, 0, 3, 1]
    torch.save({"ids": ["other", *(ids[i] for i in order)], "maps": torch.cat([cams[:1], cams[order]])}, tmp_path / "mine.pt")
    evaluation = evaluate_model(run, images=4, maps=tmp_path / "mine.pt")
    assert list(measured(evaluation)) == ["own map", "mine", "random map", *BASELINES]
    assert evaluation.note == ""
    expected = faithfulness(run.model, run.inputs(index), cams, run.explained.probabilities[index].argmax(1))
    for metric, values in expected.items():
        assert measured(evaluation)["mine"][metric] == (ids, pytest.approx(values.tolist(), abs=CLOSE))


def test_maps_without_ids_are_those_of_all_test_images_in_order(runs, tmp_path):
    run, file = runs[0], tmp_path / "again.npy"
    np.save(file, run.explained.cam.numpy() * 255 - 7)  # the model's own
    evaluation = evaluate_model(run, images=4, maps=file)
    found = measured(evaluation)
    for metric, (ids, values) in found["own map"].items():
        assert found["again"][metric] == (ids, pytest.approx(values, abs=0.02))
    assert max(abs(a - b) for a, b in zip(found["again"]["energy"][1], found["random map"]["energy"][1], strict=True)) > 0.02
    assert evaluation.note == f"maps without ids are paired by position: {file}"
    np.save(file, run.explained.cam[:4])
    with pytest.raises(InputError, match=r"again\.npy has 4 maps without ids, the model has 12 images"):
        evaluate_model(run, images=4, maps=file)


def test_maps_of_a_folder_without_ids(runs, pictures, tmp_path):
    run, (folder, pixels) = runs[2], pictures
    cams = random_cams(5, 4, 4, 0)
    np.save(tmp_path / "mine.npy", cams)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (run.mean, run.std))
    images = (pixels - mean) / std
    expected = faithfulness(run.model, images, cams, run.model(images).argmax(1))
    found = measured(evaluate_model(run, folder=folder, maps=tmp_path / "mine.npy"))
    assert list(found) == ["own map", "mine", "random map"]
    for metric, values in expected.items():
        assert found["mine"][metric] == (PICTURE_IDS, pytest.approx(values.tolist(), abs=CLOSE))


def test_a_file_that_does_not_fit_is_refused(runs, tmp_path):
    torch.save({"ids": ["x"], "maps": torch.rand(1, 2, 2)}, tmp_path / "mine.pt")
    with pytest.raises(InputError, match=r"mine\.pt has no map of 3 of 3 images, such as 'test/"):
        evaluate_model(runs[2], images=3, maps=tmp_path / "mine.pt")
    (tmp_path / "mine.pt").rename(tmp_path / "Grad-CAM.pt")
    with pytest.raises(InputError, match="would have the name of another map, 'Grad-CAM'"):
        evaluate_model(runs[2], images=3, maps=tmp_path / "Grad-CAM.pt")
