"""Tools of others that users already have: each works with the model as it is, and gives what this library gives."""

import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lficam.metrics.baselines import baseline_maps
from lficam.metrics.faithfulness import faithfulness
from lficam.model.abn import ABN
from lficam.model.cam import normalize_map, resize_map
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import trunk
from lficam.training.loop import Objective

SIDE, STEPS = 24, 12  # pixels; a step of all channels must divide the pixels, asks Quantus


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = LFICAM(trunk("cifar_resnet8"), num_classes=4)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 32, 32))
    return model.eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def classes(model, images):
    return model(images).argmax(1)


def test_captum_makes_the_same_grad_cam(model, images, classes):
    from captum.attr import LayerGradCam

    maps = LayerGradCam(model, model.trunk).attribute(images, classes, relu_attributions=True)
    torch.testing.assert_close(normalize_map(maps).detach(), baseline_maps("Grad-CAM", model, images, classes), atol=1e-5, rtol=0)


def test_captums_occlusion_is_what_the_answer_loses(model, images, classes):
    from captum.attr import Occlusion

    loss = Occlusion(model).attribute(images, (3, 12, 12), strides=(3, 12, 12), target=classes)
    hidden = images.clone()
    hidden[:, :, :12, 12:] = 0
    rows = torch.arange(len(images))
    expected = (model(images) - model(hidden))[rows, classes]
    torch.testing.assert_close(loss[:, 0, 0, 23], expected.detach(), atol=1e-5, rtol=0)


def test_quantus_takes_our_maps_and_its_pixel_flipping_is_our_deletion(model, images, classes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        import quantus

    cams = resize_map(model.explain(images).cam.detach(), (SIDE, SIDE))
    # It uses the order of the pixels alone. Equal values go row by row here, and in any order there: so it gets the ranks.
    order = cams.flatten(1).sort(dim=1, descending=True, stable=True).indices
    ranks = order.argsort(dim=1).neg().double().view(3, 1, SIDE, SIDE)
    flipping = quantus.PixelFlipping(
        features_in_step=3 * SIDE * SIDE // STEPS, perturb_baseline=0.0, normalise=False, disable_warnings=True
    )
    curves = flipping(model, images.numpy(), classes.numpy(), ranks.numpy(), device="cpu", softmax=True)
    rows = torch.arange(len(images))
    whole = model(images).softmax(1)[rows, classes].detach().numpy()
    areas = [np.trapezoid([first, *curve]) / STEPS for first, curve in zip(whole, curves, strict=True)]
    np.testing.assert_allclose(areas, faithfulness(model, images, cams, classes, STEPS)["deletion"], atol=1e-5)


def test_pytorch_grad_cam_makes_the_same_grad_cam(model, images, classes):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with GradCAM(model, target_layers=[model.trunk[-1]]) as method:
        maps = method(images, [ClassifierOutputTarget(label) for label in classes.tolist()])
    expected = resize_map(baseline_maps("Grad-CAM", model, images, classes), (SIDE, SIDE))
    assert maps.shape == (3, SIDE, SIDE)
    # It enlarges by OpenCV and adds 1e-7 before it divides.
    np.testing.assert_allclose(maps, expected[:, 0].numpy(), atol=1e-3)


@pytest.mark.parametrize("make", [LFICAM, ABN])
def test_lightning_trains_it(make, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning

    class Training(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.objective = Objective(make(trunk("cifar_resnet8"), num_classes=4))

        def training_step(self, batch, index):
            return self.objective(*batch)[0]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    batches = [(torch.randn(4, 3, 16, 16), torch.arange(4)) for _ in range(2)]
    expected = Training()
    training = Training()
    training.load_state_dict(expected.state_dict())
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(accelerator="cpu", max_steps=2, default_root_dir=tmp_path, **options)
        trainer.fit(training, DataLoader(batches, batch_size=None))
    optimizer = expected.configure_optimizers()
    for batch in batches:
        optimizer.zero_grad()
        expected.training_step(batch, 0).backward()
        optimizer.step()
    for got, wanted in zip(training.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(got, wanted)
