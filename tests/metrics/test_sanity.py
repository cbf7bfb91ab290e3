import copy

import numpy as np
import pytest
import torch
from helpers import with_random_statistics
from torch import nn

from lficam.errors import InputError
from lficam.metrics.sanity import cascade, each_alone, stages
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import trunk

TRUNK = ["trunk.layer3", "trunk.layer2", "trunk.layer1", "trunk.stem"]


def cam_of(model, images):
    return model.explain(images).cam


def cam_and_gradient(model, images):
    """A map whose making needs gradients, as Grad-CAM's does."""
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(images).amax(1).sum(), images)
    return gradient.abs().mean(1, keepdim=True)


def made(build, seed):
    torch.manual_seed(seed)
    return with_random_statistics(build()).eval()


BUILDS = {
    "lfi-cam": lambda: LFICAM(trunk("cifar_resnet8"), num_classes=4),
    "without fin": lambda: LFICAM(trunk("cifar_resnet8"), num_classes=4, fin=False),
    "abn": lambda: ABN(trunk("cifar_resnet8"), num_classes=4),
}


@pytest.fixture(scope="module")
def images():
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def naive_correlation(a, b):
    """Spearman's rank correlation of two maps without ties but for zeros: Pearson's of the ranks, counted one by one."""
    a, b = a.flatten().tolist(), b.flatten().tolist()
    ranks = [[sum(y < x for y in values) + sum(y == x for y in values) / 2 for x in values] for values in (a, b)]
    return np.corrcoef(*ranks)[0, 1]


class Customised(nn.Module):
    """A trunk without stages."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.first(x).relu()


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (BUILDS["lfi-cam"], ["fc", "fin", *TRUNK]),
        (BUILDS["without fin"], ["fc", *TRUNK]),
        (BUILDS["abn"], ["fc", "attention_branch", *TRUNK]),
        (lambda: LFICAM(Customised(), num_classes=2), ["fc", "fin", "trunk"]),
        (lambda: LFICAM(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), num_classes=2), ["fc", "fin", "trunk.0"]),
    ],
)
def test_stages_go_from_the_output_to_the_input_and_hold_every_weight(build, expected):
    model = build()
    assert list(stages(model)) == expected
    held = [f"{stage}.{name}" for stage in expected for name in model.get_submodule(stage).state_dict()]
    assert sorted(held) == sorted(model.state_dict())


def test_another_model_has_no_known_stages():
    with pytest.raises(InputError, match="Sequential have no known order"):
        stages(nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize("build", BUILDS.values(), ids=list(BUILDS))
@pytest.mark.parametrize("maps_of", [cam_of, cam_and_gradient])
def test_a_model_randomised_by_itself_keeps_its_maps(build, maps_of, images):
    model = made(build, 1)
    similarity = cascade(model, model, images, maps_of)
    assert list(similarity) == ["trained", *stages(model)]
    for values in similarity.values():
        assert torch.equal(values, torch.ones(6))


@pytest.mark.parametrize("build", BUILDS.values(), ids=list(BUILDS))
def test_each_step_is_the_model_put_together_by_hand(build, images):
    model, untrained = made(build, 1), made(build, 2)
    similarity = cascade(model, untrained, images, cam_of)
    mixed = copy.deepcopy(model)
    reference = model.explain(images).cam.detach()
    for stage in stages(model):
        parent = mixed.trunk if stage.startswith("trunk.") else mixed
        setattr(parent, stage.removeprefix("trunk."), copy.deepcopy(untrained.get_submodule(stage)))
        cam = mixed.explain(images).cam.detach()
        expected = [naive_correlation(a, b) for a, b in zip(cam, reference, strict=True)]
        assert similarity[stage].tolist() == pytest.approx(expected, abs=1e-6), stage
    # Nothing of the trained model is left, statistics of its batch norms included.
    assert torch.equal(cam, untrained.explain(images).cam)
    assert similarity["trunk.stem"].abs().max() < 0.9


@pytest.mark.parametrize("build", BUILDS.values(), ids=list(BUILDS))
def test_each_stage_alone_is_the_trained_model_with_that_stage_replaced(build, images):
    model, untrained = made(build, 1), made(build, 2)
    before = copy.deepcopy(model.state_dict())
    similarity = each_alone(model, untrained, images, cam_of)
    assert list(similarity) == list(stages(model))
    reference = model.explain(images).cam.detach()
    for stage in stages(model):
        mixed = copy.deepcopy(model)
        parent = mixed.trunk if stage.startswith("trunk.") else mixed
        setattr(parent, stage.removeprefix("trunk."), copy.deepcopy(untrained.get_submodule(stage)))
        expected = [naive_correlation(a, b) for a, b in zip(mixed.explain(images).cam.detach(), reference, strict=True)]
        assert similarity[stage].tolist() == pytest.approx(expected, abs=1e-6), stage
    assert similarity["fc"].tolist() == [1] * len(images)  # the map is made before it
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "unseen"), [("lfi-cam", ["fc"]), ("without fin", ["fc"]), ("abn", ["fc", "trunk.layer3"])], ids=list(BUILDS)
)
def test_parts_behind_the_map_do_not_change_it(name, unseen, images):
    similarity = cascade(made(BUILDS[name], 1), made(BUILDS[name], 2), images, cam_of)
    before = torch.ones(6)
    for stage, values in similarity.items():
        assert stage == "trained" or torch.equal(values, before) == (stage in unseen), stage
        before = values


def pointwise(weights):
    """A trunk of two 1x1 convolutions of the image's mean, so that its weights say what every map is."""
    stem, layer = nn.Conv2d(3, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False)
    for convolution, weight in zip((stem, layer), weights, strict=True):
        nn.init.constant_(convolution.weight, weight)
    return LFICAM(nn.Sequential(stem, layer), num_classes=2, fin=False).eval()


def test_a_map_that_depends_on_one_stage_alone_changes_there():
    def stem_map(model, images):
        return model.trunk[0](images)

    images = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4).float()
    similarity = cascade(pointwise([1, 1]), pointwise([-2, 5]), images, stem_map)
    assert {stage: values.tolist() for stage, values in similarity.items()} == {
        "trained": [1, 1],
        "fc": [1, 1],
        "trunk.1": [1, 1],
        "trunk.0": [-1, -1],  # turned upside down
    }


def test_constant_maps_have_nothing_in_common():
    images = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images[1] = 0.5
    similarity = cascade(pointwise([1, 1]), pointwise([1, -1]), images, cam_of)
    # Weights that are negative give no map at all: the ReLU cuts it.
    assert similarity["trained"].tolist() == similarity["fc"].tolist() == [1, 0, 1]
    assert similarity["trunk.1"].tolist() == similarity["trunk.0"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("build", BUILDS.values(), ids=list(BUILDS))
def test_neither_model_nor_the_global_generators_change(build, images):
    models = made(build, 1).train(), made(build, 2).train()
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in models]
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    cascade(*models, images, lambda model, images: cam_of(model.eval(), images))
    for model, state in zip(models, before, strict=True):
        assert model.training
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])


def test_the_maps_are_made_in_evaluation_mode(images):
    model = made(BUILDS["lfi-cam"], 1)
    assert torch.equal(
        cascade(model, made(BUILDS["lfi-cam"], 2), images, cam_of)["trunk.stem"],
        cascade(model.train(), made(BUILDS["lfi-cam"], 2).train(), images, cam_of)["trunk.stem"],
    )


@pytest.mark.parametrize(
    "other",
    [BUILDS["abn"], BUILDS["without fin"], lambda: LFICAM(trunk("cifar_resnet8"), num_classes=5)],
)
def test_another_architecture_is_refused(other, images):
    with pytest.raises(InputError, match=r"differ in \d+ weights, such as '.*another seed"):
        cascade(made(BUILDS["lfi-cam"], 1), made(other, 2), images, cam_of)
