"""How long it takes to compare maps: five settings, a thousand images of 224 x 224 pixels, each metric, seconds.

The maps are noise of 14 x 14 cells, a part of it common to all settings. `pair by pair`: scipy's ranks and torchmetrics' SSIM of
each pair anew, on a tenth of the images, times ten, as the library did it before; `difference`: the largest between the values.
`peak`: the most memory that the process held so far, in gigabytes.

    python benchmarks/compare_maps.py     (two minutes on two quiet cores; compare_maps.csv keeps the rows of other processors)
"""

import resource
import time
from itertools import combinations
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import rankdata
from torchmetrics.functional.image import structural_similarity_index_measure

from lficam.metrics.similarity import METRICS
from lficam.metrics.stability import pair_matrix, pairwise_stability
from lficam.model.cam import resize_map
from lficam.provenance import environment, hardware

SETTINGS, IMAGES, SIZE = 5, 1000, (224, 224)


def mean_ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return structural_similarity_index_measure(a, b, reduction="none", data_range=1.0)


def rank_correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    ranks = (torch.from_numpy(rankdata(cam.flatten(1).numpy(), axis=1)) for cam in (a, b))
    x, y = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    return torch.nn.functional.cosine_similarity(x, y)


generator = torch.Generator().manual_seed(0)
common = torch.rand(IMAGES, 1, 14, 14, generator=generator)
maps = {f"{k}": (common + torch.rand(IMAGES, 1, 14, 14, generator=generator)) / 2 for k in range(SETTINGS)}
ids = [str(i) for i in range(IMAGES)]
start = time.perf_counter()
everything = pairwise_stability({name: (ids, cams) for name, cams in maps.items()}, SIZE, metrics=tuple(METRICS))
rows = [{"metric": "all together", "seconds": time.perf_counter() - start}]
rows[0]["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # Linux counts kilobytes
for name in METRICS:
    start = time.perf_counter()
    pairwise_stability({name: (ids, cams) for name, cams in maps.items()}, SIZE, metrics=[name])
    rows.append({"metric": name, "seconds": time.perf_counter() - start})
for name, metric in (("ssim", mean_ssim), ("spearman", rank_correlation)):
    shown = {setting: resize_map(cams[: IMAGES // 10], SIZE) for setting, cams in maps.items()}
    start = time.perf_counter()
    values = torch.stack([metric(shown[a], shown[b]) for a, b in combinations(shown, 2)])
    seconds = 10 * (time.perf_counter() - start)
    found = pair_matrix(everything, name)[*torch.triu_indices(SETTINGS, SETTINGS, 1), : IMAGES // 10]
    rows[1 + list(METRICS).index(name)] |= {"pair_by_pair": seconds, "difference": (found - values).abs().max().item()}
here = environment()
table = pd.DataFrame(rows).assign(hardware=hardware(here), instructions=here["instructions"], torch=torch.__version__)
file = Path(__file__).with_suffix(".csv")
if file.is_file():
    others = pd.read_csv(file)
    table = pd.concat([others[others["instructions"] != here["instructions"]], table])
table.to_csv(file, index=False, float_format="%.3g")
print(table.to_string())
