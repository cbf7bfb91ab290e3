"""What every notebook must look like; that they run is checked by nbval on the notebooks themselves."""

import json
import tempfile
from pathlib import Path

import nbformat
import pytest

from lficam.figures import claims
from lficam.figures.experiments import EXPERIMENTS
from lficam.paths import repository

FILES = sorted((repository() / "notebooks").glob("*.ipynb"))
EXPLORER = "07_explorer"  # makes no figure
MAXIMUM_BYTES = 500_000


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request):
    return request.param


@pytest.fixture
def notebook(file):
    content = nbformat.read(file, as_version=4)
    nbformat.validate(content)
    return content


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_is_one_for_every_figure():
    assert [file.stem for file in FILES] == sorted({*(plan.notebook for plan in EXPERIMENTS.values()), EXPLORER})


def test_one_parameters_cell_with_the_two_parameters(notebook):
    tagged = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    values = {}
    exec(tagged[0].source, values)
    assert (values["profile"], values["overrides"]) == ("embedded", {})


def test_it_is_an_argument_and_defines_nothing(notebook):
    for cell in code_cells(notebook):
        lines = cell.source.splitlines()
        assert len(lines) <= 15
        assert not any(line.lstrip().startswith(("def ", "class ", "!", "%")) for line in lines)


def test_kernel_is_python3(notebook):
    assert notebook.metadata.kernelspec.name == "python3"


def test_it_opens_with_title_caption_and_what_to_look_for(file, notebook):
    captions = [plan.caption for plan in EXPERIMENTS.values() if plan.notebook == file.stem][:1]
    first = notebook.cells[0].source
    assert first.startswith("# ")
    assert any(caption in first for caption in captions) or "**Not in the supplement**" in first
    assert "*What to look for:*" in first
    assert "Claim C" in first or "judges no claim" in first


def test_it_is_committed_with_the_outputs_of_an_embedded_run_in_order(file, notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [kind for cell in cells for output in cell.outputs for kind in output.get("data", {})]
    assert "image/png" in kinds
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert not [kind for kind in kinds if "widget" in kind]  # a viewer without a kernel would show it instead of the picture
    assert "widgets" not in notebook.metadata
    assert file.stat().st_size < MAXIMUM_BYTES


def test_every_picture_says_what_it_shows_to_those_who_cannot_see_it(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs if "image/png" in output.get("data", {})]
    assert all(output.metadata["image/png"]["alt"] for output in outputs)


def test_it_ends_with_what_came_out_and_where_to_look_next(file, notebook):
    if file.stem != EXPLORER:
        last = notebook.cells[-1]
        assert last.source.startswith("closing(")
        assert all(f"**{part}.** " in last.outputs[0].data["text/markdown"] for part in ("What came out", "How sure", "Next"))


def test_no_two_notebooks_have_the_same_code():
    codes = [[cell.source for cell in code_cells(nbformat.read(file, as_version=4))] for file in FILES]
    for k, code in enumerate(codes):
        for other in codes[:k]:
            own = [cell for cell in code if cell not in other]
            assert len(own) >= min(len(code) - 1, 4), own  # the parameters are the same everywhere


@pytest.mark.parametrize(
    ("stem", "numbers"),
    [
        ("01_fin_effectiveness", [f"{claims.ENERGY_MARGIN:g}"]),
        ("05_stability_stl10", [f"{claims.SAME_AREA + sign * claims.IOU_MARGIN:g}" for sign in (1, -1)]),
        ("06_stability_catdog", [f"{claims.SAME_AREA + sign * claims.IOU_MARGIN:g}" for sign in (1, -1)]),
    ],
)
def test_its_text_states_the_limits_that_the_verdict_uses(stem, numbers):
    first = nbformat.read(repository() / "notebooks" / f"{stem}.ipynb", as_version=4).cells[0].source
    assert all(number in first for number in numbers)


@pytest.mark.parametrize("stem", ["05_stability_stl10", "06_stability_catdog"])
def test_its_text_puts_the_questions_as_the_verdicts_do(stem):
    text = "\n".join(cell.source for cell in nbformat.read(repository() / "notebooks" / f"{stem}.ipynb", as_version=4).cells)
    assert all(f"**{name}** " in text and f"{claims.QUESTIONS[name].margin:g}" in text for name in ("E1", "E3", "E10", "E11"))


def test_the_notebook_beyond_the_supplement_states_every_question_with_its_margin():
    first = nbformat.read(repository() / "notebooks" / "08_faithfulness.ipynb", as_version=4).cells[0].source
    for name in ("E2", "E4", "E5", "E6", "E7", "E8", "E9", "E10", "E11"):
        (line,) = (line for line in first.splitlines() if line.startswith(f"- **{name}** "))
        assert f"margin {claims.QUESTIONS[name].margin:g})".replace("-", "−") in line


def test_it_holds_no_path_of_a_machine(file):
    text = json.dumps(json.loads(file.read_text()))
    for folder in (repository(), Path.home(), Path(tempfile.gettempdir())):
        assert f"{folder}/" not in text


def test_a_seed_is_a_random_seed_and_not_the_supplement(file):
    text = file.read_text().lower()
    assert not [
        words for words in ("the seed's", "beyond the seed", "of the seed", "in the seed", "the seed shows") if words in text
    ]
