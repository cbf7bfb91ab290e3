import pytest
from helpers import photographs

from lficam.errors import InputError, MissingDataError
from lficam.experiments import EXPERIMENTS, PROFILES, SETTINGS, experiment
from lficam.reproduce import executed


def test_the_seed_has_one_table_and_six_figures():
    assert list(EXPERIMENTS) == ["table1", "fig1", "fig2", "fig3", "fig4", "fig5", "fig6"]


def test_all_embedded_figures_together_need_25_trainings():
    ids = {config.run_id() for name in EXPERIMENTS for config in experiment(name).configs()}
    assert len(ids) == 25


def test_the_figures_share_runs():
    ids = {name: {config.run_id() for config in experiment(name).configs()} for name in EXPERIMENTS}
    assert ids["fig3"] < ids["fig5"]
    assert len(ids["fig1"] & ids["fig4"]) == 1


def test_a_stability_figure_compares_five_settings_of_each_method_that_differ_in_nothing_else():
    configs = experiment("fig5").configs()
    for method in ("abn", "lfi-cam"):
        own = [config for config in configs if config.method == method]
        assert [(c.lr, c.batch_size, c.weight_decay) for c in own] == [(s.lr, s.batch_size / 8, s.weight_decay) for s in SETTINGS]
        assert len({config.model_dump_json(exclude={"lr", "batch_size", "weight_decay"}) for config in own}) == 1


def test_paper_is_the_published_recipe(monkeypatch, tmp_path):
    folder = photographs(tmp_path)
    configs = experiment("fig6", "paper", {"data": str(folder)}).configs()
    assert {(c.epochs, c.trunk, c.image_size, c.augmentation) for c in configs} == {(300, "resnet18", 224, "resized-crop-flip")}
    assert [(c.lr, c.batch_size, c.weight_decay) for c in configs if c.method == "abn"] == [tuple(s) for s in SETTINGS]
    assert {c.stem_stride for c in configs if c.method == "abn"} == {2}
    assert {c.stem_stride for c in configs if c.method == "lfi-cam"} == {1}


def test_strings_as_papermill_passes_them_are_numbers():
    assert {config.epochs for config in experiment("fig1", overrides={"epochs": "2"}).configs()} == {2}


def test_overrides_have_a_folder_of_their_own():
    plain, other = experiment("fig1"), experiment("fig1", overrides={"epochs": 2})
    assert plain.folder.name == "embedded"
    assert other.folder.name.startswith("embedded-")
    assert other.folder != experiment("fig1", overrides={"epochs": 3}).folder
    assert executed(other).is_relative_to(other.folder)


def test_every_picture_says_its_data_set_and_profile():
    assert experiment("fig5").source == "cluttered digits (stand-in for STL10), embedded profile"


def test_shown_images_are_the_same_for_every_run():
    from lficam.datasets import load_dataset

    dataset = load_dataset("digits-stl10")
    shown = experiment("fig5").shown(dataset)
    assert len(set(shown)) == 6
    assert shown == experiment("fig5").shown(dataset)
    assert shown[:6] == experiment("fig3").shown(dataset)[:6]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fig9",), ["fig9", "fig6"]),
        (("fig1", "huge"), ["huge", *PROFILES]),
        (("fig1", "embedded", {"colour": 3}), ["colour", "epochs"]),
        (("fig1", "embedded", {"method": "abn"}), ["method"]),
        (("fig5", "embedded", {"lr": 0.1}), ["lr", "fig5"]),
        (("fig1", "embedded", ["epochs"]), ["epochs", "mapping"]),
        ((["fig1"],), ["fig1", "fig6"]),
    ],
)
def test_wrong_input_is_named_with_what_is_allowed(arguments, words):
    with pytest.raises(InputError) as caught:
        experiment(*arguments)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["table1", "fig1"])
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"epochs": "many"}, "epochs='many'.*integer"),
        ({"image_size": 2}, "image_size=2"),
        ({"trunk": "cifar_resnet8", "pretrained": True}, "no pretrained weights for 'cifar_resnet8'"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(name, overrides, words):
    with pytest.raises(InputError, match=words) as caught:
        experiment(name, overrides=overrides)
    assert "\n" not in str(caught.value)


def test_embedded_digits_have_one_size():
    with pytest.raises(InputError, match=r"image_size=64.*28 pixels"):
        experiment("fig5", overrides={"image_size": 64})


def test_a_command_line_and_a_notebook_override_alike():
    assert experiment("fig1", overrides={"epochs": "2"}).folder == experiment("fig1", overrides={"epochs": 2}).folder


def test_a_picture_says_what_was_changed():
    source = experiment("fig1", overrides={"epochs": 2, "seed": 1}).source
    assert source == "cluttered digits (stand-in for ImageNet), embedded profile, changed: epochs=2, seed=1"


def test_missing_data_is_said_at_once(tmp_path):
    with pytest.raises(MissingDataError, match="no data folder"):
        experiment("fig6", "quick", {"data": str(tmp_path / "nowhere")})
    with pytest.raises(MissingDataError, match="no loader"):
        experiment("fig5", "paper")
