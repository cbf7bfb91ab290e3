"""Every figure by its name: those of the supplement, the supplementary material of LFI-CAM (ICCV 2021), and those beyond it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from lficam.data.datasets import data_fingerprint
from lficam.errors import InputError
from lficam.figures.plan import Experiment
from lficam.figures.profiles import PROFILES, SETTINGS
from lficam.figures.small_trunks import SMALL_TRUNKS
from lficam.training.config import RunConfig, describe

SEEDS = 5  # of one setting, beside the five settings of one seed

_OF_THE_SUPPLEMENT = (
    Experiment(
        stem="table1_architecture",
        notebook="00_architecture",
        title="Architecture of the FIN",
        caption="Architecture of Feature Importance Network (FIN).",
    ),
    Experiment(
        stem="fig1_fin_effectiveness",
        notebook="01_fin_effectiveness",
        title="Effectiveness of the Feature Importance Network",
        caption="Visualization of the Feature Importance Network Effectiveness. (a) Input image, (b) Pixel-wise mean feature map "
        "from the last convolutional layer of LFI-CAM trained without FIN, (c) Pixel-wise mean feature map from the last "
        "convolutional layer of LFI-CAM trained with FIN, (d) CAM generated from LFI-CAM.",
        supplement_dataset="imagenet",
        methods=("lfi-cam-without-fin", "lfi-cam"),
        shown=5,
    ),
    Experiment(
        stem="fig2_explanations_cifar100",
        notebook="02_explanations_cifar100",
        title="Visual explanations of ABN and LFI-CAM",
        caption="Visual Explanation Results of ABN and LFI-CAM for CIFAR100",
        supplement_dataset="cifar100",
        methods=("abn", "lfi-cam"),
        shown=10,
    ),
    Experiment(
        stem="fig3_explanations_stl10",
        notebook="03_explanations_stl10",
        title="Visual explanations of ABN and LFI-CAM",
        caption="Visual Explanation Results of ABN and LFI-CAM for STL10",
        supplement_dataset="stl10",
        methods=("abn", "lfi-cam"),
        shown=10,
    ),
    Experiment(
        stem="fig4_explanations_imagenet",
        notebook="04_explanations_imagenet",
        title="Visual explanations of ABN and LFI-CAM",
        caption="Visual Explanation Results of ABN and LFI-CAM for ImageNet",
        supplement_dataset="imagenet",
        methods=("abn", "lfi-cam"),
        shown=10,
    ),
    Experiment(
        stem="fig5_stability_stl10",
        notebook="05_stability_stl10",
        title="Stability of ABN's and LFI-CAM's maps",
        caption="Examples of stability test on visual explanation. Each row displays CAM results of ABN or LFI-CAM models that "
        "were trained with various (5) hyper-parameters on the STL10 dataset.",
        supplement_dataset="stl10",
        methods=("abn", "lfi-cam"),
        settings=len(SETTINGS),
        shown=4,
    ),
    Experiment(
        stem="fig6_stability_catdog",
        notebook="06_stability_catdog",
        title="Stability of ABN's and LFI-CAM's maps",
        caption="Examples of stability test on visual explanation. Each row displays CAM results of ABN or LFI-CAM models that "
        "were trained with various (5) hyper-parameters on the Cat&Dog dataset.",
        supplement_dataset="catdog",
        methods=("abn", "lfi-cam"),
        settings=len(SETTINGS),
        shown=4,
    ),
)

# What the claims rest on, which the supplement does not have.
_BEYOND_IT = (
    Experiment(
        stem="extra1_agreement_stl10",
        notebook="05_stability_stl10",
        title="How alike are the maps of Figure 5?",
        caption="The models of Figure 5, and plain networks under the same settings: the mean IoU of two models' maps with its "
        "95 % interval, beside three null lines, and against the threshold above which a map counts as on.",
        supplement_dataset="stl10",
        methods=("abn", "lfi-cam", "plain"),
        settings=len(SETTINGS),
    ),
    Experiment(
        stem="extra2_agreement_catdog",
        notebook="06_stability_catdog",
        title="How alike are the maps of Figure 6?",
        caption="The models of Figure 6, and plain networks under the same settings: the mean IoU of two models' maps with its "
        "95 % interval, beside three null lines, and against the threshold above which a map counts as on.",
        supplement_dataset="catdog",
        methods=("abn", "lfi-cam", "plain"),
        settings=len(SETTINGS),
    ),
    Experiment(
        stem="extra3_agreement_seeds",
        notebook="08_faithfulness",
        title="How alike are the maps of models that differ in their seed alone?",
        caption="As Extra figure 1, for one hyper-parameter setting trained with five seeds.",
        supplement_dataset="stl10",
        methods=("abn", "lfi-cam-without-fin", "lfi-cam", "plain"),
        seeds=SEEDS,
    ),
    Experiment(
        stem="extra4_faithfulness",
        notebook="08_faithfulness",
        title="How faithful are the maps to their models?",
        caption="Insertion less deletion: what becomes of the probability when pixels are shown, and hidden, in the order of a map;"
        " pointing accuracy and energy where the object is known. Means over five models and their 95 % intervals.",
        supplement_dataset="stl10",
        methods=("abn", "lfi-cam-without-fin", "lfi-cam", "plain"),
        seeds=SEEDS,
        judged=35,  # to judge a map takes 40 forward passes an image
    ),
    Experiment(
        stem="extra5_sanity",
        notebook="08_faithfulness",
        title="Do the maps depend on what the networks have learned?",
        caption="Rank correlation of a map with that of the trained network while the weights are drawn anew, stage by stage from"
        " the output on.",
        supplement_dataset="stl10",
        methods=("abn", "lfi-cam-without-fin", "lfi-cam", "plain"),
        seeds=SEEDS,
        judged=60,  # about 7 forward passes an image
    ),
    Experiment(
        stem="extra6_two_objects",
        notebook="08_faithfulness",
        title="Class dependence: pictures of two objects",
        caption="LFI-CAM and ABN have one map for all classes, Grad-CAM and a plain network's CAM one for each. Pictures of two "
        "test images of different classes, side by side; no training image shows two.",
        supplement_dataset="stl10",
        methods=("abn", "lfi-cam", "plain"),
        seeds=SEEDS,
        shown=4,
        judged=200,  # two for a picture
    ),
    Experiment(
        stem="extra7_importance",
        notebook="08_faithfulness",
        title="What does the FIN do?",
        caption="The learned importance of the channels replaced by a uniform, a random and a permuted one, without training "
        "again: what becomes of the map and of the accuracy; and the accuracy of networks trained without a FIN.",
        supplement_dataset="stl10",
        methods=("lfi-cam", "lfi-cam-without-fin"),
        seeds=SEEDS,
        judged=1000,
    ),
    Experiment(
        stem="extra8_learning",
        notebook="08_faithfulness",
        title="Is stability learned, kept or lost?",
        caption="How alike the maps of models are that differ in their seed alone, while they learn: the mean IoU of two models' "
        "maps of an image and the overlap of their highest tenths, after epochs 0, 1, 2, 4, ... and the last; and their accuracy.",
        supplement_dataset="stl10",
        methods=("abn", "lfi-cam-without-fin", "lfi-cam", "plain"),
        seeds=SEEDS,
    ),
    Experiment(
        stem="extra9_trunks",
        notebook="09_trunks",
        title="LFI-CAM on any trunk",
        caption="LFI-CAM on small networks of each kind that the paper names and on a customised one: the maps of the same test "
        "images, what the networks cost, and how well they classify.",
        supplement_dataset="stl10",
        methods=("lfi-cam",),
        trunks=tuple(SMALL_TRUNKS),
        shown=4,
    ),
)

EXPERIMENTS = {plan.name: plan for plan in (*_OF_THE_SUPPLEMENT, *_BEYOND_IT)}

# Figures 5 and 6 on any data, with the ablation between the two methods and the network that both add to.
COMPARISON = Experiment(
    stem="compare",  # and the data set
    notebook="",
    title="Stability of the maps of four methods",
    caption="ABN, LFI-CAM, LFI-CAM without FIN and plain networks with CAM, each trained with five hyper-parameter settings; the"
    " maps of the same test images.",
    methods=("abn", "lfi-cam-without-fin", "lfi-cam", "plain"),
    settings=len(SETTINGS),
    shown=2,
)

# A figure says itself which data, methods and settings it compares; everything else of a training can be overridden.
_FIXED = {"dataset", "method"}
_VARIED = {"lr", "batch_size", "weight_decay"}


def experiment(name: str, profile: str = "embedded", overrides: Mapping[str, Any] | None = None) -> Experiment:
    """An experiment under a profile, checked so far that every training it needs can be configured and finds its data.

    name: "table1", "fig1", ... "fig6", "extra1", ... "extra9".
    overrides: fields of RunConfig for every training, such as {"epochs": 2}.
    Raises InputError for an unknown name, profile, override or value, MissingDataError for missing data.
    """
    if not isinstance(name, str) or name not in EXPERIMENTS:
        raise InputError(f"unknown experiment {name!r}: expected one of {', '.join(EXPERIMENTS)}")
    return _under_profile(EXPERIMENTS[name], profile, overrides)


def comparison(dataset: str, profile: str = "quick", overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Figures 5 and 6 for any data set: four methods under the five settings.

    dataset: a name in `datasets.DATASETS`; the embedded profile takes the stand-in of one of the supplement's.
    overrides, errors: as for `experiment`.
    """
    plan = replace(COMPARISON, stem=f"{COMPARISON.stem}_{dataset}", supplement_dataset=str(dataset))
    return _under_profile(plan, profile, overrides)


def _under_profile(plan: Experiment, profile: str, overrides: Mapping[str, Any] | None) -> Experiment:
    if not isinstance(profile, str) or profile not in PROFILES:
        raise InputError(f"unknown profile {profile!r}: expected one of {', '.join(PROFILES)}")
    if overrides is not None and not isinstance(overrides, Mapping):
        raise InputError(f"overrides is {overrides!r}: expected a mapping of RunConfig fields such as {{'epochs': 2}}")
    overrides = dict(overrides or {})
    plan = replace(plan, profile=profile, overrides=overrides)
    fixed = _FIXED | (_VARIED if plan.settings > 1 else set()) | ({"trunk"} if plan.trunks else set())
    allowed = [field for field in RunConfig.model_fields if field not in fixed]
    for key in overrides:
        if key not in allowed:
            raise InputError(f"{key!r} cannot be overridden in {plan.name}: expected one of {', '.join(allowed)}")
    try:
        # Table 1 trains nothing, but takes no nonsense either.
        config = plan.configs()[0] if plan.methods else RunConfig(**({"dataset": "folder", "trunk": "cifar_resnet8"} | overrides))
    except ValidationError as error:
        raise InputError(describe(error)) from None
    if plan.methods:
        data_fingerprint(config.dataset, config.data)
    # As the config has them: "2" on a command line and 2 in a notebook are the same override.
    return replace(plan, overrides={key: getattr(config, key) for key in overrides})
