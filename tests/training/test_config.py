import json
import shutil

import pytest
from helpers import photographs, write_image
from pydantic import ValidationError
from torch import nn

from lficam.data.datasets import DATASETS
from lficam.errors import InputError
from lficam.model.trunks import register_trunk
from lficam.training import config as config_module
from lficam.training.config import RunConfig, describe, published, run_ids


def config(**fields):
    return RunConfig(**({"dataset": "digits-stl10", "trunk": "cifar_resnet8"} | fields))


def complaint(**fields):
    with pytest.raises(ValidationError) as caught:
        config(**fields)
    line = describe(caught.value)
    assert "\n" not in line
    return line


def test_strings_are_numbers():
    given = config(lr="1e-4", batch_size="8", epochs="3", weight_decay="5e-4", seed="7", image_size="28", stem_stride="1")
    assert given == config(lr=1e-4, batch_size=8, epochs=3, weight_decay=5e-4, seed=7, image_size=28, stem_stride=1)
    assert isinstance(given.lr, float)
    assert isinstance(given.batch_size, int)
    assert isinstance(given.stem_stride, int)
    given = config(max_classes="5", max_per_class="20", compile="true")
    assert given == config(max_classes=5, max_per_class=20, compile=True)
    assert given.run_id() == config(max_classes=5, max_per_class=20, compile=True).run_id()


def test_the_published_recipe_is_the_default():
    given = RunConfig(dataset="digits-stl10")
    assert (given.method, given.trunk) == ("lfi-cam", "resnet18")
    assert (given.epochs, given.lr, given.batch_size, given.weight_decay) == (300, 0.1, 256, 1e-4)
    assert (given.max_classes, given.max_per_class, given.normalization) == (0, 0, "own")  # all of the data, by its own mean
    assert not given.pretrained
    assert not given.compile


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("lr", 0, "greater than 0"),
        ("lr", -0.1, "greater than 0"),
        ("lr", "-1e-4", "greater than 0"),
        ("lr", float("nan"), ""),
        ("lr", "nan", ""),
        ("lr", float("inf"), "finite"),
        ("lr", "fast", "number"),
        ("lr", None, "number"),
        ("lr", [0.1], "number"),
        ("epochs", 0, "greater than or equal to 1"),
        ("epochs", 1.5, "integer"),
        ("epochs", "many", "integer"),
        ("batch_size", 1, "greater than or equal to 2"),
        ("weight_decay", -1e-4, "greater than or equal to 0"),
        ("weight_decay", float("nan"), ""),
        ("seed", -1, "greater than or equal to 0"),
        ("image_size", 4, "greater than or equal to 8"),
        ("pretrained", "perhaps", "boolean"),
        ("compile", "perhaps", "boolean"),
        ("normalization", "imagenet", "'own', 'release' or 'weights'"),
        ("normalization", None, "'own', 'release' or 'weights'"),
        ("max_classes", -1, "greater than or equal to 0"),
        ("max_classes", "-5", "greater than or equal to 0"),
        ("max_classes", "all", "integer"),
        ("max_classes", 1, "needs two, or 0 for all"),
        ("max_per_class", -1, "greater than or equal to 0"),
        ("max_per_class", 0.5, "integer"),
        ("max_per_class", "half", "integer"),
        ("method", "grad-cam", "expected one of lfi-cam, lfi-cam-without-fin, abn"),
        ("stem_stride", 3, "1 or 2"),
        ("stem_stride", "3", "1 or 2"),
        ("precision", "float16", "'float32' or 'bfloat16'"),
        ("augmentation", "flip", "none, crop, crop-flip, resized-crop-flip"),
        ("trunk", "resnet19", "cifar_resnet"),
        ("trunk", 18, "string"),
        ("dataset", "stl11", ", ".join(DATASETS)),
        ("dataset", 10, "string"),
        ("dataset", ["digits-stl10"], "string"),
        ("dataset", None, "string"),
        ("data", 5, "string"),
    ],
)
def test_a_wrong_value_names_the_field_the_value_and_what_is_allowed(field, value, allowed):
    line = complaint(**{field: value})
    assert line.startswith(f"{field}=")
    assert (repr(value) if not isinstance(value, str) else value) in line
    assert allowed in line
    assert ";" not in line  # one fault, one complaint


def test_an_unknown_field_is_named_with_those_there_are():
    line = complaint(learning_rate=0.1)
    assert line.startswith("learning_rate=0.1: ")
    assert all(field in line for field in RunConfig.model_fields)


def test_several_faults_are_told_at_once():
    line = complaint(lr=0, epochs=0, colour="red")
    assert all(part in line for part in ("lr=0:", "epochs=0:", "colour='red':"))


def test_a_data_set_must_be_named():
    with pytest.raises(ValidationError) as caught:
        RunConfig(lr=0.1)
    line = describe(caught.value)
    assert line.startswith("dataset")
    assert "required" in line
    assert "\n" not in line


@pytest.mark.parametrize("field", ["lr", "dataset", "seed"])
def test_a_config_is_frozen(field):
    given = config()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(given, field, getattr(given, field))
    assert len({given, config()}) == 1


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_defaults_are_written_out(dataset):
    given = RunConfig(dataset=dataset)
    assert given.image_size == DATASETS[dataset].image_size
    assert given.augmentation == DATASETS[dataset].augmentation
    assert RunConfig(**given.model_dump()) == given
    assert RunConfig(**json.loads(json.dumps(given.model_dump()))) == given


@pytest.mark.parametrize("method", ["lfi-cam", "lfi-cam-without-fin", "abn"])
@pytest.mark.parametrize("trunk", ["resnet18", "cifar_resnet8"])
def test_leaving_a_default_out_and_naming_it_give_one_id(method, trunk):
    short = RunConfig(dataset="digits-stl10", method=method, trunk=trunk)
    named = RunConfig(
        dataset="digits-stl10",
        method=method,
        trunk=trunk,
        epochs=300,
        lr="0.1",
        batch_size=256.0,
        weight_decay=1e-4,
        seed=0,
        data=None,
        image_size=28,
        augmentation="none",
        stem_stride=2 if (method, trunk) == ("abn", "resnet18") else 1,
        pretrained=False,
        normalization="own",
        max_classes=0,
        max_per_class="0",
        precision="float32",
        compile=False,
    )
    assert named == short
    assert named.run_id() == short.run_id()


@pytest.mark.parametrize(
    ("method", "trunk", "stem_stride"),
    [
        ("abn", "resnet18", 2),
        ("abn", "resnet50", 2),
        ("abn", "cifar_resnet8", 1),
        ("lfi-cam", "resnet18", 1),
        ("lfi-cam-without-fin", "resnet18", 1),
        ("lfi-cam", "cifar_resnet8", 1),
    ],
)
def test_only_abn_on_an_imagenet_size_trunk_keeps_the_wide_stem(method, trunk, stem_stride):
    assert RunConfig(dataset="catdog", method=method, trunk=trunk).stem_stride == stem_stride
    assert RunConfig(dataset="catdog", method=method, trunk=trunk, stem_stride=3 - stem_stride).stem_stride == 3 - stem_stride


def test_a_registered_trunk_has_no_wide_stem():
    register_trunk("tests_config_stem", lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)))
    assert config(method="abn", trunk="tests_config_stem").stem_stride == 1


OTHER_VALUES = {
    "dataset": "catdog",
    "method": "abn",
    "trunk": "resnet34",
    "epochs": 2,
    "lr": 0.2,
    "batch_size": 8,
    "weight_decay": 0.0,
    "seed": 1,
    "image_size": 64,
    "augmentation": "crop",
    "stem_stride": 2,
    "pretrained": True,
    "normalization": "release",
    "max_classes": 2,
    "max_per_class": 1,
    "precision": "bfloat16",
    "compile": True,
    "out_stride": 32,
    "fold": "1/2",
    "schedule": "cosine",
    "threads": 3,
}


def test_the_id_changes_with_every_field_but_the_folder(tmp_path):
    values = OTHER_VALUES | {"weights": str(write_image(tmp_path / "weights.png"))}  # read for its checksum alone
    assert values.keys() == RunConfig.model_fields.keys() - {"data"}
    given = {"dataset": "folder", "trunk": "resnet18", "data": str(photographs(tmp_path / "here"))}
    ids = {RunConfig(**(given | {field: value})).run_id() for field, value in values.items()}
    assert len(ids | {RunConfig(**given).run_id()}) == len(values) + 1
    elsewhere = given | {"data": str(photographs(tmp_path / "there"))}
    assert RunConfig(**elsewhere).run_id() == RunConfig(**given).run_id()


def test_each_part_of_the_data_has_an_id_of_its_own():
    parts = [
        {"max_classes": 2},
        {"max_classes": 3},
        {"max_per_class": 2},
        {"max_per_class": 3},
        {"max_classes": 2, "max_per_class": 2},
    ]
    assert len({config(**part).run_id() for part in [{}, *parts]}) == 6
    assert config(max_classes=0).run_id() == config().run_id()


def test_many_ids_look_once_at_each_folder_and_are_those_of_one_at_a_time(tmp_path, monkeypatch):
    for name in ("a", "b"):
        photographs(tmp_path / name)
    write_image(tmp_path / "b" / "train" / "cat" / "one-more.png")
    configs = [RunConfig(dataset="folder", data=str(tmp_path / name), seed=seed) for seed in (0, 1) for name in ("a", "b", "a")]
    expected = [config.run_id() for config in configs]
    looked, fingerprint = [], config_module.data_fingerprint
    monkeypatch.setattr(config_module, "data_fingerprint", lambda *data: looked.append(data) or fingerprint(*data))
    assert run_ids(configs) == expected
    assert len(set(expected)) == 4
    assert looked == [("folder", str(tmp_path / name)) for name in ("a", "b")]
    write_image(tmp_path / "a" / "train" / "cat" / "one-more.png")
    assert run_ids(configs[:1]) == [configs[0].run_id()] != expected[:1]  # nothing is remembered


def test_an_id_is_readable_and_a_folder_name():
    id = config(method="lfi-cam-without-fin").run_id()
    assert id.startswith("digits-stl10_lfi-cam-without-fin_")
    assert id.replace("-", "").replace("_", "").isalnum()
    assert id == config(method="lfi-cam-without-fin").run_id()


@pytest.mark.parametrize(
    ("id", "fields"),
    [
        ("digits-stl10_lfi-cam_2d7c44bbc4", {}),
        ("digits-stl10_abn_7e314421fe", {"method": "abn", "trunk": "cifar_resnet8", "epochs": 8, "batch_size": 32}),
        (
            "digits-catdog_lfi-cam-without-fin_113a74f95a",
            {
                "dataset": "digits-catdog",
                "method": "lfi-cam-without-fin",
                "trunk": "densenet121",
                "stem_stride": 2,
                "seed": 3,
                "pretrained": True,
                "max_per_class": 3,
                "precision": "bfloat16",
                "compile": True,
                "weight_decay": "5e-4",
            },
        ),
    ],
)
def test_ids_are_those_that_runs_have_been_stored_under(id, fields):
    assert RunConfig(**({"dataset": "digits-stl10"} | fields)).run_id() == id


def test_a_field_that_comes_later_orphans_no_run():
    class Later(RunConfig):
        warmup: int = 0

    assert Later(dataset="digits-stl10").run_id() == Later(dataset="digits-stl10", warmup=0).run_id()
    assert Later(dataset="digits-stl10").run_id() == "digits-stl10_lfi-cam_2d7c44bbc4"
    assert Later(dataset="digits-stl10", warmup=3).run_id() != "digits-stl10_lfi-cam_2d7c44bbc4"


def test_what_is_published_names_no_folder_of_this_machine():
    config = RunConfig(dataset="catdog", data="/home/me/photos", trunk="resnet18", weights="/home/me/mine.safetensors")
    fields = published(config.model_dump())
    assert "/home" not in str(fields)
    assert fields == config.model_dump(exclude={"data"}) | {"weights": "mine.safetensors"}
    assert published({"data": "/home/me", "epochs": 2}) == {"epochs": 2}


def test_the_text_of_a_setting():
    assert config(lr="0.05", batch_size=32, weight_decay=1e-4).setting == "lr 0.05, batch 32, decay 0.0001"
    assert config(lr=1e-5, batch_size=8, weight_decay=0).hyperparameters == ("lr 1e-05", "batch 8", "decay 0")


def test_the_id_changes_with_the_training_code(monkeypatch):
    before = config().run_id()
    monkeypatch.setattr(config_module, "TRAINING_VERSION", config_module.TRAINING_VERSION + 1)
    assert config().run_id() != before


def test_the_id_changes_with_the_version_of_a_registered_trunk():
    ids = set()
    for version in (1, 2):
        register_trunk("tests_config_version", lambda: nn.Conv2d(3, 4, 3), version=version)
        ids.add(config(trunk="tests_config_version").run_id())
    assert len(ids) == 2


def test_the_id_follows_the_files_and_not_their_folder(tmp_path):
    first = photographs(tmp_path / "first")
    shutil.copytree(first, tmp_path / "second")
    ids = [config(dataset="folder", data=str(tmp_path / name)).run_id() for name in ("first", "second")]
    assert ids[0] == ids[1]
    (first / "train/cat/1.png").rename(first / "train/cat/2.png")
    assert config(dataset="folder", data=str(first)).run_id() != ids[0]


def test_an_id_needs_the_data(tmp_path):
    with pytest.raises(InputError, match=r"no data folder .*nowhere"):
        config(dataset="folder", data=str(tmp_path / "nowhere")).run_id()
