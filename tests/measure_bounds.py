"""How far the embedded numbers move between machines: trains everything under other numbers of threads and instruction sets.

The same seed gives other trainings there, because sums are added up in another order. Writes embedded_bounds.csv beside this
file, which tests/figures/test_embedded_numbers.py reads; what this processor cannot do stays there as it was measured on another.
About twenty-five minutes a variant on 2 cores.

    python tests/measure_bounds.py STORE     (a folder for the trained runs; what is there is not trained again)
"""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from helpers import BOUNDS, numbers

KEY = ["figure", "row", "quantity"]
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
VARIANTS = {
    "AVX-512, 2 threads": (2, {}),
    "AVX-512, 1 thread": (1, {}),
    "AVX2, 2 threads": (2, AVX2),
    "AVX2, 1 thread": (1, AVX2),
}


def measure(store: Path) -> pd.DataFrame:
    """One row a number: figure, row, quantity, and its value under each variant."""
    measured = pd.read_csv(BOUNDS, index_col=KEY) if BOUNDS.is_file() else pd.DataFrame()
    columns = dict(measured.items())
    for variant, (threads, environment) in VARIANTS.items():
        if variant.startswith("AVX-512") and torch.backends.cpu.get_cpu_capability() != "AVX512":
            continue
        folder = store / variant.replace(", ", "-").replace(" ", "")
        folders = {"LFICAM_RUNS": str(folder / "runs"), "LFICAM_FIGURES": str(folder / "figures")}
        command = [sys.executable, "-m", "lficam", "figures", "--set", f"threads={threads}"]
        subprocess.run(command, env=os.environ | environment | folders, check=True)
        columns[variant] = pd.Series(
            {
                (file.stem, *key): value
                for file in sorted((folder / "figures").glob("embedded-*/*.csv"))
                for key, value in numbers(pd.read_csv(file)).items()
            }
        )
    return pd.DataFrame({variant: columns[variant] for variant in VARIANTS if variant in columns}).rename_axis(KEY)


if __name__ == "__main__":
    measure(Path(sys.argv[1])).to_csv(BOUNDS, float_format="%.4f")
