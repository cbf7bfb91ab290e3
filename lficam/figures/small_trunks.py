"""Small networks of every kind that the supplement names, and a customised one: what Extra figure 9 puts LFI-CAM on."""

from torch import nn

from lficam.model.trunks import register_trunk

CUSTOMISED = "three_stages"

# Name of a trunk -> what it is, in the order of the supplement.
SMALL_TRUNKS = {
    "cifar_resnet8": "ResNet-8",
    "cifar_densenet16_12": "DenseNet-16",
    "cifar_resnext11_4x4d_4c": "ResNeXt-11",
    "cifar_seresnet8": "SENet-8",
    CUSTOMISED: "customised",
}


def three_stages() -> nn.Sequential:
    """A classifier of one's own, without its last layers: image (N, 3, h, w) -> features (N, 64, h/4, w/4)."""

    def stage(channels_in: int, channels: int, stride: int) -> nn.Sequential:
        convolution = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())

    return nn.Sequential(stage(3, 16, 1), stage(16, 32, 2), stage(32, 64, 2))


register_trunk(CUSTOMISED, three_stages)
