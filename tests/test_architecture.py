from lficam.architecture import cost_table, fin_table


def test_table_1_agrees_with_the_seed_but_for_the_stride():
    table = fin_table()
    assert len(table) == 5
    here = table["shape here"].str.replace("14, 14", "h/16, w/16")
    assert here.tolist() == table["shape in the seed"].tolist()
    assert table["layer here"].str.replace("S1", "S0").tolist() == table["layer in the seed"].tolist()


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
