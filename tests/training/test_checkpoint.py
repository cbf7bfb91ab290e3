"""A training that was interrupted goes on as if it had not been."""

import copy
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers import flip_a_byte
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lficam.data.files import ImageFiles
from lficam.data.samples import Dataset, Samples
from lficam.errors import InputError
from lficam.model.trunks import register_trunk
from lficam.training import checkpoint, loop
from lficam.training.checkpoint import load_checkpoint, save_checkpoint
from lficam.training.config import RunConfig
from lficam.training.loop import train

METHODS = ["lfi-cam", "lfi-cam-without-fin", "abn"]


@pytest.fixture(autouse=True)
def after_every_epoch(monkeypatch):
    """A checkpoint is written after every epoch but the last."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)


@pytest.fixture
def noise():
    """64 images of noise in two classes."""
    images = torch.randint(0, 256, (64, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    samples = Samples(tuple(map(str, range(64))), images, torch.arange(64) % 2, torch.full((64, 2), 16.0))
    return Dataset("noise", ("even", "odd"), (0.5,) * 3, (0.3,) * 3, samples, samples)


def config(**fields):
    given = {"dataset": "folder", "trunk": "cifar_resnet8", "image_size": 16, "augmentation": "crop-flip", "lr": 0.05}
    return RunConfig(**(given | {"batch_size": 24, "epochs": 5} | fields))  # of 64 images; the last batch is of 16


def interrupted(given, dataset, folder, epoch):
    """Train until the end of an epoch, whose checkpoint is not written any more; the epochs of this training."""
    epochs = []

    def interrupt(record):
        epochs.append(record["epoch"])
        if record["epoch"] == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(given, dataset, interrupt, folder)
    return epochs


def without_seconds(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def assert_same(got, expected):
    """Two results of `train`, bit for bit."""
    (model, history), (expected_model, expected_history) = got, expected
    state, expected_state = model.state_dict(), expected_model.state_dict()
    assert state.keys() == expected_state.keys()
    assert [name for name in state if not torch.equal(state[name], expected_state[name])] == []
    assert without_seconds(history) == without_seconds(expected_history)
    assert not model.training


@pytest.mark.parametrize("stops", [(1,), (4,), (2, 3, 5)])
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_training_gives_the_same_bits(method, stops, noise, tmp_path):
    given = config(method=method)
    expected = train(given, noise, lambda record: None)
    assert any("running_mean" in name for name in expected[0].state_dict())
    resumed_at = 1
    for stop in stops:
        assert interrupted(given, noise, tmp_path / "run", stop) == list(range(resumed_at, stop + 1))
        resumed_at = stop  # the last checkpoint is of the epoch before
    torch.manual_seed(7)  # must not matter
    reported = []
    got = train(given, noise, reported.append, tmp_path / "run")
    assert [record["epoch"] for record in reported] == list(range(resumed_at, 6))
    assert got[1][resumed_at - 1 :] == reported
    assert_same(got, expected)


def test_a_resumed_training_of_image_files_gives_the_same_bits(noise, tmp_path):
    files = []
    for i, image in enumerate(noise.train.images):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(files[-1])
    split = ImageFiles(noise.train.ids, tuple(files), noise.train.labels, workers=0)
    dataset = Dataset("files", noise.classes, noise.mean, noise.std, split, split)
    given = config(epochs=3, augmentation="resized-crop-flip")
    expected = train(given, dataset, lambda record: None)
    interrupted(given, dataset, tmp_path / "run", 3)
    assert_same(train(given, dataset, lambda record: None, tmp_path / "run"), expected)


def test_the_seconds_of_a_resumed_training_are_those_of_all_its_epochs(noise, tmp_path):
    seconds = []

    def interrupt(record):
        seconds.append(record["seconds"])
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config(), noise, interrupt, tmp_path)
    _, history = train(config(), noise, lambda record: None, tmp_path)
    assert [record["seconds"] for record in history[:2]] == seconds[:2]
    assert history[2]["seconds"] != seconds[2]  # that epoch was trained again


def tear(save):
    """Half of the file is written, then comes Ctrl-C."""

    def write(tensors, file, *rest):
        save(tensors, file, *rest)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        raise KeyboardInterrupt

    return write


def test_an_interruption_in_writing_leaves_the_older_checkpoint(noise, tmp_path, monkeypatch):
    expected = train(config(), noise, lambda record: None)
    interrupted(config(), noise, tmp_path / "run", 3)
    before = (tmp_path / "run" / "state.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", tear(checkpoint.save_file))
        with pytest.raises(KeyboardInterrupt):
            train(config(), noise, lambda record: None, tmp_path / "run")
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["before.safetensors", "state.safetensors"]
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == before
    reported = []
    assert_same(train(config(), noise, reported.append, tmp_path / "run"), expected)
    assert reported[0]["epoch"] == 3


def test_the_checkpoint_is_one_file_of_tensors_without_pickle(noise, tmp_path):
    interrupted(config(), noise, tmp_path / "run", 3)
    files = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*"))
    assert files == ["run", "run/before.safetensors", "run/state.safetensors"]
    content = (tmp_path / "run" / "state.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")  # safetensors: the length of a JSON header, the header, the numbers
    header = json.loads(content[8 : 8 + size])
    assert [record["epoch"] for record in json.loads(header.pop("__metadata__")["about"])["history"]] == [1, 2]
    assert len(content) == 8 + size + max(tensor["data_offsets"][1] for tensor in header.values())
    assert {name.split(".")[0] for name in header} == {"model", "momentum", "generator"}


DAMAGES = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "empty": lambda file: file.write_bytes(b""),
    "a flipped bit": flip_a_byte,
    "another history": lambda file: file.write_bytes(file.read_bytes().replace(b"epoch", b"Epoch")),
    "no history": lambda file: save_file(load_file(file), file),
    "history is no JSON": lambda file: save_file(load_file(file), file, {"about": '{"history": [{"epoch": 1,'}),
    "history of an older version": lambda file: save_file(load_file(file), file, {"history": "[]"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_from_a_damaged_checkpoint_a_training_goes_on_from_the_one_before(damage, noise, tmp_path, capsys):
    folder, expected = tmp_path / "run", train(config(), noise, lambda record: None)
    for damaged, resumed_at in ((["state"], 3), (["state", "before"], 1)):
        interrupted(config(), noise, folder, 4)
        for name in damaged:
            DAMAGES[damage](folder / f"{name}.safetensors")
        reported = []
        assert_same(train(config(), noise, reported.append, folder), expected)
        assert reported[0]["epoch"] == resumed_at
        said = capsys.readouterr().err.splitlines()
        assert [line.partition(" is damaged ")[0] for line in said] == [str(folder / f"{name}.safetensors") for name in damaged]
        shutil.rmtree(folder)


def test_a_full_disk_costs_the_checkpoint_not_the_training(noise, tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    expected = train(config(), noise, lambda record: None)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(checkpoint, "save_file", full)
    assert_same(train(config(), noise, lambda record: None, tmp_path / "run"), expected)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 5
    assert all(line.endswith("(os error 28)): the training goes on without it") for line in said)


def test_a_checkpoint_of_another_model_is_refused(noise, tmp_path):
    interrupted(config(), noise, tmp_path / "run", 3)
    for fields in ({"method": "lfi-cam-without-fin"}, {"trunk": "cifar_resnet14"}):
        with pytest.raises(InputError, match="run is of another model: remove this folder"):
            train(config(**fields), noise, lambda record: None, tmp_path / "run")


def test_a_checkpoint_is_written_when_more_than_two_minutes_have_passed(noise, tmp_path, monkeypatch):
    """Epochs of 50 s: the third ends 150 s after the start, the sixth and the ninth 150 s after the one before."""
    monkeypatch.undo()
    now, saved = [0.0], []
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(loop, "save_checkpoint", lambda *arguments: saved.append(len(arguments[4])))

    def fifty_seconds_later(record):
        now[0] += 50

    train(config(epochs=10, batch_size=64), noise, fifty_seconds_later, tmp_path)
    assert saved == [3, 6, 9]
    train(config(epochs=10, batch_size=64), noise, fifty_seconds_later)  # no folder, no checkpoint
    assert saved == [3, 6, 9]


def test_writing_checkpoints_changes_nothing(noise, tmp_path):
    assert_same(train(config(), noise, lambda record: None, tmp_path / "run"), train(config(), noise, lambda record: None))
    assert (tmp_path / "run" / "state.safetensors").is_file()


def test_what_was_trained_to_the_end_is_not_trained_again(noise, tmp_path):
    expected = train(config(), noise, lambda record: None, tmp_path / "run")  # then the process ends before the model is stored
    reported = []
    assert_same(train(config(), noise, reported.append, tmp_path / "run"), expected)
    assert reported == []


def test_a_resumed_training_with_dropout_gives_the_same_bits(noise, tmp_path):
    stage = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)]
    register_trunk("tests_checkpoint_dropout", lambda: nn.Sequential(*copy.deepcopy(stage)))
    given = config(trunk="tests_checkpoint_dropout")
    torch.manual_seed(1)
    expected = train(given, noise, lambda record: None)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    interrupted(given, noise, tmp_path / "run", 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(train(given, noise, lambda record: None, tmp_path / "run"), expected)
    alike = replace(noise.train, images=noise.train.images[:1].expand(64, -1, -1, -1), labels=torch.zeros(64, dtype=torch.long))
    frozen = config(trunk="tests_checkpoint_dropout", augmentation="none", batch_size=64, lr=1e-30)
    _, history = train(frozen, replace(noise, train=alike), lambda record: None)
    assert len({round(record["loss"], 6) for record in history}) == 5  # every epoch drops something else


class Twice(nn.Module):
    """One convolution under two names, one weight that is never used, in channels_last."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3)
        self.second = self.first
        self.idle = nn.Parameter(torch.ones(2))
        self.to(memory_format=torch.channels_last)

    def forward(self, x):
        return self.second(self.first(x))


def stepped(steps):
    torch.manual_seed(3)
    model = Twice()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(4)
    for _ in range(steps):
        step(model, optimizer, generator)
    return model, optimizer, generator


def step(model, optimizer, generator):
    images = torch.rand(2, 3, 9, 9, generator=generator).contiguous(memory_format=torch.channels_last)
    optimizer.zero_grad()
    model(images).square().mean().backward()
    optimizer.step()


def test_shared_and_unused_weights_are_restored_in_their_memory_format(tmp_path):
    expected, trained = stepped(3), stepped(2)
    history = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1e-300}]
    save_checkpoint(tmp_path / "run", *trained, history)
    model, optimizer, generator = stepped(0)
    assert load_checkpoint(tmp_path / "run", model, optimizer, generator) == history
    for parameter, state in optimizer.state.items():
        assert state["momentum_buffer"].stride() == parameter.stride()  # else every step would be slower
    assert model.idle not in optimizer.state
    step(model, optimizer, generator)
    for name, value in expected[0].state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert model.second is model.first
    assert torch.equal(generator.get_state(), expected[2].get_state())


def test_without_a_checkpoint_nothing_is_restored(tmp_path):
    model, optimizer, generator = stepped(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert load_checkpoint(tmp_path / "nowhere", model, optimizer, generator) == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert optimizer.state_dict()["state"] == {}
