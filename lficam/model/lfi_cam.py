"""LFI-CAM: a classifier whose class activation map is made in the forward pass and fed back as attention.

Source: Lee, Park, Oh, Kwak, "LFI-CAM: Learning Feature Importance for Better Visual Explanation", ICCV 2021 (arXiv
2105.00937), and Table 1 of its supplement.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lficam.errors import InputError
from lficam.model.cam import Explanation, class_activation_map, normalize_channels
from lficam.model.features import check_features, check_network, count_features
from lficam.model.initialization import initialize
from lficam.model.saving import Savable


class FeatureImportanceNetwork(nn.Sequential):
    """FIN: masked feature maps M (N, K, u, v) -> importance w (N, K), each row positive and summing to 1.

    Table 1: 4 x [CONV-(N K, K3, P1), BN, ReLU], global average pooling, softmax. The table prints stride "S0"; 1 is the only
    stride that keeps its shapes. The convolutions have no bias, since a batch norm follows.
    """

    def __init__(self, num_features: int):
        layers = []
        for _ in range(4):
            layers += [
                nn.Conv2d(num_features, num_features, kernel_size=3, stride=1, padding=1, bias=False),
                nn.BatchNorm2d(num_features),
                nn.ReLU(),
            ]
        super().__init__(*layers)
        initialize(self)

    def forward(self, masked: Tensor) -> Tensor:
        pooled = super().forward(masked).mean((-2, -1))  # (N, K)
        return torch.softmax(pooled, dim=1)


class LFICAM(nn.Module, Savable, paper_url="https://arxiv.org/abs/2105.00937"):
    """LFI-CAM around any trunk.

    trunk: any module, normalised image (N, 3, h, w) -> features (N, K, u, v).
    num_features: K; found by two forward passes when left out.
    num_classes: C.
    fin: False replaces the learned importance by 1/K and changes nothing else ("trained without FIN" in Fig. 1).

    Called, it returns logits (N, C) as every classifier does; `explain` returns the map as well. Its three steps are methods of
    their own, `features`, `importance` and `attend`, so that one can be replaced.
    Raises InputError if the trunk returns something else than (N, num_features, u, v).
    """

    def __init__(self, trunk: nn.Module, num_features: int | None = None, num_classes: int = 1000, fin: bool = True):
        super().__init__()
        check_network(trunk, num_classes)
        if not isinstance(fin, bool):
            raise InputError(f"fin={fin!r}: expected True, or False for equal importance of all channels")
        num_features = num_features or count_features(trunk)
        self.trunk = trunk
        self.fin = FeatureImportanceNetwork(num_features) if fin else None
        self.num_features = num_features
        self.attended = nn.Identity()  # the last feature maps before the classifier, for tools that look for them by a module
        self.fc = nn.Linear(num_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.explain(x).logits

    def explain(self, x: Tensor) -> Explanation:
        """Classify normalised images x (N, 3, h, w) and say where the model looked. Differentiable."""
        features = self.features(x)  # F (N, K, u, v)
        return self.attend(features, self.importance(features, x))

    def features(self, x: Tensor) -> Tensor:
        """F = trunk(x), checked: normalised images x (N, 3, h, w) -> (N, K, u, v)."""
        return check_features(self.trunk(x), self.trunk, self.num_features)

    def importance(self, features: Tensor, x: Tensor) -> Tensor:
        """w = softmax(GAP(FIN(M))), M_k = s(F_k) g: features (N, K, u, v) of images x (N, 3, h, w) -> (N, K)."""
        if self.fin is None:
            return torch.full_like(features[:, :, 0, 0], 1 / self.num_features)
        grey = x.mean(1, keepdim=True)  # g (N, 1, h, w)
        grey = F.interpolate(grey, size=features.shape[-2:], mode="bilinear", align_corners=False)  # (N, 1, u, v)
        return self.fin(normalize_channels(features) * grey)

    def attend(self, features: Tensor, importance: Tensor) -> Explanation:
        """Look at features (N, K, u, v) with the weights `importance` (N, K), whoever chose them, and classify."""
        cam = class_activation_map(features, importance)  # A (N, 1, u, v)
        attended = self.attended((1 + cam) * features)  # F' (N, K, u, v)
        logits = self.fc(attended.mean((-2, -1)))  # (N, C)
        return Explanation(logits, cam, importance, features, aux_logits=None)
