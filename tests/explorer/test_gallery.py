"""What there is to look at, against naive code."""

import gc
import weakref
from itertools import combinations

import pytest
import tiny_runs

from lficam.errors import InputError, MissingDataError
from lficam.explorer import gallery
from lficam.explorer.gallery import Entry, browse, comparable, entries, network_of
from lficam.figures.experiments import experiment
from lficam.metrics.similarity import iou
from lficam.model.cam import resize_map


@pytest.fixture
def lfi_cam(runs):
    return network_of(runs["lfi-cam"][0])


def test_entries_are_the_trained_runs_of_the_figures_each_once_in_their_order(runs):
    found = entries(overrides=tiny_runs.OVERRIDES)
    expected = []
    for name in ("fig3", "fig5", "fig6", "extra1", "extra4"):
        for config in experiment(name, overrides=tiny_runs.OVERRIDES).configs():
            if config.run_id() not in expected and config.run_id() in sum(runs.values(), ()):
                expected.append(config.run_id())
    assert [entry.run_id for entry in found] == expected
    first = next(entry for entry in found if entry.run_id == runs["lfi-cam"][0])
    assert first[1:] == ("digits-stl10", first.data, "lfi-cam", "lr 0.1, batch 32, decay 0.0001", 0)
    assert {entry.seed for entry in found if entry.method == "lfi-cam-without-fin"} == {0, 1}


def test_damaged_runs_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path))
    good, bad = sum(tiny_runs.store_all().values(), ())[:2]
    (tmp_path / bad / "run.json").write_text("{")
    found = [entry.run_id for entry in entries(overrides=tiny_runs.OVERRIDES)]
    assert good in found
    assert bad not in found


def test_without_trained_runs_there_are_no_entries(tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_RUNS", str(tmp_path))
    assert entries() == []


def test_a_figure_whose_data_is_missing_keeps_no_other_from_being_looked_at(runs, monkeypatch):
    def without_stl10(name, *options):
        plan = experiment(name, *options)
        if plan.supplement_dataset == "stl10":
            raise MissingDataError("no stl10")
        return plan

    monkeypatch.setattr(gallery, "experiment", without_stl10)
    assert [entry.run_id for entry in entries(overrides=tiny_runs.OVERRIDES)] == list(runs["catdog"])


def test_figures_that_the_overrides_do_not_fit_are_left_out(runs, monkeypatch):
    """As Figure 1 of `quick`, which starts from weights that there are for ImageNet-size networks alone."""

    def not_fitting(name, *options):
        if name != "fig6":
            raise InputError(f"no pretrained weights for {name}")
        return experiment(name, *options)

    monkeypatch.setattr(gallery, "experiment", not_fitting)
    assert [entry.run_id for entry in entries(overrides=tiny_runs.OVERRIDES)] == list(runs["catdog"])


def test_overrides_that_fit_no_figure_are_refused():
    with pytest.raises(InputError, match="'colour' cannot be overridden"):
        entries(overrides={"colour": "red"})


def test_an_unknown_profile_is_refused():
    with pytest.raises(InputError, match="unknown profile 'large'"):
        entries("large")


def test_the_variant_names_what_differs():
    entry = Entry("a", "digits-stl10", "digits", "lfi-cam", "lr 0.05, batch 16, decay 0.0005", 0)
    assert entry.variant == "lr 0.05, batch 16, decay 0.0005"
    assert entry._replace(seed=3).variant == "lr 0.05, batch 16, decay 0.0005, seed 3"


FIRST, SECOND = "lr 0.1, batch 32, decay 0.0001", "lr 0.1, batch 16, decay 0.0005"


def test_what_can_be_compared():
    def entry(run, method, setting, seed=0):
        return Entry(run, "digits-stl10", "digits", method, setting, seed)

    found = [
        entry("a", "abn", FIRST),
        entry("b", "lfi-cam", FIRST),
        entry("c", "lfi-cam", SECOND),
        entry("d", "lfi-cam", FIRST, 3),
        entry("e", "lfi-cam", SECOND, 3),
        entry("f", "lfi-cam", FIRST, 10),
        entry("g", "lfi-cam-without-fin", FIRST, 1),
        entry("h", "lfi-cam-without-fin", FIRST, 2),
    ]
    assert comparable(found) == {
        "LFI-CAM: 2 settings, seed 0": ("b", "c"),
        "LFI-CAM: 2 settings, seed 3": ("d", "e"),
        f"LFI-CAM: 3 seeds, {FIRST}": ("b", "d", "f"),
        f"LFI-CAM: 2 seeds, {SECOND}": ("c", "e"),
        "LFI-CAM without FIN: 2 seeds": ("g", "h"),
    }


def test_a_run_is_loaded_once_and_shares_its_data(runs):
    first, second = runs["lfi-cam"][:2]
    assert network_of(first) is network_of(first)
    assert network_of(first).run.dataset is network_of(second).run.dataset
    assert network_of(first).run.id == first
    assert not network_of(first).run.model.training


def test_a_network_that_is_dropped_takes_along_all_that_it_has_said(runs, images):
    """Without the collector, which an explorer keeps away."""
    gallery._network.cache_clear()
    network = network_of(runs["lfi-cam"][0])
    box = (4, 6, 10, 20)
    said = [network.answer(images[0]), network.answer(images[0], box), network.with_channels(images[0], 3, True)]
    features, cam, picture = said[0].features, network.grad_cam(images[0]), network.picture(images[0])
    assert network.thumbnail(images[0])
    browse(network, wrong_only=True, order="least stable first", others=runs["lfi-cam"][:2])
    gone = [weakref.ref(thing) for thing in (network, network.run.model, features, cam, picture)]
    del said, features, cam, picture, network
    assert None not in [reference() for reference in gone]
    gc.disable()
    try:
        for id in (*runs["abn"], *runs["lfi-cam-without-fin"], *runs["catdog"], *runs["lfi-cam"][1:]):
            network_of(id)
        network_of(tiny_runs.store(network_of(runs["abn"][0]).run.config.model_copy(update={"seed": 9}), list("0123456789")))
        assert [reference() for reference in gone] == [None] * 5
    finally:
        gc.enable()


def test_the_data_is_where_the_caller_says(runs, lfi_cam):
    entries(overrides=tiny_runs.OVERRIDES | {"data": "elsewhere"})
    assert network_of(lfi_cam.run.id).run.config.data == "elsewhere"
    entries(overrides=tiny_runs.OVERRIDES)
    assert network_of(lfi_cam.run.id).run.config.data is None


def test_an_unknown_run_is_refused(runs):
    with pytest.raises(InputError, match="no run 'nothing'"):
        network_of("nothing")


def test_shuffled_begins_with_the_images_of_the_figures(lfi_cam):
    plan, test = experiment("fig3"), lfi_cam.run.dataset.test
    ids = browse(lfi_cam)
    assert ids[: plan.shown] == [test.ids[i] for i in plan.shown_images(lfi_cam.run.dataset)]
    assert sorted(ids) == sorted(test.ids)


@pytest.mark.parametrize("label", [None, "7"])
@pytest.mark.parametrize("wrong_only", [False, True])
def test_filters_keep_the_order(lfi_cam, label, wrong_only):
    run = lfi_cam.run
    labels = dict(zip(run.dataset.test.ids, run.dataset.test.labels.tolist(), strict=True))
    predicted = dict(zip(run.explained.ids, run.explained.probabilities.argmax(1).tolist(), strict=True))
    expected = [
        id
        for id in browse(lfi_cam)
        if (label is None or run.classes[labels[id]] == label) and (not wrong_only or predicted[id] != labels[id])
    ]
    assert browse(lfi_cam, label, wrong_only) == expected
    assert 0 < len(expected) < 500 or (label is None and not wrong_only)


def test_least_stable_first_is_the_order_of_the_mean_iou_of_all_pairs(runs, lfi_cam):
    maps = [resize_map(network_of(id).run.explained.cam, (28, 28)) for id in runs["abn"][:3]]
    mean = sum(iou(a, b) for a, b in combinations(maps, 2)) / 3
    value = dict(zip(lfi_cam.run.dataset.test.ids, mean.tolist(), strict=True))
    ids = browse(lfi_cam, order="least stable first", others=runs["abn"][:3])
    assert sorted(ids) == sorted(browse(lfi_cam))
    values = [value[id] for id in ids]
    assert values == pytest.approx(sorted(values), abs=1e-6)
    assert values[0] < values[-1]


def test_stability_is_computed_once(runs, lfi_cam, monkeypatch):
    browse(lfi_cam, order="least stable first", others=runs["lfi-cam"][:2])
    monkeypatch.setattr(gallery, "pairwise_stability", None)
    browse(lfi_cam, "3", order="least stable first", others=runs["lfi-cam"][:2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "cat"}, "unknown class 'cat': expected one of 0, 1"),
        ({"order": "best first"}, "unknown order 'best first'"),
        ({"order": "least stable first"}, "this order needs two or more trained models of one method: choose another data set"),
    ],
)
def test_what_cannot_be_browsed_is_refused(lfi_cam, options, message):
    with pytest.raises(InputError, match=message):
        browse(lfi_cam, **options)
