"""Do the maps of several models lie on the object, where masks were known to those who kept the maps? C1 by models, not by one."""

from collections.abc import Sequence

import pandas as pd
import torch

from lficam.figures.charts import Chart, Dots
from lficam.figures.measured import Judged, Measured
from lficam.figures.models import models_of
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import judge_c1
from lficam.metrics import map_names
from lficam.metrics.intervals import known_interval
from lficam.training.runs import RunRecord

METRICS = {"energy": "energy inside the mask", "pointing": "pointing accuracy"}
OWN_MAPS = {  # the models' own, by method; without FIN it is the mean feature map
    "abn": map_names.ABN,
    "lfi-cam-without-fin": map_names.MEAN_WITHOUT_FIN,
    "lfi-cam": map_names.LFI_CAM,
    "plain": map_names.PLAIN,
}
ANYONES = ("a uniform map", "a centred blob")


def objects_figure(experiment: Experiment, runs: Sequence[RunRecord]) -> Result:
    """Energy and pointing of each method's maps, with intervals over images and models; C1.

    runs: with answers that hold those of LFI-CAM's mean feature map and of `ANYONES` (`results.write_training`).
    """
    models = {method: models_of(method, runs) for method in OWN_MAPS}
    answers = {method: [run.kept.answers for run in one.runs] for method, one in models.items()}
    columns = dict.fromkeys(OWN_MAPS.items(), "{}")
    columns |= {("lfi-cam", name): f"{{}} of {name}" for name in (map_names.MEAN_WITH_FIN, *ANYONES)}
    values = {
        name: {metric: torch.tensor([own[column.format(metric)].tolist() for own in answers[method]]) for metric in METRICS}
        for (method, name), column in columns.items()
    }
    for name in ANYONES:  # the same whatever the model
        values[name] = {metric: scores[0] for metric, scores in values[name].items()}
    measured = Measured(values, models["lfi-cam"].sources())
    judged = judge_objects(measured)
    rows = judged.table
    panels = [
        Dots(label, rows["map"].tolist(), rows[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy().tolist(), mark=chance)
        for metric, label in METRICS.items()
        for chance in [rows.set_index("map").loc["a uniform map", metric]]
    ]
    footnote = (
        f"{experiment.varied} of each method; {rows['images'].max()} test images with a mask; bars: 95 % intervals over images and "
        "models, of the last two over images. Dashed: the share of the image that the object covers, which a uniform map has."
    )
    chart = Chart(experiment.title, experiment.source, [panels], footnote)
    return Result(experiment, chart, judged.table, judged.verdicts, tuple(runs), measured=measured)


def judge_objects(measured: Measured) -> Judged:
    """One row a map; C1."""
    rows, energies = [], {name: found["energy"] for name, found in measured.values.items()}
    for name, found in measured.values.items():
        known = int((~found["energy"].isnan()).reshape(-1, len(measured.sources)).all(0).sum())
        row = {"map": name, "models": 1 if name in ANYONES else len(found["energy"]), "images": known}
        for metric, scores in found.items():
            row |= with_interval(metric, known_interval(scores, measured.sources))
        rows.append(row)
    maps = [energies[name] for name in (map_names.LFI_CAM, map_names.MEAN_WITH_FIN, map_names.MEAN_WITHOUT_FIN)]
    return Judged(pd.DataFrame(rows), (judge_c1(*maps, measured.sources, {name: energies[name] for name in ANYONES}),))
