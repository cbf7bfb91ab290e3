import math
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lficam.data.augmentation import normalize
from lficam.data.samples import Dataset, Samples
from lficam.errors import InputError
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import register_trunk, trunk
from lficam.training import loop
from lficam.training.config import RunConfig
from lficam.training.loop import Objective, build_model, learning_rate, train

CPU = torch.device("cpu")

METHODS = ["lfi-cam", "lfi-cam-without-fin", "abn"]


def halves(count, seed):
    """Noise that is brighter on the left (class 0) or on the right (class 1)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 120, (count, 3, 16, 16), generator=generator)
    images[labels == 0, :, :, :8] += 120
    images[labels == 1, :, :, 8:] += 120
    ids = tuple(f"{seed}/{i}" for i in range(count))
    return Samples(ids, images.to(torch.uint8), labels, torch.full((count, 2), 16.0))


@pytest.fixture(scope="module")
def tiny():
    return Dataset("halves", ("left", "right"), (0.47,) * 3, (0.3,) * 3, halves(64, 0), halves(16, 1))


def config(**fields):
    given = {
        "dataset": "folder",
        "trunk": "cifar_resnet8",
        "image_size": 16,
        "augmentation": "none",
        "batch_size": 16,
        "epochs": 1,
        "lr": 0.05,
    }
    return RunConfig(**(given | fields))


def fit(given, dataset):
    return train(given, dataset, on_epoch=lambda record: None)


def same_weights(a, b):
    b = b.state_dict()
    return all(torch.equal(value, b[name]) for name, value in a.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_falls_in_a_few_steps(method, tiny):
    model, history = fit(config(method=method, epochs=5), tiny)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["accuracy"] > 0.9
    test = normalize(tiny.test.images / 255, tiny.mean, tiny.std)
    assert (model(test).argmax(1) == tiny.test.labels).float().mean() > 0.9
    assert not model.training
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_the_same_bits_and_another_does_not(method, tiny):
    given = config(method=method, augmentation="crop-flip")
    (first, history), (again, history_again) = fit(given, tiny), fit(given, tiny)
    assert same_weights(first, again)
    assert [record["loss"] for record in history] == [record["loss"] for record in history_again]
    other, _ = fit(config(method=method, augmentation="crop-flip", seed=1), tiny)
    assert not same_weights(first, other)


def test_the_state_of_the_global_generator_does_not_matter(tiny):
    torch.manual_seed(5)
    first, _ = fit(config(), tiny)
    torch.manual_seed(6)
    again, _ = fit(config(), tiny)
    assert same_weights(first, again)


@pytest.mark.parametrize(
    ("epochs", "factors"),
    [
        (1, [1]),
        (2, [1, 0.1]),
        (3, [1, 0.1, 0.01]),
        (4, [1, 1, 0.1, 0.01]),
        (8, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        (300, [1] * 150 + [0.1] * 75 + [0.01] * 75),
    ],
)
def test_the_learning_rate_falls_to_a_tenth_after_half_and_after_three_quarters(epochs, factors):
    rates = [learning_rate(config(epochs=epochs, lr=0.1), epoch) for epoch in range(1, epochs + 1)]
    assert rates == pytest.approx([0.1 * factor for factor in factors])


@pytest.mark.parametrize("lr", [0.1, 0.05, 0.01, 0.3])
def test_the_learning_rate_is_that_of_multi_step_lr_bit_for_bit(lr):
    for epochs in [*range(1, 30), 300]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
        drops = [max(1, epochs // 2), max(2, epochs * 3 // 4)]
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, gamma=0.1)
        for epoch in range(1, epochs + 1):
            assert learning_rate(config(epochs=epochs, lr=lr), epoch) == schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()


def test_each_epoch_is_trained_at_its_learning_rate(tiny):
    used = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"]))
    try:
        _, history = fit(config(epochs=4, lr=0.1, batch_size=32), tiny)
    finally:
        hook.remove()
    assert used == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])  # two batches an epoch
    assert [record["lr"] for record in history] == used[::2]
    assert [record["epoch"] for record in history] == [1, 2, 3, 4]


def test_every_epoch_is_reported_as_it_ends(tiny):
    reported = []
    _, history = train(config(epochs=2), tiny, reported.append)
    assert reported == history
    assert all(set(record) == {"epoch", "lr", "loss", "accuracy", "seconds"} for record in history)
    assert all(isinstance(value, int | float) for record in history for value in record.values())


def train_by_hand(given, dataset, rates):
    """SGD with momentum .9 and weight decay, written out, with one learning rate an epoch: the model and its loss in each epoch."""
    model = build_model(given, len(dataset.classes)).train()
    velocity = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    generator = torch.Generator().manual_seed(given.seed)
    history = []
    for rate in rates:
        total = 0.0
        for images, labels in dataset.train.augmented(given.image_size, given.augmentation, given.batch_size, generator, CPU):
            e = model.explain(normalize(images, dataset.mean, dataset.std))
            loss = sum(F.cross_entropy(logits, labels) for logits in (e.logits, e.aux_logits) if logits is not None)
            model.zero_grad()
            loss.backward()
            total += loss.item() * len(labels)
            with torch.no_grad():
                for name, value in model.named_parameters():
                    velocity[name] = 0.9 * velocity[name] + value.grad + given.weight_decay * value
                    value -= rate * velocity[name]
        history.append(total / len(dataset.train))
    return model, history


@pytest.mark.parametrize("method", METHODS)
def test_training_is_sgd_with_momentum_and_weight_decay(method, tiny):
    # Small steps, so that rounding (float32 adds up differently in another memory layout) stays small; the last batch is smaller.
    given = config(method=method, epochs=4, batch_size=24, lr=0.001, weight_decay=0.1)
    expected, losses = train_by_hand(given, tiny, [1e-3, 1e-3, 1e-4, 1e-5])
    model, history = fit(given, tiny)
    assert [record["loss"] for record in history] == pytest.approx(losses, rel=1e-3)
    start, end, by_hand = (
        torch.cat([value.flatten() for value in network.parameters()]) for network in (build_model(given, 2), model, expected)
    )
    assert (end - by_hand).norm() < 0.005 * (by_hand - start).norm()


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_is_the_sum_of_the_cross_entropies_of_all_heads(method, tiny):
    model = build_model(config(method=method), 2).eval()
    images, labels = normalize(tiny.train.images[:6] / 255, tiny.mean, tiny.std), tiny.train.labels[:6]
    loss, logits = Objective(model)(images, labels)
    e = model.explain(images)
    expected = 0.0
    for head in (e.logits, e.aux_logits):
        if head is not None:
            for row, label in zip(head.double().tolist(), labels.tolist(), strict=True):
                expected += (math.log(sum(math.exp(value) for value in row)) - row[label]) / 6
    assert (e.aux_logits is not None) is (method == "abn")
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(logits, e.logits)


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_not_finite_ends_the_training(method, tiny):
    reported = []
    with pytest.raises(FloatingPointError, match=r"loss is (nan|inf) in epoch 1.*lr=1e\+30"):
        train(config(method=method, lr=1e30), tiny, reported.append)
    assert reported == []


def test_an_image_that_is_not_finite_ends_the_training(tiny):
    broken = Dataset(tiny.name, tiny.classes, (float("nan"),) * 3, tiny.std, tiny.train, tiny.test)
    with pytest.raises(FloatingPointError, match="nan in epoch 1"):
        fit(config(), broken)


def numbered(count):
    """Images that can be told apart by their one value, 2 i + 1; black does not occur."""
    images = (2 * torch.arange(count) + 1).view(count, 1, 1, 1).expand(count, 3, 16, 16).to(torch.uint8)
    samples = Samples(tuple(str(i) for i in range(count)), images, torch.arange(count) % 2, torch.full((count, 2), 16.0))
    return Dataset("numbered", ("even", "odd"), (0.0,) * 3, (1.0,) * 3, samples, samples)


def test_every_image_is_seen_once_an_epoch_with_its_label():
    dataset = numbered(50)
    generator = torch.Generator().manual_seed(0)
    orders = []
    for _ in range(2):
        chunks = list(dataset.train.augmented(16, "none", 16, generator, CPU))
        assert [len(labels) for _, labels in chunks] == [16, 16, 16, 2]
        values = torch.cat([images[:, 0, 5, 5] for images, _ in chunks]) * 255
        order = ((values.round() - 1) / 2).long()
        assert sorted(order.tolist()) == list(range(50))
        assert torch.equal(torch.cat([labels for _, labels in chunks]), order % 2)
        orders.append(order.tolist())
    assert orders[0] != orders[1] != list(range(50))


def test_the_network_is_given_every_image_once_an_epoch_normalised_by_the_dataset(tiny, monkeypatch):
    given = []
    real = Objective.forward
    monkeypatch.setattr(Objective, "forward", lambda self, *batch: (given.append(batch), real(self, *batch))[1])
    fit(config(batch_size=24, epochs=2), tiny)
    assert [len(labels) for _, labels in given] == [24, 24, 16, 24, 24, 16]
    images, labels = (torch.cat(column) for column in zip(*given, strict=True))
    generator = torch.Generator().manual_seed(0)
    order = torch.cat([torch.randperm(64, generator=generator) for _ in range(2)])
    assert torch.allclose(images, (tiny.train.images[order] / 255 - 0.47) / 0.3, atol=1e-6)
    assert torch.equal(labels, tiny.train.labels[order])


@pytest.mark.parametrize("method", METHODS)
def test_building_a_model_leaves_the_global_generator_alone(method):
    torch.manual_seed(9)
    before = torch.get_rng_state()
    first = build_model(config(method=method), 2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(10)
    assert same_weights(first, build_model(config(method=method), 2))
    assert not same_weights(first, build_model(config(method=method, seed=1), 2))


@pytest.mark.parametrize(
    ("method", "kind", "fin"), [("lfi-cam", LFICAM, True), ("lfi-cam-without-fin", LFICAM, False), ("abn", ABN, None)]
)
def test_each_method_builds_its_model(method, kind, fin):
    model = build_model(config(method=method, stem_stride=2), 7)
    assert type(model) is kind
    assert fin is None or (model.fin is not None) is fin
    assert model.fc.out_features == 7
    assert model.trunk.spec == {"name": "cifar_resnet8", "stem_stride": 2}


def test_methods_start_from_the_same_trunk():
    trunks = [build_model(config(method=method), 2).trunk for method in METHODS]
    assert same_weights(trunks[0], trunks[1])
    assert same_weights(trunks[0], trunks[2])


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_trains(method, tiny):
    model, history = fit(config(method=method, precision="bfloat16", epochs=3), tiny)
    assert history[-1]["loss"] < history[0]["loss"]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


class Gpu:
    """An accelerator of accelerate's, as far as it is asked what it is."""

    def __init__(self, **options):
        assert options == {"mixed_precision": "no"}
        self.device = torch.device("cuda")


def test_bfloat16_is_refused_on_a_gpu_that_only_emulates_it(tiny, monkeypatch):
    monkeypatch.setattr("accelerate.Accelerator", Gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    with pytest.raises(InputError, match=r"precision='bfloat16': Tesla T4 cannot .*precision=float32"):
        fit(config(precision="bfloat16"), tiny)
    assert loop._accelerator(config(precision="float32")).device.type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert loop._accelerator(config(precision="bfloat16")).device.type == "cuda"


@pytest.mark.parametrize(
    ("method", "new"), [("lfi-cam", "fin, fc"), ("lfi-cam-without-fin", "fc"), ("abn", "attention_branch, fc")]
)
def test_it_says_what_is_new_on_a_pretrained_trunk(method, new, tiny, monkeypatch, capsys):
    asked = []

    def build(name, stem_stride, pretrained, out_stride, weights):
        asked.append((name, pretrained))
        return trunk("cifar_resnet8")  # needs no network

    monkeypatch.setattr(loop, "trunk", build)
    fit(config(method=method, trunk="resnet18", pretrained=True), tiny)
    assert asked == [("resnet18", True)]
    assert capsys.readouterr().out == f"trunk resnet18: ImageNet weights; new, to be trained from scratch: {new}\n"
    fit(config(method=method, trunk="resnet18"), tiny)
    assert capsys.readouterr().out == ""


def with_dropout():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)))


@pytest.mark.parametrize("method", METHODS)
def test_dropout_is_the_same_in_every_training_and_takes_nothing_from_the_global_generator(method, tiny):
    register_trunk("tests_training_dropout", with_dropout)
    register_trunk("tests_training_no_dropout", lambda: with_dropout().apply(lambda part: setattr(part, "p", 0.0)))
    given = config(method=method, trunk="tests_training_dropout", epochs=2, augmentation="crop-flip")
    found = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(fit(given, tiny))
        assert torch.equal(torch.get_rng_state(), before)
    (first, history), (again, history_again) = found
    assert same_weights(first, again)
    assert [record["loss"] for record in history] == [record["loss"] for record in history_again]
    for fields in ({"trunk": "tests_training_no_dropout"}, {"seed": 1}):
        assert not same_weights(first, fit(given.model_copy(update=fields), tiny)[0])


def two_stages():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch 2.11 says so of its own compiler
def test_a_compiled_training_gives_nearly_the_same_model(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # processes that compile would outlive the test
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    register_trunk("tests_training_two_stages", two_stages)  # little to compile
    fields = {"trunk": "tests_training_two_stages", "batch_size": 32, "epochs": 2}
    expected, history = fit(config(**fields), tiny)
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    model, compiled_history = train(config(**fields, compile=True), tiny, lambda record: None, tmp_path / "checkpoint")
    assert graphs["unique_graphs"] > before  # it was compiled
    assert [record["loss"] for record in compiled_history] == pytest.approx([record["loss"] for record in history], rel=1e-4)
    for name, value in expected.state_dict().items():
        assert torch.allclose(model.state_dict()[name], value, atol=1e-4), name
    saved = {name for name in load_file(tmp_path / "checkpoint" / "state.safetensors") if name.startswith("model.")}
    assert saved == {f"model.model.{name}" for name in expected.state_dict()}  # not "_orig_mod."
    model.save_pretrained(tmp_path / "model")
    assert load_file(tmp_path / "model" / "model.safetensors").keys() == expected.state_dict().keys()
    assert same_weights(LFICAM.from_pretrained(tmp_path / "model"), model)
