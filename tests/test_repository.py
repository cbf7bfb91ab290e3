"""The files beside the library: they must agree with each other and with the code."""

import csv
import json
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from lficam.paths import repository

ROOT = repository()
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# A module imports only from its left.
ORDER = """
errors paths progress cam initialization cifar_trunks timm_trunks trunks pretrained lfi_cam abn augmentation samples files
digits folders torchvision_sets datasets config inference checkpoint training provenance tracking parallel runs profiles
experiments bootstrap stability localisation faithfulness baselines sanity importance verdicts tables plots charts architecture
figures agreement evidence class_dependence fin_worth outputs page report reproduce reference catalogue own_images stored_maps
evaluate gallery probes canvas state sentences scenes views screen upload widgets thumbnails first_runs controls explorer
cli __main__
"""


def name_of(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


def test_the_lock_pins_every_requirement_and_holds_no_address():
    pinned = {name_of(line) for line in LOCK.splitlines() if line and not line.startswith("#")}
    wanted = PROJECT["dependencies"] + [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
    assert {name_of(requirement) for requirement in wanted} - {"lficam"} <= pinned
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


def readme_blocks():
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


@pytest.mark.parametrize("block", readme_blocks(), ids=lambda block: block.splitlines()[0])
def test_python_in_the_readme_runs(block, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", block], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_has_python():
    assert readme_blocks()


def test_files_and_commands_in_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for goal in set(re.findall(r"make ([a-z]+)", text)):
        assert re.search(rf"^{goal}:", makefile, re.M), goal


def test_import_is_light():
    heavy = ["pandas", "matplotlib", "seaborn", "IPython", "timm", "accelerate", "sklearn", "scipy", "torchmetrics", "torchcam"]
    code = f"import sys, lficam; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_import_only_from_their_left():
    order = ORDER.split()
    files = {file.stem: file.read_text() for file in (ROOT / "lficam").glob("*.py") if file.stem != "__init__"}
    assert set(files) == set(order)
    for name, text in files.items():
        imported = re.findall(r"^\s*from lficam\.(\w+) import", text, re.M)
        assert all(order.index(module) < order.index(name) for module in imported), name


def test_the_results_table_says_what_the_csv_says():
    results = ROOT / "figures" / "results"
    rows = list(csv.DictReader((results / "catdog_64px.csv").read_text().splitlines()))
    for row in rows:
        if row["setting"] == "all":
            own = [setting for setting in rows if setting["method"] == row["method"] and setting["setting"].isdigit()]
            accuracy = [100 * float(setting["test_accuracy"]) for setting in own]
            (similar,) = [other for other in rows if other["method"] == row["method"] and other["setting"] == "similar"]
            numbers = [row["iou"], similar["iou"], row["iou_equal_map_size"], row["iou_published"]]
            cells = " | ".join(f"{float(number):.2f}" for number in numbers)
            published = f"{float(row['published_iou_on_other_data']):.2f} " if row["published_iou_on_other_data"] else ""
            line = f"| {row['method']} | {cells} | {published}| {min(accuracy):.1f}–{max(accuracy):.1f} % |"
            assert line in (results / "README.md").read_text()


def test_the_costs_in_the_readme_are_the_counted_ones():
    text = (ROOT / "README.md").read_text()
    counted = csv.DictReader((ROOT / "benchmarks" / "training_cost.csv").read_text().splitlines())
    costs = {(row["profile"], row["figure"]): row for row in counted}
    for number in range(1, 7):
        quick, paper = (float(costs[profile, f"fig{number}"]["peta_multiply_adds"]) for profile in ("quick", "paper"))
        trainings = costs["paper", f"fig{number}"]["trainings"]
        assert re.search(rf"^\| {number} \| .* \| {trainings} \| {quick:g}·10¹⁵, .* \| {paper:,.0f}·10¹⁵, .* \|$", text, re.M), (
            number
        )


def test_the_verdicts_in_the_readme_are_those_of_the_reference():
    text = (ROOT / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.endswith("** |")]
    for file in sorted((ROOT / "figures" / "reference").glob("*.json")):
        record = json.loads(file.read_text())
        for verdict in record["verdicts"]:
            mean, low, high = verdict["measured"]
            number = re.search(r"\d+$", record["name"])[0]
            expected = f" {mean:z.3f} | [{low:z.3f}, {high:z.3f}] | **{verdict['outcome']}** |"
            assert [row for row in rows if row.endswith(expected) and f"| {number} |" in row], (file.name, verdict)
