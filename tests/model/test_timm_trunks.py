import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import timm
import torch

from lficam.errors import InputError
from lficam.model.abn import ABN
from lficam.model.features import count_features
from lficam.model.methods import METHODS
from lficam.model.timm_trunks import Intermediate, has_stem_stride, timm_names, timm_trunk
from lficam.model.trunks import TRUNKS, check_trunk, trunk
from lficam.model.weights import has_weights
from lficam.training.config import RunConfig

STAGES = ["stem", "layer1", "layer2", "layer3", "layer4"]


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "num_features", "parameters"),
    [
        # With a classifier for 1000 classes: torchvision's documentation of its own implementation,
        ("resnet18", 512, 11_689_512),
        ("resnet34", 512, 21_797_672),
        ("resnet50", 2048, 25_557_032),
        ("resnet101", 2048, 44_549_160),
        ("resnet152", 2048, 60_192_808),
        ("resnext50_32x4d", 2048, 25_028_904),
        ("resnext101_32x8d", 2048, 88_791_336),
        ("densenet121", 1024, 7_978_856),
        ("densenet161", 2208, 28_681_000),
        ("densenet169", 1664, 14_149_480),
        ("densenet201", 1920, 20_013_928),
        # and Hu et al. 2018, in millions.
        ("seresnet50", 2048, 28.1e6),
        ("legacy_senet154", 2048, 115.1e6),
    ],
)
def test_parameters_are_the_published_ones(name, num_features, parameters):
    with torch.device("meta"):
        network = timm_trunk(name, stem_stride=1, pretrained=False)
    assert network.num_features == num_features
    counted = size(network) + num_features * 1000 + 1000
    assert counted == (parameters if isinstance(parameters, int) else pytest.approx(parameters, abs=0.05e6))


def test_the_advertised_names_are_timms():
    assert {name for name in TRUNKS if not name.startswith("cifar_")} <= set(timm_names())
    assert {timm_names()[name] for name in ("resnet18", "densenet121", "legacy_senet154")} == {"resnet", "densenet", "senet"}
    assert set(timm.list_models()) == set(timm_names())
    assert not any(map(has_stem_stride, ("vit_base_patch16_224", "resnetv2_50", "vgg16", "cifar_resnet20", "no such network")))


# One of each module, a deep stem of each module that has one, and anti-aliased ones.
@pytest.mark.parametrize("name", ["resnet18", "resnet26t", "resnetaa34d", "densenet121", "densenetblur121d", "legacy_seresnet18"])
def test_the_stages_one_after_the_other_are_timms_network(name):
    torch.manual_seed(0)
    whole = timm.create_model(name, num_classes=0).eval()
    torch.manual_seed(0)
    stages = timm_trunk(name, stem_stride=2, pretrained=False).eval()
    assert [stage for stage, _ in stages.named_children()] == STAGES
    assert size(stages) == size(whole)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = stages(x)
        assert torch.equal(features, whole.forward_features(x))
    assert features.shape == (1, stages.num_features, 2, 3)
    assert features.std() > 0


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "resnext50_32x4d", "resnet50d", "seresnet50", "senet154", "legacy_senet154", "densenet121"]
)
def test_the_stem_stride_sets_the_size_of_every_map(name):
    with torch.device("meta"):
        for stem_stride, sides in ((1, [112, 112, 56, 28, 14]), (2, [56, 56, 28, 14, 7])):
            x, found = torch.empty(1, 3, 224, 224), []
            for stage in timm_trunk(name, stem_stride, pretrained=False):
                x = stage(x)
                found.append(x.shape[2])
            if name == "densenet121":  # halves at the end of a stage instead of at the beginning of the next
                sides = [sides[0], *sides[2:], sides[4]]
            assert found == sides


def test_the_last_stage_of_densenet_is_the_last_dense_block_and_its_norm():
    with torch.device("meta"):
        network = timm_trunk("densenet121", stem_stride=1, pretrained=False)
    names = [[type(part).__name__ for part in stage] for stage in network]
    assert names == [
        ["Conv2d", "BatchNormAct2d", "MaxPool2d"],
        *[["DenseBlock", "DenseTransition"]] * 3,
        ["DenseBlock", "BatchNormAct2d"],
    ]
    assert [len(stage[0]) for stage in network[1:]] == [6, 12, 24, 16]


# --- any other network of timm ----------------------------------------------------------------------------------------

# Small ones: name, stages up to stride 16 (0: in one piece), K.
OTHERS = [
    ("convnext_atto", 3, 160),
    ("tf_efficientnet_lite0", 4, 112),
    ("mobilenetv3_small_050", 4, 24),
    ("regnetx_002", 4, 152),
    ("vgg11_bn", 5, 512),
    ("mobilevit_xxs", 4, 64),
    ("vit_tiny_patch16_224", 0, 192),
    ("swin_tiny_patch4_window7_224", 0, 384),
    ("hrnet_w18_small", 0, 512),
    ("inception_v3", 0, 768),
]


@pytest.mark.parametrize(("name", "stages", "channels"), OTHERS)
def test_any_network_gives_maps_of_14_by_14_which_are_timms(name, stages, channels):
    torch.manual_seed(0)
    whole = timm.create_model(name, num_classes=0).eval()
    torch.manual_seed(0)
    base = trunk(name).eval()
    x = torch.randn(1, 3, 224, 224)
    index = max(i for i, point in enumerate(whole.feature_info) if point["reduction"] == 16)
    with torch.no_grad():
        (expected,) = whole.forward_intermediates(x, indices=[index], output_fmt="NCHW", intermediates_only=True)
        features = base(x)
    assert torch.allclose(features, expected, atol=1e-5)
    assert features.shape == (1, channels, *((12, 12) if name == "inception_v3" else (14, 14)))  # its convolutions have no border
    assert base.num_features == channels == count_features(base)
    if stages:
        assert [stage for stage, _ in base.named_children()] == [f"stage{k}" for k in range(stages)]
    else:
        assert isinstance(base, Intermediate)
    assert size(base) < size(whole) or name.startswith("vit")  # what comes after is not kept


@pytest.mark.parametrize("name", ["convnext_atto", "tf_efficientnet_lite0", "regnetx_002"])
def test_abn_has_the_same_map_size_on_any_chain_of_stages(name):
    strides = {method: RunConfig(dataset="catdog", trunk=name, method=method).out_stride for method in METHODS}
    assert strides == {"lfi-cam": 16, "lfi-cam-without-fin": 16, "abn": 32, "plain": 16}
    with torch.no_grad():
        for method, stride in strides.items():
            model = METHODS[method].build(trunk(name, out_stride=stride), 2).eval()
            assert model.explain(torch.rand(1, 3, 224, 224)).cam.shape == (1, 1, 14, 14)


def test_abn_says_what_it_needs():
    with pytest.raises(InputError, match=r"needs an nn\.Sequential of at least two stages; got Intermediate"):
        ABN(trunk("vit_tiny_patch16_224"), num_classes=2)


@pytest.mark.parametrize(
    ("name", "options", "stages", "channels", "side"),
    [
        ("resnet18", {"out_stride": 16, "stem_stride": 2}, ["stem", "layer1", "layer2", "layer3"], 256, 14),
        ("resnet18", {"out_stride": 16}, STAGES, 512, 14),
        ("resnet18", {"out_stride": 8}, STAGES[:4], 256, 28),
        ("densenet121", {"out_stride": 32, "stem_stride": 2}, STAGES, 1024, 7),
        ("tf_efficientnet_lite0", {"out_stride": 32}, [f"stage{k}" for k in range(5)], 320, 7),
    ],
)
def test_the_stride_chooses_the_last_stage(name, options, stages, channels, side):
    base = trunk(name, **options).eval()
    assert [stage for stage, _ in base.named_children()] == stages
    with torch.no_grad():
        assert base(torch.rand(1, 3, 224, 224)).shape == (1, base.num_features, side, side)
    assert base.num_features == channels
    again = trunk(**base.spec)
    assert {key: value.shape for key, value in again.state_dict().items()} == {k: v.shape for k, v in base.state_dict().items()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"name": "vit_tiny_patch16_224", "out_stride": 32},
            "patch16_224' has no feature maps of stride 32: .*out_stride=16$",
        ),
        ({"name": "resnet18", "out_stride": 32}, "has no feature maps of stride 32: expected out_stride=2 or 4 or 8 or 16"),
        (
            {"name": "convnext_atto", "stem_stride": 2},
            "has a stem of its own, got stem_stride=2: choose out_stride",
        ),
        ({"name": "cifar_resnet8", "out_stride": 16}, "has one size of its maps and no weights, got out_stride=16"),
        ({"name": "resnet18", "pretrained": True, "weights": "a"}, "two sources of weights: give one"),
    ],
)
def test_an_option_that_a_trunk_does_not_have_is_one_line(options, message):
    with pytest.raises(InputError, match=message):
        trunk(**options)


# --- weights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet200", "seresnet18", "densenet264d"])
def test_a_network_without_weights_is_refused_before_it_is_built(name):
    assert not has_weights(name)
    for ask in (trunk, check_trunk):
        with pytest.raises(InputError, match=f"no pretrained weights for '{name}', got pretrained=True"):
            ask(name, pretrained=True)
    with pytest.raises(ValueError, match=f"no pretrained weights for '{name}'"):
        RunConfig(dataset="catdog", trunk=name, pretrained=True)


def test_the_advertised_networks_have_weights():
    assert all(has_weights(name) for name in TRUNKS if not name.startswith("cifar_"))


# Fills caches with weights of a known seed, builds trunks from them and compares. Prints what happened, name by name.
SCRIPT = """
import json, sys
from pathlib import Path
import timm, torch
from safetensors.torch import save_file
import lficam

COMMIT = "0123456789abcdef0123456789abcdef01234567"

def hub_file(name):
    folder = Path(sys.argv[1], "huggingface/hub", "models--timm--" + name)
    for part in ("refs", f"snapshots/{COMMIT}"):
        (folder / part).mkdir(parents=True)
    (folder / "refs/main").write_text(COMMIT)
    return folder / "snapshots" / COMMIT / "model.safetensors"

def torch_file(name):
    folder = Path(sys.argv[1], "torch/hub/checkpoints")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name

def known(name):
    torch.manual_seed(1)
    weights = timm.create_model(name).state_dict()
    return {key: torch.randn_like(value) if value.is_floating_point() else value + 7 for key, value in weights.items()}

def compare(name, stages):
    # Which tensors of the trunk are not the file's, which of the file's are not in the trunk; `stages` renames timm's.
    network = lficam.trunk(name, pretrained=True)
    own, expected = network.state_dict(), {}
    for key, value in known(name).items():
        old = next((start for start in stages if key.startswith(start)), "")
        expected[stages.get(old, "") + key[len(old):]] = value
    wrong = [key for key, value in own.items() if key not in expected or not torch.equal(value, expected[key])]
    first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
    return {"wrong": wrong, "left": sorted(set(expected) - set(own)), "compared": len(own), "stride": first.stride}

def message(name):
    try:
        lficam.trunk(name, pretrained=True)
    except lficam.InputError as error:
        return str(error)

RESNET = {"conv1.": "stem.0.", "bn1.": "stem.1."}
SENET = {"layer0.": "stem.0."}
DENSENET = {"features.conv0.": "stem.conv0.", "features.norm0.": "stem.norm0.", "features.norm5.": "layer4.1."}
DENSENET |= {f"features.denseblock{i}.": f"layer{i}.0." for i in (1, 2, 3, 4)}
DENSENET |= {f"features.transition{i}.": f"layer{i}.1." for i in (1, 2, 3)}

save_file(known("resnet18"), hub_file("resnet18.a1_in1k"))
save_file(known("densenet121"), hub_file("densenet121.ra_in1k"))
torch.save(known("legacy_seresnet18"), torch_file("seresnet18-4bb0ce65.pth"))

hub_file("resnet10t.c3_in1k").write_bytes(b"not a checkpoint, though long enough")
incomplete = known("resnet14t")
del incomplete["layer4.0.conv1.weight"]
save_file(incomplete, hub_file("resnet14t.c3_in1k"))
torch_file("seresnet34-a4004e63.pth").write_bytes(b"not a checkpoint")
torch_file("seresnext26_32x4d-65ebdb501.pth").write_bytes(torch_file("seresnet18-4bb0ce65.pth").read_bytes()[:100_000])

print(json.dumps({
    "resnet18": compare("resnet18", RESNET),
    "densenet121": compare("densenet121", DENSENET),
    "legacy_seresnet18": compare("legacy_seresnet18", SENET),
    **{name: message(name) for name in sys.argv[2:]},
}))
"""

# name -> what is said between "the pretrained weights of '<name>'" and "leave pretrained out"
REFUSED = {
    "resnet34": r"could not be fetched from timm/resnet34\.a1_in1k: .*offline.* network once, .*models--timm--resnet34\.a1_in1k",
    "legacy_seresnet50": r"could not be fetched from https://github\.com/.*refused.* network once, .*/se_resnet50-ce0d4300\.pth",
    "resnet10t": r"in .*models--timm--resnet10t\.c3_in1k are damaged.*header.*Delete them",
    "resnet14t": r'in .*models--timm--resnet14t\.c3_in1k are damaged.*Missing key.*"layer4\.0\.conv1\.weight".*Delete them',
    "legacy_seresnet34": r"in .*checkpoints/seresnet34-a4004e63\.pth are damaged.*Delete them",
    "legacy_seresnext26_32x4d": r"in .*checkpoints/seresnext26_32x4d-65ebdb501\.pth are damaged.*zip archive.*Delete them",
}


@pytest.fixture(scope="module")
def from_caches(tmp_path_factory):
    """What the script says in a process that finds the hub's caches in a temporary folder and no network."""
    root = tmp_path_factory.mktemp("caches")
    environment = os.environ | {
        "HF_HOME": str(root / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "TORCH_HOME": str(root / "torch"),
        "https_proxy": "http://127.0.0.1:9",  # the discard port: nobody listens
    }
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(root), *REFUSED], capture_output=True, text=True, env=environment, check=False
    )
    shutil.rmtree(root)  # 150 MB
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # torch.hub says what it downloads before


@pytest.mark.parametrize(
    ("name", "tensors", "head"),
    [
        # a batch norm has five tensors, a convolution one: 20 and 20, 121 and 120, 20 and 20
        ("resnet18", 20 * 6, ["fc.bias", "fc.weight"]),
        ("densenet121", 121 * 5 + 120, ["classifier.bias", "classifier.weight"]),
        # and 8 times two convolutions with a bias
        ("legacy_seresnet18", 20 * 6 + 8 * 4, ["last_linear.bias", "last_linear.weight"]),
    ],
)
def test_every_stage_has_the_weights_of_the_cached_file(from_caches, name, tensors, head):
    assert from_caches[name]["wrong"] == []
    assert from_caches[name]["compared"] == tensors
    assert from_caches[name]["left"] == head


def test_pretrained_weights_go_with_the_finer_stem(from_caches):
    assert from_caches["resnet18"]["stride"] == [1, 1]


@pytest.mark.parametrize("name", REFUSED)
def test_weights_that_cannot_be_had_are_one_line_that_says_what_to_do(from_caches, name):
    message = from_caches[name]
    assert re.fullmatch(rf"the pretrained weights of '{name}' {REFUSED[name]}.* leave pretrained out", message), message
