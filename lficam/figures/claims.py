"""What is claimed and asked, and from what value on a claim holds: written before what it judges was computed.

C1 to C3 are the supplement's claims. Known when their rules were written: a pilot on digits (mean IoU between settings .69 for
LFI-CAM and .48 for ABN; an importance that spreads over 63.7 of 64 channels). E1 to E11 are this project's own questions, put as
claims. Known when those of E1 to E8 were written: the figures on digits without intervals, null lines, faithfulness. Known
when those of E9 to E11 were: all figures on digits; Cat&Dog at 64 pixels (ABN .33, LFI-CAM .24 trained, LFI-CAM .69 untrained);
and a pilot on STL10's photographs, three settings that shared a seed. Nothing had been computed from the maps in
`figures/results/stl10` and `figures/results/catdog`. The rules hold for every data set and profile. That untrained networks stand
beside E3 and E4, whose rules contain a weaker null, was added when all of their numbers were known; it changes no outcome.
"""

from typing import NamedTuple

CLAIMS = {
    "C1": "After the FIN's feature importance is incorporated, LFI-CAM focuses on the most distinguishable region of the object.",
    "C2": "ABN's maps of the same image are unreliable and inconsistent although the trained models have similar accuracy.",
    "C3": "LFI-CAM's maps are reliable and stable.",
}

# C1: the gain in energy inside the true mask that counts; two hundredths of the map's sum.
ENERGY_MARGIN = 0.02

# C2, C3: two areas count as the same from IoU 0.5 on, the PASCAL VOC criterion for a found object; nearer than the margin to it,
# a mean decides nothing.
SAME_AREA, IOU_MARGIN = 0.5, 0.05
STABLE_ABOVE, UNSTABLE_BELOW = SAME_AREA + IOU_MARGIN, SAME_AREA - IOU_MARGIN

# "Similar accuracy": at most this far below the best setting of the same method.
ACCURACY_MARGIN = 0.03
MINIMUM_SETTINGS = 3  # with similar accuracy; fewer make no statement about settings


class Question(NamedTuple):
    """A claim of this project's own about one quantity, which must be larger than the margin.

    quantity: what is measured, with its range or unit. null: what comes for free, if it is not a part of the question already.
    """

    claim: str
    quantity: str
    margin: float
    null: str = ""


_UNTRAINED = "the same difference between untrained networks"

# E9, E10 are judged by two metrics: raw IoU rewards large areas, and a tenth of the pixels is an area of the same size for all.
METRICS = {"iou": "mean IoU", "top_overlap": "overlap of the highest tenths"}
_BOTH = f"in {' and in '.join(METRICS.values())}"

QUESTIONS = {
    "E1": Question(
        "LFI-CAM's maps are more alike between hyper-parameter settings than ABN's.",
        "difference in mean IoU over all settings, LFI-CAM - ABN",
        0.0,
        _UNTRAINED,
    ),
    "E2": Question(
        "LFI-CAM's maps are more alike between seeds than ABN's.", "difference in mean IoU, LFI-CAM - ABN", 0.0, _UNTRAINED
    ),
    "E3": Question(
        "Two LFI-CAM models agree on an image more than one model's maps of different images do.",
        "mean IoU of the same image between settings - of different images in one model",
        IOU_MARGIN,  # less would be the stability of a map that says little about the image
        _UNTRAINED,
    ),
    "E4": Question(
        "LFI-CAM's own map finds what its prediction rests on better than a random map.",
        "difference in insertion - deletion AUC, own map - random map",
        0.0,
        "the same difference of the map of a network that has learned nothing",
    ),
    "E5": Question(
        "LFI-CAM's own map is as faithful to its model as Grad-CAM is.",
        "difference in insertion - deletion AUC, own map - Grad-CAM",
        -0.02,  # two hundredths of the probability: what is nearer than this is as good
    ),
    "E6": Question(
        "LFI-CAM's map depends on what the network has learned.",
        "1 - rank correlation with the map after all weights were drawn anew",
        0.5,  # a correlation above 0.5 would mean that the untrained network draws much the same map
    ),
    "E7": Question(
        "The importance that the FIN learns puts the map on the object better than a uniform one.",
        "difference in energy inside the true mask, learned - uniform",
        ENERGY_MARGIN,
    ),
    "E8": Question(
        "The classifier needs the importance that the FIN learns.",
        "difference in test accuracy, learned - uniform importance",
        0.01,  # one point
    ),
    "E9": Question("Training makes LFI-CAM's maps more alike.", f"difference {_BOTH}, trained - untrained pairs of networks", 0.0),
    "E10": Question(
        "LFI-CAM's maps are more alike than a plain network's CAMs of the true class.",
        f"difference {_BOTH}, LFI-CAM - plain network",
        0.0,
        _UNTRAINED,
    ),
    "E11": Question(
        "LFI-CAM classifies better than the plain network.", "difference in test accuracy, LFI-CAM - plain network", 0.0
    ),
}

# What the verdicts on the supplement's claims rest on; for the questions they say it themselves.
QUANTITIES = {
    "C1": "smaller of the two gains in energy inside the true mask",
    "C2": "ABN's mean IoU between settings of similar accuracy",
    "C3": "LFI-CAM's mean IoU between settings of similar accuracy",
} | {name: question.quantity for name, question in QUESTIONS.items()}
STATEMENTS = CLAIMS | {name: question.claim for name, question in QUESTIONS.items()}
