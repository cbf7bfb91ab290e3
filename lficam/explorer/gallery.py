"""What there is to look at: the trained runs of a profile and their test images. The last few models are kept."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from lficam.data.datasets import dataset_info
from lficam.data.free_photographs import UNKNOWN
from lficam.data.samples import shuffled
from lficam.errors import InputError, MissingDataError
from lficam.explorer.answers import PHOTOGRAPHS, Network
from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.metrics.stability import pairwise_stability
from lficam.model.bundled import BUNDLED, bundled
from lficam.model.methods import METHODS
from lficam.training.bundled_runs import bundled_record, load_bundled
from lficam.training.config import RunConfig
from lficam.training.runs import RunRecord, is_stored, load_record, load_run

UNTRAINED = "untrained "  # before the id of a run
BUNDLED_DATA = "photographs"  # the data set of the models of the package, among the entries
ORDERS = ("shuffled", "least stable first")

_configs: dict[str, RunConfig] = {}  # the caller's, by run id: they know where the data lies now


class Entry(NamedTuple):
    """One trained run, without its model.

    dataset: name of its data set. data: what that is called. setting: its hyper-parameters, as `RunConfig.setting`.
    """

    run_id: str
    dataset: str
    data: str
    method: str
    setting: str
    seed: int

    @property
    def variant(self) -> str:
        """What tells it from others of its method: "lr 0.1, batch 32, decay 0.0001"; with its seed, unless that is 0."""
        return f"{self.setting}, seed {self.seed}" if self.seed else self.setting


def entries(profile: str = "embedded", overrides: Mapping[str, Any] | None = None) -> list[Entry]:
    """The trained runs that the figures of a profile are made from, in the order of the figures; then the models of the package.

    overrides: fields of RunConfig for every training, as for `experiments.experiment`.
    Figures whose data is missing or that the overrides do not fit, and damaged runs, are left out. Raises InputError for an unknown
    profile, or overrides that no figure with trainings can have.
    """
    found = {}
    for config in _planned(profile, overrides):
        id = config.run_id()
        if id in found or not is_stored(id):
            continue
        try:
            record = load_record(id)
        except InputError:  # damaged; `lficam runs` says so
            continue
        _configs[id] = config
        found[id] = _entry(record, config.dataset, dataset_info(config.dataset).title)
    records = [bundled_record(name) for name in BUNDLED if bundled(name)]
    return [*found.values(), *(_entry(record, BUNDLED_DATA, PHOTOGRAPHS) for record in records)]


def _entry(record: RunRecord, dataset: str, data: str) -> Entry:
    return Entry(record.id, dataset, data, record.config.method, record.config.setting, record.config.seed)


def _planned(profile: str, overrides: Mapping[str, Any] | None) -> list[RunConfig]:
    """The trainings of the figures whose data is there and that the overrides fit. Raises as `entries` does."""
    configs, without_data, refused = [], False, []
    for name, plan in EXPERIMENTS.items():
        if plan.trunks:  # models of one method differ in setting or seed alone here
            continue
        try:
            configs += experiment(name, profile, overrides).configs()
        except MissingDataError:
            without_data = True
        except InputError as error:
            refused.append(error)
    if refused and not configs and not without_data:
        raise refused[0]
    return configs


def comparable(found: Sequence[Entry]) -> dict[str, tuple[str, ...]]:
    """Runs of one data set and method that differ in setting, or in seed, alone: "LFI-CAM: 5 settings" -> their ids.

    Where a method has several such groups, their names say which: "LFI-CAM: 5 settings, seed 3".
    """
    groups = {}  # (method, what differs, what does not) -> run ids
    for method in METHODS:
        own = [entry for entry in found if entry.method == method]
        for seed in dict.fromkeys(entry.seed for entry in own):
            groups[method, "settings", f"seed {seed}"] = tuple(entry.run_id for entry in own if entry.seed == seed)
        for setting in dict.fromkeys(entry.setting for entry in own):
            groups[method, "seeds", setting] = tuple(entry.run_id for entry in own if entry.setting == setting)
    groups = {key: ids for key, ids in groups.items() if len(ids) > 1}
    alike = Counter((method, what) for method, what, _ in groups)
    named = {}
    for (method, what, common), ids in groups.items():
        name = f"{METHODS[method].title}: {len(ids)} {what}"
        named[f"{name}, {common}" if alike[method, what] > 1 else name] = ids
    return named


def network_of(run_id: str) -> Network:
    """A trained run, or a model of the package, with its model in evaluation mode; the last few are kept, with all they have said.

    run_id: behind `UNTRAINED` that of a run whose architecture is asked before it has learned anything.
    Raises InputError if there is no such run.
    """
    return _network(run_id, _configs.get(run_id.removeprefix(UNTRAINED)))


@lru_cache(maxsize=12)  # a large one takes 700 MB; there is room for the six of the fullest view, twice
def _network(run_id: str, config: RunConfig | None) -> Network:
    id = run_id.removeprefix(UNTRAINED)
    with torch.inference_mode(False):  # whoever asks first: weights made in that mode have no gradients for Grad-CAM
        run = load_bundled(id) if id in BUNDLED else load_run(id)
        if id != run_id:
            return Network(replace(run, config=config or run.config, model=run.untrained()), untrained=True)
    return Network(replace(run, config=config or run.config))


def browse(
    network: Network, label: str | None = None, wrong_only: bool = False, order: str = ORDERS[0], others: Sequence[str] = ()
) -> list[str]:
    """Ids of the test images of a network's data set.

    label: only those of the class of this name. wrong_only: only those that this network predicts wrongly.
    order: "shuffled", the seeded shuffle of which the figures show the first; "least stable first", by the mean IoU between the
        maps of every two of `others`, ids of at least two runs; images as stable stay shuffled.

    Raises InputError for an unknown class or order, or fewer than two others.
    """
    run, test = network.run, network.run.dataset.test
    if label is not None and label not in run.classes:
        raise InputError(f"unknown class {label!r}: expected one of {', '.join(run.classes[:20])}")
    if order not in ORDERS:
        raise InputError(f"unknown order {order!r}: expected one of {', '.join(ORDERS)}")
    fits = torch.ones(len(test), dtype=torch.bool)
    if label is not None:
        fits &= test.labels == run.classes.index(label)
    if wrong_only:
        fits &= (run.explained.probabilities.argmax(1) != test.labels) & (test.labels != UNKNOWN)
    ids = [test.ids[i] for i in shuffled(len(test)) if fits[i]]
    if order == "least stable first":
        ids.sort(key=_stability(tuple(others)).__getitem__)
    return ids


@lru_cache(maxsize=32)  # by ids: what is kept by networks would keep them too
def _stability(run_ids: tuple[str, ...]) -> dict[str, float]:
    """Test image -> mean IoU between the maps of every two runs."""
    if len(run_ids) < 2:
        raise InputError("this order needs two or more trained models of one method: choose another data set, or another order")
    runs = [network_of(id).run for id in run_ids]
    maps = {str(k): (run.explained.ids, run.explained.cam) for k, run in enumerate(runs)}
    pairs = pairwise_stability(maps, (runs[0].config.image_size,) * 2, metrics=("iou",))
    return pairs.groupby("id")["value"].mean().to_dict()
