"""Where a result comes from: versions, hardware, checksums. No path and no user name."""

import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("lficam", "torch", "torchvision", "timm", "accelerate", "torchcam", "torchmetrics", "numpy", "scipy", "scikit-learn")
PACKAGES += ("pandas", "matplotlib")


def environment() -> dict[str, object]:
    """Versions of Python and the packages that shape a number, the processor, its threads, and the GPU if there is one."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def hardware(environment: Mapping[str, object]) -> str:
    """What computed, in a few words, from what `environment` said there: the GPU, or the processor with its cores."""
    return environment["gpu"] or f"{environment['processor']}, {environment['cpus']} cores"


def sha256(file: Path) -> str:
    """Checksum of a file, hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:  # not Linux
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
