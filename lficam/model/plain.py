"""The plain network that the others add to: trunk, global average pooling, a linear layer; explained by the original CAM.

Source: Zhou, Khosla, Lapedriza, Oliva, Torralba, "Learning Deep Features for Discriminative Localization", CVPR 2016.
"""

import torch
from torch import Tensor, nn

from lficam.model.cam import Explanation, normalize_map
from lficam.model.features import check_features, check_network, count_features
from lficam.model.saving import Savable


class Plain(nn.Module, Savable, paper_url="https://arxiv.org/abs/1512.04150"):
    """A classifier around any trunk whose class activation maps come from the weights of its last layer.

    trunk: any module, normalised image (N, 3, h, w) -> features (N, K, u, v).
    num_features: K; found by two forward passes when left out.
    num_classes: C.

    Called, it returns logits (N, C). Unlike LFI-CAM's and ABN's, its map is one of many, one a class, and nothing is computed from
    it: without it the answer would be the same.
    Raises InputError if the trunk returns something else than (N, num_features, u, v).
    """

    def __init__(self, trunk: nn.Module, num_features: int | None = None, num_classes: int = 1000):
        super().__init__()
        check_network(trunk, num_classes)
        self.num_features = num_features or count_features(trunk)
        self.trunk = trunk
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((-2, -1)))

    def explain(self, x: Tensor, classes: Tensor | None = None) -> Explanation:
        """Classify normalised images x (N, 3, h, w) and say what spoke for the predicted class, or for `classes` (N,) int64.

        A = s(sum_k w_ck F_k); there is no importance. Differentiable.
        """
        features = self.features(x)  # F (N, K, u, v)
        logits = self.fc(features.mean((-2, -1)))  # (N, C)
        weights = self.fc.weight[logits.argmax(1) if classes is None else classes]  # (N, K)
        cam = normalize_map(torch.einsum("nkuv,nk->nuv", features, weights).unsqueeze(1))  # (N, 1, u, v)
        return Explanation(logits, cam, None, features, aux_logits=None)

    def features(self, x: Tensor) -> Tensor:
        """F = trunk(x), checked: normalised images x (N, 3, h, w) -> (N, K, u, v)."""
        return check_features(self.trunk(x), self.trunk, self.num_features)
