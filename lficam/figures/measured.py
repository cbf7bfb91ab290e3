"""Numbers of every image, model and map: what a figure's table and verdicts are made of, and what is kept to make them again."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lficam.figures.verdicts import Verdict
from lficam.paths import atomic_file

SUFFIX = ".safetensors"


class Measured(NamedTuple):
    """What was measured of S models on N images.

    values: map, or whatever is compared -> metric -> (N,) of one model, (S, N), or (S, S, N) between every two models; NaN where an
        image has no such number. sources: N names, as for `intervals.interval`. seeds: of the S models, where they matter.
    runs: ids of the runs that it was measured on.
    """

    values: Mapping[str, Mapping[str, Tensor]]
    sources: Sequence[str]
    seeds: Sequence[int] = ()
    runs: Sequence[str] = ()

    def save(self, file: Path) -> None:
        """Write it as safetensors in float32."""
        keys = [(name, metric) for name, found in self.values.items() for metric in found]
        values = (self.values[name][metric] for name, metric in keys)
        tensors = {str(k): one.float().contiguous().clone() for k, one in enumerate(values)}  # two may be one tensor
        about = {"keys": keys, "sources": list(self.sources), "seeds": list(self.seeds), "runs": list(self.runs)}
        with atomic_file(file) as temporary:
            save_file(tensors, temporary, {"about": json.dumps(about)})  # several keys would lie in another order each time

    @classmethod
    def load(cls, file: Path) -> "Measured":
        """What `save` wrote."""
        values = {}
        with safe_open(file, "pt") as stored:
            about = json.loads(stored.metadata()["about"])
            for k, (name, metric) in enumerate(about["keys"]):
                values.setdefault(name, {})[metric] = stored.get_tensor(str(k))
        return cls(values, about["sources"], about["seeds"], about["runs"])


class Judged(NamedTuple):
    """What follows from it: a figure's table, its verdicts, and what else came out, in sentences without their full stop."""

    table: pd.DataFrame
    verdicts: tuple[Verdict, ...] = ()
    remarks: tuple[str, ...] = ()


def stacked(scores: Mapping[str, Mapping[str, Sequence[Tensor]]]) -> dict[str, dict[str, Tensor]]:
    """Name -> metric -> (S, ...), from one tensor a model."""
    return {name: {metric: torch.stack(list(values)) for metric, values in found.items()} for name, found in scores.items()}
