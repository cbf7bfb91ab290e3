import pytest
from torch import nn

from lficam.errors import InputError
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM
from lficam.model.methods import METHODS, method_of
from lficam.model.plain import Plain
from lficam.model.saving import Savable


@pytest.mark.parametrize(
    ("name", "kind", "fin", "splits_trunk"),
    [
        ("lfi-cam", LFICAM, True, False),
        ("lfi-cam-without-fin", LFICAM, False, False),
        ("abn", ABN, False, True),
        ("plain", Plain, False, False),
    ],
)
def test_a_method_is_the_model_that_its_name_says(name, kind, fin, splits_trunk):
    method = METHODS[name]
    trunk = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 7, 3))
    model = method.build(trunk, num_classes=4)
    assert type(model) is kind is method.model
    assert model.fc.out_features == 4
    assert (getattr(model, "fin", None) is not None) == fin == method.fin
    assert method.splits_trunk == splits_trunk
    assert method_of(model) is method


def test_every_method_is_known_by_its_own_name_and_told_from_the_others():
    assert [method.name for method in METHODS.values()] == list(METHODS)
    for words in ([method.title for method in METHODS.values()], [method.short_title for method in METHODS.values()]):
        assert len(set(words)) == len(METHODS)


class Mine(LFICAM):
    """A user's own variant."""


def test_a_class_derived_from_one_is_of_its_method():
    trunk = nn.Conv2d(3, 5, 3)
    assert method_of(Mine(trunk, num_classes=2)) is METHODS["lfi-cam"]
    assert method_of(Mine(trunk, num_classes=2, fin=False)) is METHODS["lfi-cam-without-fin"]


class Other(nn.Module, Savable):
    """Of no method."""

    def __init__(self, trunk: nn.Module):
        super().__init__()


def test_a_model_of_no_method_is_named():
    with pytest.raises(InputError, match="Other is of no method: expected one of lfi-cam"):
        method_of(Other(nn.Conv2d(3, 5, 3)))
