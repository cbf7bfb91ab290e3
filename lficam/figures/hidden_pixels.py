"""Extra figure 4: how faithful are the maps to their models? What becomes of the answer when pixels are hidden in their order.

Measured on several models of every method, which differ in their seed, and on the same test images; the intervals are over images
and models (`intervals`).
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.data import digits
from lficam.data.augmentation import normalize
from lficam.figures.charts import Chart, Dots, in_rows
from lficam.figures.measured import Judged, Measured, stacked
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import for_free, judge
from lficam.metrics import map_names
from lficam.metrics.baselines import BASELINES, baseline_maps, random_maps
from lficam.metrics.faithfulness import blurred, insertion_deletion
from lficam.metrics.intervals import Interval, interval, known_interval
from lficam.metrics.localisation import localisation
from lficam.model.abn import ABN
from lficam.model.devices import device_of, on_best_device
from lficam.model.plain import Plain
from lficam.training.explain import BATCH, explain_batches
from lficam.training.runs import Run, RunRecord

# Of a table's quantities, those that the figure shows.
PANELS = {
    "insertion_minus_deletion": "insertion − deletion, mean colour",
    "insertion_minus_deletion_blurred": "the same, blurred",
    "insertion_minus_deletion_black": "the same, black",
    "less_than_own_map_by": "LFI-CAM's own map better by (judged)",
    "pointing": "pointing accuracy",
    "energy": "energy inside the mask",
}


def faithfulness_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Extra figure 4: the models' own maps beside those of other methods for the same models; E4, E5."""
    return faithfulness_chart(experiment, measure_faithfulness(experiment, runs), runs)


def measure_faithfulness(experiment: Experiment, runs: Sequence[Run]) -> Measured:
    """What becomes of the runs' answers when pixels are hidden in the order of each map, and whether the map is on the object."""
    index = experiment.judged_images(runs[0].dataset)
    return Measured(_scores(runs, index), runs[0].sources(index), runs=[run.id for run in runs])


def faithfulness_chart(experiment: Experiment, measured: Measured, runs: Sequence[RunRecord]) -> Result:
    """The figure, from what was measured of the runs."""
    judged, panels = judge_faithfulness(measured), []
    table = judged.table
    for metric, label in PANELS.items():
        if metric in table:
            values = table[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy().tolist()
            difference = metric == "less_than_own_map_by"
            by_chance = None if difference else table.set_index("map")[metric][map_names.RANDOM]
            panels.append(Dots(label, table["map"].tolist(), values, by_chance, zero=difference))
    footnote = (
        f"{experiment.varied} of each method; the first {len(measured.sources)} test images of a seeded shuffle; bars: 95 % "
        f"intervals over images and {table['models'].max()} models. Higher is better, but in the panel that is judged: right of "
        "zero LFI-CAM's own map is the better one. Dashed: the random map. A map is judged by its own model and the class that it "
        "predicts, LFI-CAM untrained, which has learned nothing, by the trained LFI-CAM. Maps of one model compare; ABN, LFI-CAM "
        "without FIN and plain are other classifiers, so a difference to their maps is one of models, too. What a hidden pixel "
        "shows: the mean colour, the blurred image, black."
    )
    chart = Chart(experiment.title, experiment.source, in_rows(panels, 3), footnote)
    return Result(experiment, chart, table, judged.verdicts, tuple(runs), measured=measured, remarks=judged.remarks)


def judge_faithfulness(measured: Measured) -> Judged:
    """One row a map; E4, beside what the map of a network that has learned nothing does; E5."""
    values, sources, rows = measured.values, measured.sources, []
    own = values[map_names.LFI_CAM]["insertion_minus_deletion"]
    for name, found in values.items():
        row = {"map": name, "models": len(own), "images": len(sources)}
        for metric, scores in found.items():
            row |= with_interval(metric, known_interval(scores, sources))
        rows.append(row | with_interval("less_than_own_map_by", interval(own - found["insertion_minus_deletion"], sources)))
    untrained = _more_faithful(values, map_names.LFI_CAM_UNTRAINED, map_names.RANDOM, sources)
    excess = _more_faithful(values, map_names.LFI_CAM, map_names.LFI_CAM_UNTRAINED, sources)
    verdicts = (
        judge(
            "E4",
            _more_faithful(values, map_names.LFI_CAM, map_names.RANDOM, sources),
            free=for_free("an untrained network's map", untrained, excess),
        ),
        judge("E5", _more_faithful(values, map_names.LFI_CAM, map_names.GRAD_CAM, sources)),
    )
    return Judged(pd.DataFrame(rows), verdicts)


def _more_faithful(values: Mapping[str, Mapping[str, Tensor]], a: str, b: str, sources: Sequence[str]) -> Interval:
    return interval(values[a]["insertion_minus_deletion"] - values[b]["insertion_minus_deletion"], sources)


def _scores(runs: Sequence[Run], index: Sequence[int]) -> dict[str, dict[str, Tensor]]:
    """Map -> metric -> (S, N)."""
    scores = {}
    for run in runs:
        images, classes = run.inputs(index), run.explained.probabilities[index].argmax(1)
        masks = run.masks(index)
        with on_best_device(run.model):
            for name, cams in _maps_to_judge(run, images, classes, index).items():
                for metric, values in (_faithful(run, images, cams, classes) | localisation(cams, masks)).items():
                    scores.setdefault(name, {}).setdefault(metric, []).append(values)
    return stacked(scores)


def _faithful(run: Run, images: Tensor, cams: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Insertion and deletion over the mean colour, and their difference over everything that a hidden pixel may show."""
    canvases = {"": None, "_blurred": blurred(images)}
    if run.config.dataset in digits.RECIPES:  # which lie on black
        canvases["_black"] = normalize(torch.zeros(1, 3, 1, 1), run.mean, run.std)
    scores = {}
    for name, under in canvases.items():
        found = insertion_deletion(run.model, images, cams, classes, under=under)
        scores[f"insertion_minus_deletion{name}"] = found["insertion"] - found["deletion"]
        if not name:
            scores |= {metric: found[metric] for metric in ("insertion", "deletion")}
    return scores


def _maps_to_judge(run: Run, images: Tensor, classes: Tensor, index: Sequence[int]) -> dict[str, Tensor]:
    """Name -> (N, 1, u, v)."""
    cams, mean_features = run.explained.cam[index], run.explained.mean_features[index]
    if isinstance(run.model, ABN):
        return {map_names.ABN: cams}
    if isinstance(run.model, Plain):
        return {map_names.PLAIN: cams}
    if run.model.fin is None:
        return {map_names.MEAN_WITHOUT_FIN: mean_features}
    return {
        map_names.LFI_CAM: cams,
        map_names.MEAN_WITH_FIN: mean_features,
        **{name: baseline_maps(name, run.model, images, classes) for name in BASELINES},
        map_names.LFI_CAM_UNTRAINED: _untrained_map(run, images),
        map_names.RANDOM: random_maps(len(images), cams.shape[-1], run.config.seed),
    }


def _untrained_map(run: Run, images: Tensor) -> Tensor:
    device = device_of(run.model)
    return explain_batches(run.untrained().to(device), (part.to(device) for part in images.split(BATCH))).cam
