"""Planted truths: methods whose maps are made by hand, under five settings."""

from dataclasses import replace

import pytest
import torch
from helpers import untrained_run

from lficam.figures.chance import THRESHOLDS, chance_figure
from lficam.figures.experiments import experiment
from lficam.metrics.similarity import iou
from lficam.metrics.stability import centred_blob, pairwise_stability
from lficam.model.cam import resize_map
from lficam.training.explain import Explained

CELLS, IMAGES = 7, 30
PLACES = torch.arange(IMAGES) % 25  # of a bright square: the same by every model


def squares(places):
    """Maps (N, 1, 7, 7) with a bright square of 2 x 2 cells each, far enough apart to be told."""
    cams = torch.zeros(len(places), 1, CELLS, CELLS)
    for cam, place in zip(cams, places.tolist(), strict=True):
        row, column = divmod(place, 5)
        cam[0, row : row + 2, column : column + 2] = 1
    return cams


def about_the_image():
    return squares(PLACES)


def one_map_everywhere():
    return squares(torch.full((IMAGES,), 12))


def one_for_each(k):
    """Each model has one map everywhere, another one than the other models."""
    return squares(torch.full((IMAGES,), 6 * k))


def by_chance(k):
    return squares((PLACES * (k + 2) + 7 * k) % 25)


def runs_of(method, cams_of, accuracies=(0.8,) * 5, **varied):
    runs = []
    for k, accuracy in enumerate(accuracies):
        run = untrained_run(method, images=IMAGES, accuracy=accuracy, **{name: values[k] for name, values in varied.items()})
        cams = cams_of(k)
        run.__dict__["explained"] = Explained(run.dataset.test.ids, torch.full((IMAGES, 10), 0.1), cams, cams, None)
        runs.append(run)
    return runs


def measured(abn, lfi_cam, name="extra1", **options):
    plan, maps = experiment(name), {"abn": abn, "lfi-cam": lfi_cam, "lfi-cam-without-fin": by_chance, "plain": one_for_each}
    return chance_figure(plan, [run for method in plan.methods for run in runs_of(method, maps[method], **options)])


def outcomes(result):
    return {verdict.claim: verdict.outcome for verdict in result.verdicts}


def row(result, compared, models="all"):
    (found,) = result.table.query("compared == @compared and models == @models").to_dict("records")
    return found


def test_stable_maps_about_their_image_against_maps_by_chance():
    result = measured(by_chance, lambda k: about_the_image())
    assert outcomes(result) == {"E1": "supported", "E3": "supported"}
    ours = row(result, "LFI-CAM: same image")
    for metric in ("iou", "iou_low", "iou_high", "ssim", "spearman", "top_overlap", "iou_equal_map_size", "iou_of_these_models"):
        assert ours[metric] == pytest.approx(1)
    assert row(result, "LFI-CAM: different images")["iou_high"] < 0.5


def test_one_map_everywhere_is_stable_and_fails_the_null_line():
    result = measured(by_chance, lambda k: one_map_everywhere())
    assert row(result, "LFI-CAM: same image")["iou"] == pytest.approx(1)
    assert row(result, "LFI-CAM: different images")["iou"] == pytest.approx(1)
    assert outcomes(result) == {"E1": "supported", "E3": "not supported"}


def test_the_verdicts_flip_with_the_methods():
    result = measured(lambda k: about_the_image(), by_chance)
    assert outcomes(result)["E1"] == "not supported"
    flipped = measured(by_chance, lambda k: about_the_image())
    ours, theirs = (row(each, "LFI-CAM - ABN: same image")["iou"] for each in (flipped, result))
    assert ours == pytest.approx(-theirs)
    assert ours > 0


def test_methods_that_are_equally_stable_do_not_differ():
    result = measured(lambda k: about_the_image(), lambda k: about_the_image())
    assert row(result, "LFI-CAM - ABN: same image")["iou_high"] == 0
    assert outcomes(result)["E1"] == "not supported"  # it says "more alike"


def test_means_are_those_of_all_pairs_and_of_the_similar_ones():
    accuracies = (0.8, 0.7, 0.79, 0.7, 0.78)  # the first, third and fifth are within three points
    result = measured(by_chance, lambda k: about_the_image(), accuracies=accuracies)
    ids, size = [str(i) for i in range(IMAGES)], (28, 28)
    for models, chosen in (("all", range(5)), ("similar accuracy", (0, 2, 4))):
        pairs = pairwise_stability({str(k): (ids, by_chance(k)) for k in chosen}, size)
        found = row(result, "ABN: same image", models)
        assert found["number"] == len(chosen)
        for metric, values in pairs.groupby("metric")["value"]:
            assert found[metric] == pytest.approx(values.mean())


def test_fewer_than_two_similar_models_leave_the_row_empty():
    result = measured(by_chance, by_chance, accuracies=(0.9, 0.1, 0.2, 0.3, 0.4))
    found = row(result, "ABN: same image", "similar accuracy")
    assert found["number"] == 1
    assert found["iou"] != found["iou"]  # NaN


def test_a_plain_network_stands_beside_them_and_is_not_judged():
    result = measured(by_chance, lambda k: about_the_image())
    assert row(result, "plain network (CAM): different images")["iou"] == pytest.approx(1)
    squares_apart = {str(k): (["one"], one_for_each(k)[:1]) for k in range(5)}
    expected = pairwise_stability(squares_apart, (28, 28), metrics=["iou"])["value"].mean()
    assert row(result, "plain network (CAM): same image")["iou"] == pytest.approx(expected)
    assert outcomes(result) == {"E1": "supported", "E3": "supported"}


def test_the_table_and_the_picture_say_what_models_share():
    result = measured(by_chance, lambda k: about_the_image())
    assert set(result.table["models_share"]) == {"initial weights"}
    assert "they share: initial weights" in result.drawing.footnote
    assert set(measured(by_chance, by_chance, name="extra3", seed=range(5)).table["models_share"]) == {"nothing"}


def test_the_blob_is_compared_with_every_map():
    result = measured(by_chance, lambda k: about_the_image())
    maps = resize_map(about_the_image(), (28, 28))
    expected = iou(maps, centred_blob((28, 28)).expand_as(maps)).mean().item()
    assert row(result, "LFI-CAM: centred blob")["iou"] == pytest.approx(expected)


def test_untrained_networks_have_weights_of_their_own():
    runs = runs_of("abn", by_chance) + runs_of("lfi-cam", by_chance) + runs_of("plain", by_chance)
    result = chance_figure(experiment("extra1"), runs)
    index = experiment("extra1").judged_images(runs[0].dataset)
    images, maps = runs[5].inputs(index), {}
    for k in range(5):  # the settings all have seed 0, their untrained networks five different ones
        with torch.no_grad():
            maps[str(k)] = (index, runs[5].untrained(k).explain(images).cam)
    assert not torch.equal(maps["0"][1], maps["1"][1])
    expected = pairwise_stability(maps, (28, 28), metrics=["iou"])["value"].mean()
    assert row(result, "LFI-CAM: untrained")["iou"] == pytest.approx(expected, abs=1e-5)


def test_curves_pass_through_what_a_threshold_gives():
    result = measured(by_chance, lambda k: about_the_image())
    curves = result.drawing.panels[1].lines
    ids = [str(i) for i in range(IMAGES)]
    pairs = pairwise_stability({str(k): (ids, by_chance(k)) for k in range(5)}, (28, 28), 0.7, metrics=["iou"])
    assert curves["ABN, same image"][THRESHOLDS.index(0.7)] == pytest.approx(pairs["value"].mean())
    assert curves["LFI-CAM, same image"] == pytest.approx([1.0] * len(THRESHOLDS))


def test_seeds_are_judged_by_a_question_of_their_own():
    result = measured(by_chance, lambda k: about_the_image(), name="extra3", seed=range(5))
    assert list(outcomes(result)) == ["E2"]
    assert "5 seeds of each method" in result.drawing.footnote


def test_images_too_small_for_ssim_are_compared_without_it():
    plan, small = experiment("extra1"), []
    for run in [run for method in plan.methods for run in runs_of(method, by_chance)]:
        small.append(replace(run, config=run.config.model_copy(update={"image_size": 8})))
        small[-1].__dict__.update({name: run.__dict__[name] for name in ("dataset", "explained")})
    result = chance_figure(plan, small)
    assert "ssim" not in result.table
    assert {"iou", "spearman"} <= set(result.table)
