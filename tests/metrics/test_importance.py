import math

import pytest
import torch
from helpers import with_random_statistics
from torch import nn

from lficam.errors import InputError
from lficam.metrics.importance import IMPORTANCES, effective_channels, replaced_importance, swap_importance
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import trunk


@pytest.fixture(scope="module")
def trained():
    """A model whose batch norms are not neutral, nine images, and its own importance of them."""
    torch.manual_seed(0)
    model = with_random_statistics(LFICAM(trunk("cifar_resnet8"), num_classes=4)).eval()
    images = torch.randn(9, 3, 16, 16)
    with torch.inference_mode():
        e = model.explain(images)
    return model, images, e


def uneven(count, channels, seed=0):
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(1)


def test_effective_channels_worked_out_by_hand():
    w = torch.tensor([[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0], [0, 0.25, 0.5, 0.25]])
    # The last one: H = 2/4 log 4 + 1/2 log 2 = 1.5 log 2.
    assert torch.allclose(effective_channels(w), torch.tensor([1, 4, 2, 2**1.5]))


def test_the_learned_importance_stays_as_it_is():
    w = uneven(5, 7)
    assert torch.equal(replaced_importance("learned", w), w)


@pytest.mark.parametrize("channels", [5, 64])
def test_uniform_is_that_of_a_model_without_fin(channels):
    features = torch.randn(3, channels, 4, 4)
    plain = LFICAM(nn.Conv2d(3, channels, 1), num_features=channels, num_classes=2, fin=False)
    assert torch.equal(replaced_importance("uniform", uneven(3, channels)), plain.importance(features, torch.zeros(3, 3, 4, 4)))


@pytest.mark.parametrize("kind", IMPORTANCES)
def test_every_kind_is_an_importance_and_leaves_the_learned_one_alone(kind):
    w = uneven(50, 20)
    before = w.clone()
    other = replaced_importance(kind, w)
    assert other.dtype == w.dtype
    assert (other >= 0).all()
    assert torch.allclose(other.sum(1), torch.ones(50), atol=1e-6)
    assert torch.equal(w, before)


def test_permuted_deals_the_same_weights_to_other_channels_of_each_image():
    w = uneven(400, 6)
    permuted = replaced_importance("permuted", w)
    assert torch.equal(permuted.sort(1).values, w.sort(1).values)
    # Where each weight went, image by image: 400 draws hit about 307 of 6! = 720 orders, a channel gets each weight 1 time in 6.
    orders = (permuted[:, :, None] == w[:, None, :]).float()  # (N, to, from)
    assert len(orders.flatten(1).unique(dim=0)) > 250
    assert (orders.mean(0) - 1 / 6).abs().max() < 4 * math.sqrt(1 / 6 * 5 / 6 / 400)


def test_random_is_uniform_on_the_simplex():
    k = 4
    drawn = replaced_importance("random", torch.full((20_000, k), 1 / k)).double()
    # Dirichlet(1, ..., 1): mean 1/K, variance (K - 1) / (K^2 (K + 1)), covariance -1 / (K^2 (K + 1)), P(w_k > t) = (1 - t)^(K - 1).
    expected = (torch.eye(k, dtype=torch.double) * k - 1) / (k**2 * (k + 1))
    assert (drawn.mean(0) - 1 / k).abs().max() < 0.006
    assert (drawn.T.cov() - expected).abs().max() < 0.001
    for t in (0.1, 0.5, 0.9):
        assert ((drawn > t).double().mean(0) - (1 - t) ** (k - 1)).abs().max() < 0.015


@pytest.mark.parametrize("kind", ["random", "permuted"])
def test_a_seed_gives_the_same_draw_and_another_seed_another(kind):
    w, state = uneven(5, 30), torch.get_rng_state()
    assert torch.equal(replaced_importance(kind, w, seed=3), replaced_importance(kind, w, seed=3))
    assert not torch.equal(replaced_importance(kind, w, seed=3), replaced_importance(kind, w, seed=4))
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_kind_names_those_there_are():
    with pytest.raises(InputError, match=r"'even'.*learned, uniform, random, permuted"):
        replaced_importance("even", uneven(2, 3))


def test_its_own_importance_gives_what_the_model_says(trained):
    model, images, e = trained
    cam, probabilities = swap_importance(model, images, e.importance)
    assert torch.equal(cam, e.cam)
    assert torch.equal(probabilities, e.logits.softmax(1))


def test_uniform_weights_give_what_the_same_weights_say_without_fin(trained):
    model, images, e = trained
    plain = LFICAM(model.trunk, num_classes=4, fin=False).eval()
    plain.fc = model.fc
    cam, probabilities = swap_importance(model, images, replaced_importance("uniform", e.importance))
    expected = plain.explain(images)
    assert torch.equal(cam, expected.cam)
    assert torch.equal(probabilities, expected.logits.softmax(1))
    assert not torch.allclose(cam, e.cam, atol=1e-3)


def test_one_channel_alone_is_the_map(trained):
    model, images, e = trained
    busy = (e.features.amax((2, 3)) > e.features.amin((2, 3))).float()
    channel = busy.argmax(1)
    cam, _ = swap_importance(model, images, nn.functional.one_hot(channel, 64).float())
    one = e.features[torch.arange(9), channel].relu()
    low, high = one.amin((1, 2), keepdim=True), one.amax((1, 2), keepdim=True)
    assert torch.allclose(cam[:, 0], (one - low) / (high - low), atol=1e-6)


def test_the_answer_does_not_depend_on_the_batch_size(trained):
    model, images, e = trained
    model = model.double()
    w = replaced_importance("permuted", e.importance).double()
    together = swap_importance(model, images.double(), w, batch_size=64)
    apart = swap_importance(model, images.double(), w, batch_size=2)
    model.float()
    for a, b in zip(together, apart, strict=True):
        assert a.dtype == torch.float32
        assert torch.allclose(a, b, atol=1e-6)


def test_a_model_in_training_is_not_changed(trained):
    model, images, e = trained
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cam, _ = swap_importance(model.train(), images, e.importance)
    assert torch.equal(cam, e.cam)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_no_importance_is_refused(trained):
    model, images, e = trained
    w = e.importance
    for message, wrong in {
        r"\(8, 64\).*expected \(9, 64\)": w[:8],
        r"\(9, 63\).*expected \(9, 64\)": w[:, 1:],
        "image 4 .*NaN": w.index_fill(0, torch.tensor(4), math.nan),
        "image 2 .*negative": w - torch.eye(9, 64).roll(2, 0)[:, :1],
        "image 7 sums to 2": w * (1 + (torch.arange(9) == 7).float().unsqueeze(1)),
    }.items():
        with pytest.raises(InputError, match=message):
            swap_importance(model, images, wrong)


def test_abn_has_no_importance():
    model = ABN(trunk("cifar_resnet8"), num_classes=2)
    with pytest.raises(InputError, match="ABN has no importance"):
        swap_importance(model, torch.zeros(1, 3, 16, 16), torch.full((1, 64), 1 / 64))
