import pytest
from torch import nn

from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM
from lficam.model.methods import METHODS


@pytest.mark.parametrize(
    ("name", "kind", "fin", "splits_trunk"),
    [("lfi-cam", LFICAM, True, False), ("lfi-cam-without-fin", LFICAM, False, False), ("abn", ABN, False, True)],
)
def test_a_method_is_the_model_that_its_name_says(name, kind, fin, splits_trunk):
    method = METHODS[name]
    trunk = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 7, 3))
    model = method.build(trunk, num_classes=4)
    assert type(model) is kind is method.model
    assert model.fc.out_features == 4
    assert (getattr(model, "fin", None) is not None) == fin == method.fin
    assert method.splits_trunk == splits_trunk


def test_every_method_is_known_by_its_own_name_and_told_from_the_others():
    assert [method.name for method in METHODS.values()] == list(METHODS)
    for words in ([method.title for method in METHODS.values()], [method.short_title for method in METHODS.values()]):
        assert len(set(words)) == len(METHODS)
