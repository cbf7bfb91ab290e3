"""Checksums beside files, against those of the command line's sha256sum, worked out once."""

import json

import pytest

from lficam.errors import InputError
from lficam.sums import SUMS, changed, check_sums, has_sums, write_sums

# printf abc | sha256sum
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    (tmp_path / "b.txt").write_text("abc")
    (tmp_path / "README.md").write_text("a card")
    return tmp_path


def test_every_file_but_the_card_has_its_sum(folder):
    assert not has_sums(folder)
    assert changed(folder) == ""
    write_sums(folder)
    assert json.loads((folder / SUMS).read_text()) == {"a.txt": ABC, "b.txt": ABC}
    (folder / "README.md").write_text("another card")
    assert changed(folder) == ""


def test_what_has_changed_is_named(folder):
    write_sums(folder)
    (folder / "b.txt").write_text("abd")
    assert changed(folder) == "b.txt has changed since it was stored"
    assert changed(folder, ["a.txt"]) == ""
    check_sums(folder, "a.txt", advice="do something")
    with pytest.raises(InputError, match=rf"^{folder}/b.txt has changed since it was stored: do something$"):
        check_sums(folder, "b.txt", advice="do something")
    (folder / "b.txt").unlink()
    assert changed(folder) == "b.txt is missing"


def test_a_file_that_was_written_again_gets_another_sum_alone(folder):
    write_sums(folder)
    (folder / "a.txt").write_text("new")
    (folder / "b.txt").write_text("damaged")
    write_sums(folder, ["a.txt"])
    assert changed(folder) == "b.txt has changed since it was stored"


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null"])
def test_sums_that_are_damaged_are_named_as_well(folder, content):
    (folder / SUMS).write_text(content)
    assert changed(folder) == f"{SUMS} is damaged"
