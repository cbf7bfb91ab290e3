"""Planted truths: methods whose maps are made by hand, under five settings."""

import math
import re
from dataclasses import replace

import pytest
import torch
from helpers import plant_maps, untrained_run

from lficam.figures.chance import THRESHOLDS, chance_figure
from lficam.figures.experiments import experiment
from lficam.metrics.similarity import iou
from lficam.metrics.stability import centred_blob, pairwise_stability
from lficam.model.cam import resize_map

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


def runs_of(method, cams_of, accuracies=(0.8,) * 5, untrained=lambda k: by_chance(k), **varied):
    runs = []
    for k, accuracy in enumerate(accuracies):
        run = untrained_run(method, images=IMAGES, accuracy=accuracy, **{name: values[k] for name, values in varied.items()})
        plant_maps(run, cams_of(k), untrained(k))
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
    assert outcomes(result) == {"E1": "supported", "E3": "supported", "E10": "supported", "E11": "not supported"}
    ours = row(result, "LFI-CAM: same image")
    for metric in ("iou", "iou_low", "iou_high", "ssim", "spearman", "top_overlap", "iou_equal_map_size"):
        assert ours[metric] == pytest.approx(1)
    assert row(result, "LFI-CAM: different images")["iou_high"] < 0.5


def test_one_map_everywhere_is_stable_and_fails_the_null_line():
    result = measured(by_chance, lambda k: one_map_everywhere())
    assert row(result, "LFI-CAM: same image")["iou"] == pytest.approx(1)
    assert row(result, "LFI-CAM: different images")["iou"] == pytest.approx(1)
    assert (outcomes(result)["E1"], outcomes(result)["E3"]) == ("supported", "not supported")


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


def test_a_plain_network_stands_beside_them():
    result = measured(by_chance, lambda k: about_the_image())
    assert row(result, "plain network (CAM): different images")["iou"] == pytest.approx(1)
    squares_apart = {str(k): (["one"], one_for_each(k)[:1]) for k in range(5)}
    expected = pairwise_stability(squares_apart, (28, 28), metrics=["iou"])["value"].mean()
    assert row(result, "plain network (CAM): same image")["iou"] == pytest.approx(expected)


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


def test_where_settings_share_a_seed_untrained_networks_have_weights_of_their_own():
    runs = [run for method in ("abn", "lfi-cam-without-fin", "lfi-cam", "plain") for run in runs_of(method, by_chance)]
    result = chance_figure(experiment("extra1"), runs)
    (own,) = [[run for run in runs if run.config.method == "lfi-cam"]]
    images, maps = own[0].inputs(range(IMAGES)), {}
    for k in range(5):  # the settings all have seed 0, their untrained networks five different ones
        with torch.no_grad():
            levels = (own[k].untrained(k).explain(images).cam * 255).round()  # as maps of epochs are kept
            maps[str(k)] = (range(IMAGES), levels / 255)
    assert not torch.equal(maps["0"][1], maps["1"][1])
    expected = pairwise_stability(maps, (28, 28), metrics=["iou"])["value"].mean()
    assert row(result, "LFI-CAM: untrained")["iou"] == pytest.approx(expected, abs=1e-5)


def seeds(lfi_cam, plain, untrained_lfi_cam, untrained_plain, right=(0, 0)):
    """Extra figure 3; right: of how many images more than for the others the class is right, of LFI-CAM and plain networks."""
    plan, runs = experiment("extra3"), []
    for method in plan.methods:
        maps = {"lfi-cam": (lfi_cam, untrained_lfi_cam), "plain": (plain, untrained_plain)}
        trained, untrained = maps.get(method, (by_chance, by_chance))
        own = runs_of(method, trained, untrained=untrained, seed=range(5))
        for run in own:
            answers = run.kept.answers
            known = {"lfi-cam": right[0], "plain": right[1]}.get(method, 0)
            answers["predicted"] = [*answers["label"][:known], *["none of them"] * (IMAGES - known)]
            run.__dict__["kept"] = run.kept._replace(answers=answers.replace("none of them", run.classes[0]))
        runs += own
    return chance_figure(plan, runs)


def test_where_seeds_differ_untrained_networks_are_the_runs_before_their_first_epoch():
    result = seeds(lambda k: about_the_image(), by_chance, one_for_each, one_for_each)
    ids = [str(i) for i in range(IMAGES)]
    pairs = pairwise_stability({str(k): (ids, one_for_each(k)) for k in range(5)}, (28, 28), metrics=["iou"])
    assert row(result, "LFI-CAM: untrained")["iou"] == pytest.approx(pairs["value"].mean())
    gain = row(result, "LFI-CAM: trained - untrained")
    assert (gain["iou"], gain["images"]) == (pytest.approx(1 - pairs["value"].mean()), IMAGES)


@pytest.mark.parametrize(
    ("trained", "untrained", "outcome"),
    [
        (lambda k: about_the_image(), by_chance, "supported"),
        (by_chance, lambda k: about_the_image(), "not supported"),
        (lambda k: about_the_image(), lambda k: about_the_image(), "not supported"),  # no more alike than before
    ],
)
def test_training_makes_maps_more_alike_or_not(trained, untrained, outcome):
    assert outcomes(seeds(trained, by_chance, untrained, by_chance))["E9"] == outcome


def test_more_alike_than_a_plain_network_but_only_as_much_as_before_training():
    same = lambda k: about_the_image()  # noqa: E731
    earned = {verdict.claim: verdict for verdict in seeds(same, by_chance, by_chance, by_chance).verdicts}["E10"]
    given = {verdict.claim: verdict for verdict in seeds(same, by_chance, same, by_chance).verdicts}["E10"]
    assert earned.outcome == given.outcome == "supported"
    assert (earned.free.reached, given.free.reached) == (False, True)
    assert earned.words == "supported"
    assert given.words == "supported, but not shown to exceed untrained networks"
    assert given.free.excess[:3] == pytest.approx((0, 0, 0))
    assert outcomes(seeds(by_chance, same, same, by_chance))["E10"] == "not supported"


def test_it_classifies_better_or_not_paired_by_seed():
    assert outcomes(seeds(by_chance, by_chance, by_chance, by_chance, right=(25, 5)))["E11"] == "supported"
    assert outcomes(seeds(by_chance, by_chance, by_chance, by_chance, right=(5, 25)))["E11"] == "not supported"
    assert outcomes(seeds(by_chance, by_chance, by_chance, by_chance, right=(9, 9)))["E11"] == "not supported"


def test_curves_pass_through_what_a_threshold_gives():
    result = measured(by_chance, lambda k: about_the_image())
    curves = result.drawing.panels[1].lines
    ids = [str(i) for i in range(IMAGES)]
    pairs = pairwise_stability({str(k): (ids, by_chance(k)) for k in range(5)}, (28, 28), 0.7, metrics=["iou"])
    assert curves["ABN, same image"][THRESHOLDS.index(0.7)] == pytest.approx(pairs["value"].mean())
    assert curves["LFI-CAM, same image"] == pytest.approx([1.0] * len(THRESHOLDS))


def test_seeds_are_judged_by_a_question_of_their_own():
    result = measured(by_chance, lambda k: about_the_image(), name="extra3", seed=range(5))
    assert list(outcomes(result)) == ["E2", "E9", "E10", "E11"]
    assert "5 seeds of each method" in result.drawing.footnote


def test_images_too_small_for_ssim_are_compared_without_it():
    plan, small = experiment("extra1"), []
    for run in [run for method in plan.methods for run in runs_of(method, by_chance)]:
        small.append(replace(run, config=run.config.model_copy(update={"image_size": 8})))
        small[-1].__dict__.update({name: run.__dict__[name] for name in ("dataset", "kept")})
    result = chance_figure(plan, small)
    assert "ssim" not in result.table
    assert {"iou", "spearman"} <= set(result.table)


def test_the_same_question_is_answered_by_other_measures_in_sentences():
    runs = [run for method in ("abn", "lfi-cam-without-fin", "lfi-cam", "plain") for run in runs_of(method, by_chance)]
    result = chance_figure(experiment("extra1"), runs)
    over_abn, over_features, learned, _, by_threshold = result.remarks
    for metric in ("iou", "iou_equal_map_size", "top_overlap"):
        assert f"{row(result, 'LFI-CAM - ABN: same image')[metric]:.2f} [" in over_abn
    expected = row(result, "LFI-CAM: same image")["iou"] - row(result, "plain network (CAM): same image, mean feature map")["iou"]
    assert row(result, "LFI-CAM - plain's mean feature map: same image")["iou"] == pytest.approx(expected, abs=1e-6)
    assert f"{expected:z.2f} [" in over_features
    assert math.isnan(row(result, "LFI-CAM - plain's mean feature map: same image")["spearman"])  # not measured
    assert f"{row(result, 'LFI-CAM: trained - untrained')['top_overlap']:z.2f} [" in learned
    assert sorted(by_threshold.count(f"0.{k}") for k in range(1, 10)) == [1] * 9


@pytest.mark.parametrize(("untrained", "apart"), [(lambda k: about_the_image(), True), (lambda k: one_map_everywhere(), False)])
def test_untrained_networks_that_pass_the_null_line_as_well_are_named(untrained, apart):
    """Two networks of the same map of each image agree at 1; what maps of different images give is counted over all pairs."""
    runs = [run for method in ("abn", "lfi-cam", "plain") for run in runs_of(method, by_chance, untrained=untrained, seed=range(5))]
    result = chance_figure(experiment("extra1"), runs)
    shown = resize_map(untrained(0), (28, 28))
    others = [iou(shown[i : i + 1], shown[j : j + 1]).item() for i in range(IMAGES) for j in range(IMAGES) if i != j]
    said = float(re.search(r"LFI-CAM \S+ \[.*?\], untrained (\S+) \[", result.remarks[3])[1])
    (free,) = (verdict.free for verdict in result.verdicts if verdict.claim == "E3")
    assert free.measured.mean == pytest.approx(1 - sum(others) / len(others), abs=0.02)
    assert said == pytest.approx(free.measured.mean, abs=0.005 + 1e-6)
    assert (free.measured.mean > 0.5) == apart
    assert free.reached  # networks whose maps are chance are no better
