import pytest

from lficam.paths import atomic_file, atomic_folder, data_dir, figures_dir, repository, runs_dir


def test_folders_follow_the_environment(tmp_path, monkeypatch):
    for name, folder in (("DATA", data_dir), ("RUNS", runs_dir), ("FIGURES", figures_dir)):
        monkeypatch.setenv(f"LFICAM_{name}", str(tmp_path / name))
        assert folder() == tmp_path / name
        monkeypatch.delenv(f"LFICAM_{name}")
        assert folder() == repository() / name.lower()


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "table.csv"
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(target.parent.iterdir()) == []
    with atomic_file(target) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("whole")
    assert [file.name for file in target.parent.iterdir()] == ["table.csv"]
    assert target.read_text() == "whole"


def test_a_folder_appears_whole_or_not_at_all_and_keeps_the_old_one_until_then(tmp_path):
    target = tmp_path / "run"
    with atomic_folder(target) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(ValueError, match="stop"), atomic_folder(target) as temporary:
        (temporary / "a").write_text("new")
        raise ValueError("stop")
    assert (target / "a").read_text() == "old"
    with atomic_folder(target) as temporary:
        (temporary / "b").write_text("new")
    assert [file.name for file in target.iterdir()] == ["b"]
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
