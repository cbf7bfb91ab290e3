"""ImageNet weights of timm's networks: by name, from the hub or its cache, or from a file of one's own. All of it fits, or none."""

import textwrap
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import torch
from torch import nn

from lficam.errors import InputError
from lficam.provenance import sha256

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


def has_weights(name: str) -> bool:
    """Whether timm has pretrained weights of a network. Asks no network."""
    from timm.models import is_model_pretrained

    return is_model_pretrained(name)


def statistics_of(name: str) -> Statistics:
    """Mean and standard deviation per channel, of pixels in [0, 1], that timm's weights of a network were made with."""
    from timm.models import get_pretrained_cfg

    made_with = get_pretrained_cfg(name)
    return tuple(made_with.mean), tuple(made_with.std)


def sha256_of_weights(file: str | Path) -> str:
    """What identifies weights wherever they lie. Raises InputError if there is no such file."""
    if not (path := Path(file).expanduser()).is_file():
        raise InputError(f"no weights at {path}: check the path")
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=32)
def _sha256(file: Path, size: int, changed: int) -> str:
    """size, changed: so that a second call need not read hundreds of megabytes again, unless the file is another one."""
    return sha256(file)


def fresh_network(name: str) -> nn.Module:
    """A network of timm with fresh weights, without its classifier."""
    import timm

    return timm.create_model(name, num_classes=0)


def network_from_file(name: str, file: Path) -> nn.Module:
    """A network of timm with the weights in a safetensors file, whose names are timm's, its classifier included.

    Raises InputError if the file is missing, damaged, or another network's.
    """
    import timm
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise InputError(f"no weights at {file}: check the path")
    network = timm.create_model(name)
    try:
        network.load_state_dict(load_file(file), strict=True)
    except SafetensorError as error:
        raise InputError(f"{file} is damaged or no safetensors file ({_reason(error)}): get it again") from error
    except RuntimeError as error:
        raise InputError(f"{file} holds other weights than those of {name!r}: {_reason(error)}") from error
    return network


def pretrained_network(name: str) -> nn.Module:
    """A network of timm with its ImageNet weights, from the hub the first time, from its cache from then on.

    Raises InputError if they cannot be had or do not fit.
    """
    import timm
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
    from safetensors import SafetensorError

    try:
        # With timm's own number of classes it loads strictly; with another, a missing weight would stay random, unsaid.
        return timm.create_model(name, pretrained=True)
    except (LocalEntryNotFoundError, HTTPError, URLError) as error:
        raise InputError(
            f"the pretrained weights of {name!r} could not be fetched from {_source(name)}: {_reason(error.__cause__ or error)}. "
            f"Connect to the network once, put them into {_cache(name)}, or leave pretrained out"
        ) from error
    except (SafetensorError, UnpicklingError, RuntimeError) as error:
        raise InputError(
            f"the pretrained weights of {name!r} in {_cache(name)} are damaged or another network's: {_reason(error)}. "
            "Delete them to have them fetched again, or leave pretrained out"
        ) from error


def _source(name: str) -> str:
    """A repository of the hub, or for the older ones an address."""
    from timm.models import get_pretrained_cfg

    weights = get_pretrained_cfg(name)
    return weights.hf_hub_id or weights.url


def _cache(name: str) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    source = _source(name)
    if "://" in source:
        return f"{torch.hub.get_dir()}/checkpoints/{source.rsplit('/', 1)[1]}"
    return f"{HF_HUB_CACHE}/models--{source.replace('/', '--')}"


def _reason(error: BaseException) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" ...").rstrip(".")
