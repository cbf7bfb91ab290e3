import pytest
import torch

from lficam.figures.measured import Measured, stacked


def test_what_is_saved_is_read_in_its_order(tmp_path):
    values = {
        "the second, by name": {"pointing": torch.tensor([1.0, float("nan")]), "energy": torch.rand(2)},
        "a map / of both": {"pairs": torch.rand(3, 3, 2), "energy": torch.rand(3, 2)},
    }
    for name in ("figure", "again"):
        Measured(values, ["one", "two"], [4, 2, 3], ["a run", "another"]).save(tmp_path / f"{name}.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "figure.safetensors").read_bytes()
    read = Measured.load(tmp_path / "figure.safetensors")
    assert (read.sources, read.seeds, read.runs) == (["one", "two"], [4, 2, 3], ["a run", "another"])
    assert {name: list(found) for name, found in read.values.items()} == {name: list(found) for name, found in values.items()}
    assert list(read.values) == list(values)
    for name, found in values.items():
        for metric, tensor in found.items():
            assert torch.equal(read.values[name][metric].nan_to_num(-1), tensor.nan_to_num(-1)), (name, metric)


def test_tensors_of_one_model_each_are_stacked():
    found = stacked({"map": {"energy": [torch.tensor([0.1, 0.2]), torch.tensor([0.3, 0.4])]}})
    assert found["map"]["energy"].tolist() == [pytest.approx([0.1, 0.2]), pytest.approx([0.3, 0.4])]
