"""The files beside the library: they must agree with each other and with the code."""

import ast
import csv
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

import lficam
from lficam.data.datasets import dataset_info
from lficam.figures.profiles import PROFILES
from lficam.figures.settings import PUBLISHED_IOU
from lficam.figures.verdicts import Verdict
from lficam.model.export import export
from lficam.model.methods import METHODS
from lficam.paths import repository
from lficam.reproduce.judgement import MEASURED
from lficam.reproduce.results import read_trainings

ROOT = repository()
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# The rooms of the library: one imports only from those in a row above its own. The ground are the modules beside the rooms.
ORDER = [{"ground"}, {"model"}, {"data", "metrics"}, {"training"}, {"figures"}, {"reproduce", "explorer"}, {"cli"}]
FRONT_DOORS = {"__init__.py", "__main__.py"}  # of the ground: they lead to the public names and to the command line


def name_of(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


def pinned(lock):
    return {name_of(line) for line in lock.splitlines() if line and not line.startswith("#")}


def test_the_lock_pins_every_requirement_and_holds_no_address():
    extras = PROJECT["optional-dependencies"]
    (of_dev,) = (re.findall(r"[\w-]+", line[len("lficam") :]) for line in extras["dev"] if line.startswith("lficam["))
    wanted = PROJECT["dependencies"] + [line for name in ("dev", *of_dev) for line in extras[name]]
    assert {name_of(requirement) for requirement in wanted} - {"lficam"} <= pinned(LOCK)
    for name in extras.keys() - {"dev", *of_dev}:  # what no figure needs has a lock on top
        assert set(map(name_of, extras[name])) <= pinned((ROOT / f"requirements-{name}.lock").read_text())
    assert all("==" in line for line in LOCK.splitlines() if line and not line.startswith("#"))
    assert "://" not in LOCK
    assert "--index" not in LOCK


def test_conda_installs_the_very_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock", "-e ."]
    assert environment["channels"] == ["conda-forge"]
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert f"python>={lowest},<3.14" in environment["dependencies"]


def test_the_installed_versions_are_the_locked_ones():
    from importlib.metadata import version

    for package in ("torch", "torchvision", "timm", "matplotlib", "papermill", "voila"):
        (pinned,) = re.findall(rf"^{package}==(\S+)", LOCK, re.M)
        assert version(package) == pinned


def test_the_citation_names_the_paper_and_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert "LFI-CAM" in citation["preferred-citation"]["title"]


PAGES = ["README.md", *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md")))]


def python_blocks():
    return [block for page in PAGES for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)]


def with_exported_model(block, folder):
    """What the block reads, made; it must do without this package and without torch."""
    model = lficam.LFICAM(lficam.trunk("cifar_resnet8"), num_classes=2)
    model.metadata = lficam.Metadata(classes=("cat", "dog"), mean=(0.5,) * 3, std=(0.2,) * 3, image_size=32)
    export(model, folder / "model.onnx")
    Image.new("RGB", (90, 60), (200, 30, 40)).save(folder / "photo.jpg")
    return f"import sys\nsys.modules['lficam'] = sys.modules['torch'] = None\n{block}"


@pytest.mark.parametrize("block", python_blocks(), ids=lambda block: block.splitlines()[0])
def test_python_in_the_documents_runs(block, tmp_path):
    exported = "model.onnx" in block
    if exported:
        block = with_exported_model(block, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", block],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "agg"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not exported or (tmp_path / "map.png").stat().st_size > 5000


def test_the_readme_is_a_page_and_has_python():
    text = (ROOT / "README.md").read_text()
    assert "```python\n" in text
    assert len(re.sub(r"```.*?```", "", text, flags=re.S).split()) <= 900


def test_every_page_of_the_site_is_in_its_list_and_every_public_name_on_one():
    listed = set(re.findall(r"^(?:[\w ]+ <)?([\w-]+)>?$", (ROOT / "docs" / "index.md").read_text(), re.M))
    assert {Path(page).stem for page in PAGES} - {"README", "index"} == listed
    named = re.findall(r"^\.\. auto\w+:: lficam\.(\w+)(?:\(.*\))?$", (ROOT / "docs" / "api.md").read_text(), re.M)
    assert sorted(named) == sorted(lficam.__all__)
    notebooks = re.findall(r"^notebooks/(\w+)$", (ROOT / "docs" / "notebooks.md").read_text(), re.M)
    assert notebooks == sorted(file.stem for file in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", [*PAGES, "CONTRIBUTING.md", "data/README.md", "figures/results/README.md"])
def test_files_and_commands_in_the_documents_exist(name):
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / name).parent / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for goal in set(re.findall(r"make ([a-z]+)", text)):
        assert re.search(rf"^{goal}:", makefile, re.M), goal


def test_import_is_light():
    heavy = ["pandas", "matplotlib", "seaborn", "IPython", "timm", "accelerate", "sklearn", "scipy", "torchmetrics", "torchcam"]
    code = (
        "import sys, lficam; print('torch' in sys.modules); lficam.LFICAM, lficam.fit_or_load, lficam.pairwise_stability;"
        "lficam.RunConfig(dataset='digits-stl10', trunk='cifar_resnet8');"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "[]"]


def room_of(name):
    """Of a module such as lficam.model.cam, or of a name in it; those of the ground have no package."""
    _, *path = name.split(".")
    if not path:
        return "front door"  # which has the public names of all rooms
    return path[0] if any(path[0] in row for row in ORDER) else "ground"


def imported(source):
    """Every module of the library, or name in one, that a source imports, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "lficam")
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports do not say which room they mean"
            if node.module.split(".")[0] == "lficam":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def against_the_direction(room, source):
    row = next(k for k, rooms in enumerate(ORDER) if room in rooms)
    allowed = {room}.union(*ORDER[:row])
    return [name for name in imported(source) if room_of(name) not in allowed]


def test_the_public_names_are_where_editors_look_for_them():
    """The imports for type checkers, which never run, and the table that does."""
    named = dict(name.rsplit(".", 1)[::-1] for name in imported((ROOT / "lficam" / "__init__.py").read_text()))
    assert named == lficam._HOMES
    assert sorted(lficam.__all__) == sorted(named)
    assert set(named) <= set(dir(lficam))
    for name, home in named.items():
        assert getattr(lficam, name) is getattr(import_module(home), name)
    with pytest.raises(AttributeError, match="'lficam' has no attribute 'LFICam': it has ABN, LFICAM,"):
        _ = lficam.LFICam
    assert (ROOT / "lficam" / "py.typed").exists()


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_line_answers_without_torch(option):
    code = (
        "import sys; sys.argv = ['lficam', sys.argv[1]]\n"
        "from lficam.cli.commands import main\n"
        "try: main()\n"
        "finally: print([name for name in ('torch', 'numpy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    if option == "--version":
        assert done.stdout.splitlines()[0] == f"lficam {PROJECT['version']}"


def test_rooms_import_only_from_those_above():
    sources = {file.relative_to(ROOT / "lficam"): file.read_text() for file in (ROOT / "lficam").rglob("*.py")}
    rooms = {file: file.parts[0] if len(file.parts) > 1 else "ground" for file in sources}
    assert {room for row in ORDER for room in row} == set(rooms.values())
    for file, source in sources.items():
        if str(file) not in FRONT_DOORS:
            assert against_the_direction(rooms[file], source) == [], file


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("model", "from lficam.data.samples import Samples"),
        ("ground", "def f():\n    from lficam.model import cam"),
        ("metrics", "import lficam.training.runs"),
        ("training", "from lficam import figures"),
        ("data", "if x:\n    import numpy, lficam.metrics.stability as s"),
        ("figures", "from lficam.cli.commands import main"),
        ("figures", "import lficam"),
    ],
)
def test_an_import_against_the_direction_is_seen(room, source):
    assert len(against_the_direction(room, source)) == 1


def test_no_two_modules_share_a_name():
    names = [file.stem for file in (ROOT / "lficam").rglob("*.py") if file.name not in FRONT_DOORS]
    assert len(names) == len(set(names))


def test_every_package_lists_its_modules_and_exports_nothing():
    for package in (ROOT / "lficam").glob("*/__init__.py"):
        tree = ast.parse(package.read_text())
        modules = {file.stem for file in package.parent.glob("[!_]*.py")}
        assert set(re.findall(r"^- `(\w+)`: ", ast.get_docstring(tree), re.M)) == modules, package
        assert len(tree.body) == 1 or package.parent.name == "explorer", package


def test_what_stands_beside_the_published_numbers_is_what_the_tables_say():
    results = ROOT / "figures" / "results"
    for name in ("stl10", "catdog"):
        table = pd.read_csv(results / name / f"settings_{name}.csv")
        means = table[table["setting"] == "all"].set_index("method")
        cells = [f"{means.loc[title, 'iou']:.2f}, {means.loc[title, 'iou_published']:.2f}" for title in ("ABN", "LFI-CAM")]
        row = rf"^\| {dataset_info(name).title}, 64 pixels \| .+ \| {cells[0]} \| {cells[1]} \|$"
        assert re.search(row, (results / "README.md").read_text(), re.M), cells


def test_what_imagenette_says_of_c1_is_what_its_trainings_left():
    trainings = read_trainings(ROOT / "figures" / "results" / "imagenette")
    answers = {training.config.method: training.kept.answers for training in trainings}
    ours, without = answers["lfi-cam"], answers["lfi-cam-without-fin"]
    text = " ".join((ROOT / "figures" / "results" / "README.md").read_text().split())
    assert f"the {ours['energy'].notna().sum()} photographs with boxes: " in text
    assert f"energy of LFI-CAM's map {ours['energy'].mean():.2f}, " in text
    assert f"of its mean feature map {ours['energy of mean features, with FIN'].mean():.2f}, " in text
    assert f"whose weights are all equal, has {without['energy'].mean():.2f}: " in text


def test_what_trainings_on_photographs_left_is_whole_and_small():
    results = ROOT / "figures" / "results"
    for file in results.glob("*/runs.json"):
        trainings = {training.id: training for training in read_trainings(file.parent)}
        assert {found.stem for found in file.parent.glob("*.safetensors")} - set(MEASURED) == set(trainings)
        table = pd.read_csv(file.with_name("trainings.csv"))
        assert table["test_accuracy"].tolist() == [trainings[id].metrics["test_accuracy"] for id in table["id"]]
        for training in trainings.values():
            right = (training.kept.answers["predicted"] == training.kept.answers["label"]).mean()
            if not training.config.fold and training.config.dataset != "imagenette":  # all test images are among those kept
                assert right == pytest.approx(training.metrics["test_accuracy"])
    size = sum(file.stat().st_size for file in results.rglob("*") if file.is_file())
    assert size < 40e6


def test_the_page_of_results_says_how_many_trainings_there_are_and_how_good_they_are():
    results = ROOT / "figures" / "results"
    expected = []
    for file in sorted(results.glob("*/trainings.csv")):
        table = pd.read_csv(file)
        start = table["pretrained"].map({False: "from nothing", True: "from ImageNet weights"})
        kind = start.where(table["fold"].isna(), start + ", folds")
        for (what, method), accuracy in (100 * table["test_accuracy"]).groupby([kind, table["method"]]):
            found = sorted({f"{accuracy.min():.1f}", f"{accuracy.max():.1f}"})
            title = dataset_info(file.parent.name).title
            expected.append(f"| {title}, {what} | {METHODS[method].title} | {len(accuracy)} | {'–'.join(found)} % |")
    rows = re.findall(r"^\| .+, from .+ \| .+ \| \d+ \| .+ % \|$", (results / "README.md").read_text(), re.M)
    assert sorted(rows) == sorted(expected)


def test_the_table_of_five_kinds_of_networks_is_the_measured_one():
    text = (ROOT / "figures" / "results" / "README.md").read_text()
    table = pd.read_csv(ROOT / "figures" / "results" / "trunks_stl10.csv")
    assert len(table) == 5
    for row in table.itertuples():
        cost = f"{row.parameters_millions:.2f} M | {row.multiply_adds_millions:.1f} M, {100 * row.fin_share:.0f} %"
        assert f"| {row.trunk} | {cost} | {100 * row.test_accuracy:.1f} % | {row.energy:.2f} | {row.pointing:.2f} |\n" in text


def test_the_photos_profile_takes_what_the_rule_chose():
    rule = pd.read_csv(ROOT / "benchmarks" / "photos_rule.csv")
    assert len(rule) == 24
    accuracy = rule.groupby(["lr_factor", "batch_factor"])["held_out_accuracy"].agg(["mean", "min"]).round(4)
    best = accuracy.sort_values(["mean", "min"]).index[-1]
    assert (PROFILES["photos"].lr_factor, PROFILES["photos"].batch_factor) == best


def test_the_costs_of_trainings_are_the_counted_ones():
    text = (ROOT / "docs" / "real-data.md").read_text()
    counted = csv.DictReader((ROOT / "benchmarks" / "training_cost.csv").read_text().splitlines())
    costs = {(row["profile"], row["figure"]): row for row in counted}
    rows = {str(number): f"fig{number}" for number in range(1, 5)}
    rows |= {"5": "extra1", "6": "extra2", "`--only 8`.*": "extra3"}
    rows |= {f"`lficam {name}.*": name for name in ("compare catdog", "compare cifar10")}
    for first_cell, figure in rows.items():
        quick, paper = (float(costs[profile, figure]["peta_multiply_adds"]) for profile in ("quick", "paper"))
        soon, late = (_as_time(float(costs[profile, figure]["gpu_hours"])) for profile in ("quick", "paper"))
        trainings = costs["paper", figure]["trainings"]
        cells = rf"^\| {first_cell} \| (.* \| )?{trainings} \| {quick:g}·10¹⁵, {soon} \| {paper:,.0f}·10¹⁵, {late} \|$"
        assert re.search(cells, text, re.M), figure


def _as_time(hours):
    return f"{60 * hours:.0f} min" if hours < 1 else f"{hours:.1f} h" if hours < 20 else f"{hours:.0f} h"


def test_what_a_gpu_gives_is_what_was_measured():
    text = (ROOT / "docs" / "real-data.md").read_text()
    found = {
        (row["what"], row["quantity"]): float(row["value"])
        for row in csv.DictReader((ROOT / "benchmarks" / "gpu_first_hour.csv").read_text().splitlines())
        if row["stage"] == "speed" and row["quantity"] != "dtype"
    }
    step = r"^\| (\S+), (.*ResNet-\d+)( \(.*\))? \| (\d+), (\d+) \| ([\d,]+) \| ([\d,]*) ?\| (?:(.+) GB )?\|$"
    rows = re.findall(step, text, re.M)
    assert len(rows) == 8
    for method, title, _, pixels, batch, bfloat16, float32, memory in rows:
        trunk = title.lower().replace("-", "").replace(" ", "_")
        what = f"{method.lower()} on {trunk}, {pixels} px, batch {batch}, "
        assert bfloat16 == f"{found[what + 'bfloat16', 'images_a_second']:,.0f}"
        gigabytes = found.get((what + "bfloat16", "gpu_memory_gb"), 0)
        assert not memory or memory == (f"{gigabytes:.1f}" if gigabytes < 10 else f"{gigabytes:.0f}")
        assert not float32 or float32 == f"{found[what + 'float32', 'images_a_second']:,.0f}"


def test_the_verdicts_in_the_readme_are_those_of_the_reference_and_of_the_photographs():
    digits = [json.loads(file.read_text())["verdicts"] for file in sorted((ROOT / "figures" / "reference").glob("*.json"))]
    columns = [digits, *map(_verdicts_on, ("stl10", "catdog"))]
    rows = re.findall(r"^\|([CE]\d+): [^|]+\|([^|]*)\|([^|]*)\|([^|]*)\|$", (ROOT / "README.md").read_text(), re.M)
    claims = [f"C{k}" for k in range(1, 4)] + [f"E{k}" for k in range(1, 12)]
    assert rows == [(claim, *(_in_short(figures, claim) for figures in columns)) for claim in claims]


def test_what_the_readme_says_of_photographs_is_what_the_tables_say():
    expected = {}
    for name in ("stl10", "catdog"):
        settings, agreement = (
            pd.read_csv(ROOT / "figures" / "results" / name / f"{kind}_{name}.csv") for kind in ("settings", "agreement")
        )
        for title, named in (("ABN", "ABN"), ("LFI-CAM", "LFI-CAM"), ("plain network (CAM)", "plain (true class)")):
            own = settings[(settings["method"] == title) & settings["test_accuracy"].notna()]
            same, other = (
                agreement[(agreement["compared"] == f"{title}: {which}") & (agreement["models"] == "all")].iloc[0]
                for which in ("same image", "different images")
            )
            low, high = 100 * own["test_accuracy"].min(), 100 * own["test_accuracy"].max()
            marked = 100 * own["above_threshold"].mean()
            cells = [f"{low:.0f}–{high:.0f}", *(f"{value:.2f}" for value in (same["iou"], other["iou"], same["spearman"]))]
            expected.setdefault(named, []).append([*cells, f"{marked:.0f}"])
    text = (ROOT / "README.md").read_text()
    for named, (stl10, catdog) in expected.items():
        assert f"|{named}|{'|'.join(f'{a}; {b}' for a, b in zip(stl10, catdog, strict=True))}|\n" in text, named
    for dataset in ("stl10", "catdog"):
        for method in ("abn", "lfi-cam"):
            assert f"{PUBLISHED_IOU[dataset, method]:.2f}" in text


def _verdicts_on(dataset):
    """Of each comparison on photographs."""
    judged = json.loads((ROOT / "figures" / "results" / dataset / "verdicts.json").read_text())
    return [found["verdicts"] for found in judged.values()]


def _in_short(figures, claim):
    """What became of a claim in each figure that judges it."""
    outcomes = {"supported": "**yes**", "not supported": "**no**", "inconclusive": "open"}
    cells = []
    for verdict in (Verdict.from_record(record) for records in figures for record in records if record["claim"] == claim):
        for_free = " *for free*" if verdict.words.startswith("supported, but") else ""
        unsure = "?" if verdict.by_interval not in ("", verdict.outcome) else ""
        cells.append(f"{verdict.measured.mean:z.2f} {outcomes[verdict.outcome]}{unsure}{for_free}")
    return "; ".join(cells)


def test_the_costs_of_trunks_are_the_counted_ones():
    text = (ROOT / "docs" / "own-data.md").read_text()
    counted = {row["trunk"]: row for row in csv.DictReader((ROOT / "benchmarks" / "trunk_cost.csv").read_text().splitlines())}
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\S+)·10⁹ \| (\S+)·10⁹ \| (\S+) M \| (\S+) M \|$", text, re.M)
    assert len(rows) == 5
    for trunk, *numbers in rows:
        columns = ("trunk_billion_multiply_adds", "fin_billion_multiply_adds", "trunk_million_parameters", "fin_million_parameters")
        assert numbers == [counted[trunk][column] for column in ("channels", *columns)]


def test_the_cost_of_an_explanation_is_the_measured_one():
    text = " ".join((ROOT / "docs" / "use.md").read_text().split())
    rows = list(csv.DictReader((ROOT / "benchmarks" / "explain_cost.csv").read_text().splitlines()))
    cost = {(row["what"], row["over"], row["trunk"], row["batch"]): float(row["cpu_ratio"]) for row in rows}
    single = [ratio for (_, over, _, batch), ratio in cost.items() if over == "floor" and batch == "1"]
    more = [ratio for (_, over, _, batch), ratio in cost.items() if over == "floor" and batch != "1"]
    times = f"{min(more):.2f} to {max(more):.2f} times as long as trunk, FIN and classifier alone"
    assert f"{times}, {max(single):.2f} with a single image" in text
    beside = {
        what: ratio for (what, over, trunk, batch), ratio in cost.items() if (over, trunk, batch) == ("plain", "resnet18", "1")
    }
    for words, what, decimals in (
        ("plain forward pass of ResNet-18 it is", "explain", 2),
        ("torchcam's Grad-CAM", "torchcam's Grad-CAM", 2),
        ("pytorch-grad-cam's Grad-CAM", "pytorch-grad-cam's GradCAM", 1),
        ("and Score-CAM", "pytorch-grad-cam's ScoreCAM", 0),
        ("LFI-CAM in onnxruntime", "explain in onnxruntime", 2),
        ("in OpenVINO", "explain in OpenVINO", 2),
    ):
        assert f"{words} {beside[what]:.{decimals}f}" in text
