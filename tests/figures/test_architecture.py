import pytest
import torch
from torch import nn

from lficam.errors import InputError
from lficam.figures.architecture import cost_of, cost_table, fin_table
from lficam.model.abn import ABN
from lficam.model.lfi_cam import LFICAM
from lficam.model.trunks import trunk


def test_table_1_agrees_with_the_supplement_but_for_the_stride():
    table = fin_table()
    assert len(table) == 5
    here = table["shape here"].str.replace("14, 14", "h/16, w/16")
    assert here.tolist() == table["shape in the supplement"].tolist()
    assert table["layer here"].str.replace("S1", "S0").tolist() == table["layer in the supplement"].tolist()


def test_costs_are_those_worked_out_by_hand():
    costs = cost_table()
    parameters, multiply_adds = costs["parameters (millions)"], costs["multiply-adds (billions)"]
    k, side = 2048, 14
    fin = 4 * (k * k * 9 + 2 * k)
    assert abs(parameters["FIN of LFI-CAM"] - fin / 1e6) < 1e-9
    assert abs(multiply_adds["FIN of LFI-CAM"] - 4 * k * k * 9 * side**2 / 1e9) < 1e-9
    # He et al. 2016: ResNet-50 takes 25.6 million parameters with its 2.05 million of the classifier.
    usual = "ResNet-50 trunk (stem stride 2, 7×7)"
    assert abs(parameters[usual] - (25.557 - 2.049)) < 1e-3
    # Every map of the fine trunk has four times the area.
    fine = "ResNet-50 trunk (stem stride 1, 14×14)"
    assert abs(multiply_adds[fine] / multiply_adds[usual] - 4) < 1e-2
    assert parameters[fine] == parameters[usual]


def test_the_cost_of_a_network_and_the_share_of_its_fin_worked_out_by_hand():
    k, c, side = 8, 5, 6  # a trunk of one 3x3 convolution with stride 2: 12 -> 6
    model = LFICAM(nn.Conv2d(3, k, 3, stride=2, padding=1), num_features=k, num_classes=c)
    fin, stem, fc = 4 * (k * k * 9 + 2 * k), 3 * k * 9 + k, k * c + c
    cost = cost_of(model, image_size=2 * side)
    assert cost.parameters == pytest.approx((fin + stem + fc) / 1e6, abs=1e-12)
    assert cost.fin_share_of_parameters == pytest.approx(fin / (fin + stem + fc), abs=1e-12)
    # The weighted sum of the feature maps is a matrix product too.
    area, fin = side**2, 4 * k * k * 9 * side**2
    whole = fin + 3 * k * 9 * area + k * area + k * c
    assert cost.multiply_adds == pytest.approx(whole / 1e9, abs=1e-12)
    assert cost.fin_share == pytest.approx(fin / whole, abs=1e-12)


def test_the_share_of_the_fin_on_resnet_50():
    with torch.device("meta"):
        model = LFICAM(trunk("resnet50"), num_classes=1000)
    cost, costs = cost_of(model, image_size=224), cost_table()
    fin, fine = costs.loc["FIN of LFI-CAM"], costs.loc["ResNet-50 trunk (stem stride 1, 14×14)"]
    parameters, multiply_adds = fin / (fin + fine)  # but for the classifier and the weighted sum
    assert cost.fin_share_of_parameters == pytest.approx(parameters, abs=0.02)
    assert cost.fin_share == pytest.approx(multiply_adds, abs=1e-3)


def test_a_model_without_fin_spends_nothing_on_it():
    cost = cost_of(LFICAM(nn.Conv2d(3, 4, 3), num_features=4, num_classes=2, fin=False), image_size=8)
    assert (cost.parameters, cost.fin_share_of_parameters, cost.fin_share) == ((3 * 4 * 9 + 4 + 4 * 2 + 2) / 1e6, 0, 0)


def test_counting_leaves_the_model_as_it_is():
    model = LFICAM(trunk("cifar_resnet8"), num_classes=2).double().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cost_of(model, image_size=28)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_abn_has_no_fin():
    with pytest.raises(InputError, match="ABN has no FIN"):
        cost_of(ABN(trunk("cifar_resnet8"), num_classes=2), image_size=28)
