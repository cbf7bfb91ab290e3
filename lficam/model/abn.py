"""ABN, the Attention Branch Network: the model that LFI-CAM is compared with.

Source: Fukui, Hirakawa, Yamashita, Fujiyoshi, "Attention Branch Network: Learning of Attention Mechanism for Visual
Explanation", CVPR 2019 (arXiv 1812.10025).
"""

import copy

from torch import Tensor, nn

from lficam.errors import InputError
from lficam.model.cam import Explanation, normalize_map
from lficam.model.features import check_network, count_features
from lficam.model.initialization import initialize
from lficam.model.saving import Savable


class AttentionBranch(nn.Module):
    """features (N, K', u, v) -> class scores (N, C) and attention map (N, 1, u, v) in (0, 1).

    A copy of the trunk's last stage with stride 1 -> BN -> 1x1 conv to C -> BN -> ReLU, which then feeds both heads.
    """

    def __init__(self, last_stage: nn.Module, num_features: int, num_classes: int):
        super().__init__()
        self.stage = _with_stride_one(last_stage)
        self.evidence = nn.Sequential(
            nn.BatchNorm2d(num_features),
            nn.Conv2d(num_features, num_classes, 1, bias=False),
            nn.BatchNorm2d(num_classes),
            nn.ReLU(),
        )
        self.scores = nn.Conv2d(num_classes, num_classes, 1, bias=False)
        self.attention = nn.Sequential(nn.Conv2d(num_classes, 1, 3, padding=1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())
        initialize(self)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        evidence = self.evidence(self.stage(features))  # (N, C, u, v)
        return self.scores(evidence).mean((-2, -1)), self.attention(evidence)


class ABN(nn.Module, Savable, paper_url="https://arxiv.org/abs/1812.10025"):
    """Attention Branch Network around a staged trunk.

    trunk: an `nn.Sequential` of stages, normalised image (N, 3, h, w) -> (N, K, u, v), such as `lficam.trunk` makes. Its last
        stage becomes the perception branch, a copy of that stage with stride 1 the attention branch.
    num_features: K, the channels after the last stage; found by two forward passes when left out.
    num_classes: C.

    Called, it returns the perception branch's logits (N, C). In `explain`, `features` (N, K', u, v) are those before the last
    stage, which the attention multiplies; `cam` is the attention map normalised to [0, 1]; `aux_logits` are the attention
    branch's class scores, to be trained with a cross-entropy of their own; there is no importance.
    A training needs both losses: on the logits alone, a part of the attention branch gets no gradient, which
    `DistributedDataParallel` refuses in the second step ("Expected to have finished reduction"); `training.loop.Objective` adds
    both.
    Raises InputError if the trunk has no stages to split.
    """

    def __init__(self, trunk: nn.Module, num_features: int | None = None, num_classes: int = 1000):
        super().__init__()
        check_network(trunk, num_classes)
        if not isinstance(trunk, nn.Sequential) or len(trunk) < 2:
            raise InputError(
                f"ABN splits its trunk before the last stage, so it needs an nn.Sequential of at least two stages; got "
                f"{type(trunk).__name__}: wrap the stages in nn.Sequential, or use LFICAM, which takes any module"
            )
        num_features = num_features or count_features(trunk)
        self.trunk = trunk
        self.attention_branch = AttentionBranch(trunk[-1], num_features, num_classes)
        self.fc = nn.Linear(num_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.explain(x).logits

    def explain(self, x: Tensor) -> Explanation:
        """Classify normalised images x (N, 3, h, w) and say where the model looked. Differentiable."""
        *stages, last_stage = self.trunk
        features = x
        for stage in stages:
            features = stage(features)  # (N, K', u, v)
        aux_logits, attention = self.attention_branch(features)  # (N, C), A (N, 1, u, v)
        perceived = last_stage((1 + attention) * features)
        logits = self.fc(perceived.mean((-2, -1)))  # (N, C)
        return Explanation(logits, normalize_map(attention), None, features, aux_logits)


def _with_stride_one(stage: nn.Module) -> nn.Module:
    stage = copy.deepcopy(stage)
    for module in list(stage.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                setattr(module, name, _same_size(child))
            pools = not list(child.parameters())  # a residual block has a `stride` too
            if pools and getattr(child, "stride", 1) not in (1, (1, 1)):
                setattr(module, name, nn.Identity())
    return _same_size(stage) if isinstance(stage, nn.Conv2d) else stage


def _same_size(convolution: nn.Conv2d) -> nn.Module:
    """The convolution with stride 1; one that halved the map in patches, without a border, gets one, else it would lose a row."""
    halved, convolution.stride = convolution.stride != (1, 1), (1, 1)
    height, width = convolution.kernel_size
    pads_itself = type(convolution) is not nn.Conv2d  # timm's Conv2dSame
    if not halved or pads_itself or convolution.padding != (0, 0) or (height, width) == (1, 1):
        return convolution
    border = ((width - 1) // 2, width // 2, (height - 1) // 2, height // 2)  # left, right, top, bottom
    return nn.Sequential(nn.ZeroPad2d(border), convolution)
