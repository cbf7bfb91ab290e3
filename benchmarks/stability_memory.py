"""The memory that `lficam stability` takes for two files of 5,000 maps of 224 x 224 pixels (1 GB each), of which it compares 1,000.

`peak`: the most that the process held, in gigabytes, with the mapped pages of libraries and files, which the system takes back when
memory is short. `own`: without them, looked at every 20 ms; 0.43 of it is torch and what else is imported. `version`: the commit.

    python benchmarks/stability_memory.py     (three minutes on two cores; stability_memory.csv keeps the rows of other versions)
"""

import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from lficam.provenance import environment, hardware

MAPS, SIZE = 5000, 224


def files(folder: Path) -> list[str]:
    """Two files of smooth noise, half of it common to both."""
    names = []
    for seed in (1, 2):
        maps = np.lib.format.open_memmap(folder / f"{seed}.npy", "w+", np.float32, (MAPS, SIZE, SIZE))
        for k in range(MAPS):
            common, own = (np.random.default_rng((k, s)).random((14, 14), np.float32) for s in (0, seed))
            maps[k] = np.kron(common + own, np.ones((16, 16), np.float32))
        maps.flush()
        del maps
        names.append(f"{seed}.npy")
    return names


with tempfile.TemporaryDirectory() as folder:
    names = files(Path(folder))
    start = time.perf_counter()
    process, own = subprocess.Popen([sys.executable, "-m", "lficam", "stability", *names], cwd=folder), 0.0
    while process.poll() is None:
        held = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())  # none as it ends
        own = max(own, int(held[1]) / 1e6) if held else own
        time.sleep(0.02)
    assert process.returncode == 0
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
table = pd.DataFrame([{"version": commit, "peak": peak, "own": own, "seconds": seconds, "hardware": hardware(environment())}])
file = Path(__file__).with_suffix(".csv")
if file.is_file():
    before = pd.read_csv(file)
    table = pd.concat([before[before["version"] != commit], table])
table.to_csv(file, index=False, float_format="%.3g")
print(table.to_string(index=False))
