import math

import pytest
import torch
from torch.nn import functional as F

from lficam.abn import ABN
from lficam.config import RunConfig
from lficam.inference import normalize
from lficam.lfi_cam import LFICAM
from lficam.samples import Dataset, Samples
from lficam.training import Objective, batches, build_model, train

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
        (4, [1, 1, 0.1, 0.01]),
        (8, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
    ],
)
def test_the_learning_rate_falls_to_a_tenth_after_half_and_after_three_quarters(epochs, factors, tiny):
    _, history = fit(config(epochs=epochs, lr=0.1, batch_size=64), tiny)
    assert [record["lr"] for record in history] == pytest.approx([0.1 * factor for factor in factors])
    assert [record["epoch"] for record in history] == list(range(1, epochs + 1))


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
        for images, labels in batches(dataset, given, generator, torch.device("cpu")):
            e = model.explain(images)
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
        chunks = list(batches(dataset, config(batch_size=16), generator, torch.device("cpu")))
        assert [len(labels) for _, labels in chunks] == [16, 16, 16, 2]
        values = torch.cat([images[:, 0, 5, 5] for images, _ in chunks]) * 255
        order = ((values.round() - 1) / 2).long()
        assert sorted(order.tolist()) == list(range(50))
        assert torch.equal(torch.cat([labels for _, labels in chunks]), order % 2)
        orders.append(order.tolist())
    assert orders[0] != orders[1] != list(range(50))


def test_batches_are_normalised_by_the_dataset(tiny):
    images, labels = next(batches(tiny, config(batch_size=64), torch.Generator().manual_seed(0), torch.device("cpu")))
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
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
