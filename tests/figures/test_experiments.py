from dataclasses import replace
from types import SimpleNamespace

import pytest
from helpers import photographs

from lficam.errors import InputError, MissingDataError
from lficam.figures.experiments import EXPERIMENTS, comparison, experiment
from lficam.figures.profiles import PROFILES, SETTINGS
from lficam.reproduce.notebooks import executed


def test_the_supplement_has_one_table_and_six_figures_and_there_are_nine_more():
    assert list(EXPERIMENTS) == ["table1", *(f"fig{k}" for k in range(1, 7)), *(f"extra{k}" for k in range(1, 10))]


def test_the_embedded_figures_of_the_supplement_need_25_trainings_and_the_others_31_more():
    ids = {name: {config.run_id() for config in experiment(name).configs()} for name in EXPERIMENTS}
    assert len(set.union(*(ids[name] for name in list(ids)[:7]))) == 25
    # seeds 1 to 4 of ABN, LFI-CAM and plain, all five without FIN; five settings of plain on two data sets; four more trunks
    assert len(set.union(*ids.values())) == 25 + 4 + 4 + 4 + 5 + 2 * 5 + 4


def test_five_seeds_of_one_setting_differ_in_nothing_else():
    configs = experiment("extra3", overrides={"seed": "10"}).configs()
    for method in ("abn", "lfi-cam-without-fin", "lfi-cam", "plain"):
        own = [config for config in configs if config.method == method]
        assert [config.seed for config in own] == [10, 11, 12, 13, 14]
        assert len({config.model_dump_json(exclude={"seed"}) for config in own}) == 1
        assert (own[0].lr, own[0].batch_size, own[0].weight_decay) == (0.1, 32, 1e-4)
    assert experiment("extra3").configs()[0] == experiment("fig5").configs()[0]


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
    from lficam.data.datasets import load_dataset

    dataset = load_dataset("digits-stl10")
    shown = experiment("fig5").shown_images(dataset)
    assert len(set(shown)) == 4
    assert shown == experiment("fig5").shown_images(dataset)
    assert shown == experiment("extra9").shown_images(dataset)


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
    with pytest.raises(MissingDataError, match=r"no file .*stl10.*`lficam data stl10 --download`"):
        experiment("fig5", "paper")
    with pytest.raises(MissingDataError, match=r"ImageNet is not in .*`lficam data imagenet --download`"):
        experiment("fig1", "quick")


def refuse(*arguments, **options):
    raise AssertionError("configs need no data and build no network")


@pytest.mark.parametrize("name", ["fig2", "fig5", "fig6", "extra3"])
def test_photos_trains_small_networks_from_nothing_where_it_compares_them(name):
    plan = replace(EXPERIMENTS[name], profile="photos")
    size, stem_stride = (32, 1) if name == "fig2" else (64, 2)
    for config in plan.configs():
        assert (config.dataset, config.trunk) == (plan.supplement_dataset, "cifar_resnet14")
        assert (config.image_size, config.stem_stride, config.pretrained, config.precision) == (size, stem_stride, False, "float32")
        assert config.epochs == (50 if name == "fig6" else 40)


@pytest.mark.parametrize("name", ["fig1", "fig3", "fig4"])
def test_photos_shows_maps_of_good_classifiers_which_says_what_their_weights_may_have_seen(name):
    plan = replace(EXPERIMENTS[name], profile="photos")
    for config in plan.configs():
        assert config.dataset == ("stl10" if name == "fig3" else "imagenette")
        assert (config.trunk, config.pretrained, config.normalization) == ("tf_efficientnet_lite0", True, "weights")
        assert (config.image_size, config.epochs, config.schedule, config.seed) == (160, 3, "cosine", 1)
        assert (config.lr, config.batch_size) == (0.02, 32)
    assert plan.shared == "weights of ImageNet, which may have seen these photographs"


def test_in_photos_setting_k_has_seed_k_and_setting_1_seeds_1_to_5():
    settings = replace(EXPERIMENTS["extra1"], profile="photos")
    seeds = replace(EXPERIMENTS["extra3"], profile="photos")
    for method in ("abn", "lfi-cam", "plain"):
        assert [config.seed for config in settings.configs() if config.method == method] == [1, 2, 3, 4, 5]
        assert [config.seed for config in seeds.configs() if config.method == method] == [1, 2, 3, 4, 5]
    assert settings.configs()[0] == seeds.configs()[0]
    moved = replace(settings, overrides={"seed": 11})
    assert [config.seed for config in moved.configs()[:5]] == [11, 12, 13, 14, 15]


def test_an_experiment_says_what_its_models_share():
    assert experiment("fig3").shared == ""  # one model a method
    assert experiment("fig5").shared == experiment("extra2").shared == "initial weights"
    assert experiment("extra3").shared == "nothing"
    assert replace(EXPERIMENTS["fig5"], profile="photos").shared == "nothing"
    assert replace(EXPERIMENTS["fig6"], profile="paper").shared == "initial weights"
    assert experiment("table1").shared == ""
    mine = {"trunk": "resnet18", "weights": "somewhere/mine.safetensors"}
    assert replace(EXPERIMENTS["fig3"], overrides=mine).shared == "the weights in mine.safetensors"


NEEDED = {"fig1": (2, 1), "fig2": (2, 1), "fig3": (2, 1), "fig4": (2, 1), "fig5": (2, 5), "fig6": (2, 5)}  # methods, settings
PUBLISHED_TRUNKS = {"imagenet": "resnet50", "cifar100": "cifar_resnet110", "stl10": "resnet18", "catdog": "resnet18"}


@pytest.mark.parametrize("profile", ["embedded", "quick", "paper"])
@pytest.mark.parametrize("name", list(NEEDED))
def test_every_figure_of_every_profile_can_be_configured_without_data(name, profile, tmp_path, monkeypatch):
    monkeypatch.setenv("LFICAM_DATA", str(tmp_path))
    for function in ("timm.create_model", "lficam.model.trunks.cifar_trunk", "lficam.data.datasets._load"):
        monkeypatch.setattr(function, refuse)
    plan = replace(EXPERIMENTS[name], profile=profile)
    configs = plan.configs()
    methods, settings = NEEDED[name]
    assert len(configs) == methods * settings
    assert len({config.model_dump_json() for config in configs}) == len(configs)
    assert {config.epochs for config in configs} == {{"embedded": 8, "quick": 30, "paper": 300}[profile]}
    for config in configs:
        assert config.dataset == ("digits-" if profile == "embedded" else "") + plan.supplement_dataset
        assert config.trunk == ("cifar_resnet8" if profile == "embedded" else PUBLISHED_TRUNKS[plan.supplement_dataset])
        assert config.precision == ("float32" if profile == "embedded" else "bfloat16")
        assert (config.max_classes == config.max_per_class == 0) is ((profile, config.dataset) != ("quick", "imagenet"))
        assert config.pretrained is ((profile, config.dataset) == ("quick", "imagenet"))


@pytest.fixture
def imagenet(tmp_path):
    """A folder that looks like ImageNet, as far as names go."""
    for part in ("train", "val"):
        (tmp_path / part / "n01440764").mkdir(parents=True)
    (tmp_path / "meta.bin").touch()
    return str(tmp_path)


@pytest.mark.parametrize("name", ["fig1", "fig4"])
def test_quick_imagenet_is_a_part_of_it_on_a_pretrained_trunk_and_says_so(name, imagenet):
    plan = experiment(name, "quick", {"data": imagenet})
    for config in plan.configs():
        assert (config.max_classes, config.max_per_class, config.pretrained, config.lr) == (100, 64, True, 0.01)
        assert (config.trunk, config.batch_size, config.weight_decay) == ("resnet50", 256, 1e-4)
    assert plan.source == "ImageNet (100 classes, 64 training images each), quick profile"


def test_an_override_replaces_what_a_profile_changes(imagenet):
    plan = experiment("fig4", "quick", {"data": imagenet, "max_classes": "10"})
    assert {(config.max_classes, config.max_per_class) for config in plan.configs()} == {(10, 64)}
    assert plan.source == "ImageNet (64 training images each), quick profile, changed: max_classes=10"
    plan = experiment("fig4", "quick", {"data": imagenet, "max_classes": 0, "max_per_class": 0, "pretrained": False, "lr": 0.1})
    assert {(c.max_classes, c.max_per_class, c.pretrained, c.lr) for c in plan.configs()} == {(0, 0, False, 0.1)}
    assert plan.source == "ImageNet, quick profile, changed: max_classes=0, max_per_class=0, pretrained=False, lr=0.1"


def test_paper_imagenet_is_all_of_it_from_scratch(imagenet):
    plan = experiment("fig4", "paper", {"data": imagenet})
    assert {(c.max_classes, c.max_per_class, c.pretrained, c.lr) for c in plan.configs()} == {(0, 0, False, 0.1)}
    assert plan.source == "ImageNet, paper profile"


def test_a_comparison_keeps_its_settings_where_the_profile_changes_a_single_training(imagenet):
    plan = comparison("imagenet", "quick", {"data": imagenet})
    settings = [(config.lr, config.batch_size, config.weight_decay) for config in plan.configs()]
    assert settings == [tuple(setting) for setting in SETTINGS] * 4
    assert all(config.pretrained and config.max_classes == 100 for config in plan.configs())


def test_models_that_differ_in_their_seed_are_compared_with_what_they_were_before_training():
    of_seeds = [f"extra{k}" for k in range(3, 9)]
    assert [name for name in EXPERIMENTS if experiment(name).own_starts] == of_seeds
    of_settings = ["fig5", "fig6", "extra1", "extra2"]
    assert all(replace(EXPERIMENTS[name], profile="photos").own_starts for name in of_seeds + of_settings)


def test_faithfulness_is_measured_on_more_photographs_than_digits():
    large = SimpleNamespace(test=range(1000))
    assert len(EXPERIMENTS["extra4"].judged_images(large)) == 35
    assert len(replace(EXPERIMENTS["extra4"], profile="photos").judged_images(large)) == 200
    assert len(replace(EXPERIMENTS["extra5"], profile="photos").judged_images(large)) == 60
