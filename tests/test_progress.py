from types import SimpleNamespace

import pytest

from lficam import progress as progress_module
from lficam.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds, to be set by hand; nothing else lets time pass."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(progress_module, "sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True), modules={}))


@pytest.fixture
def no_terminal(monkeypatch):
    monkeypatch.setattr(progress_module, "sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: False), modules={}))


def record(epoch, loss=2.0, accuracy=0.25):
    return {"epoch": epoch, "loss": loss, "accuracy": accuracy}


def times_left(capsys):
    return [line.rpartition(" left ")[2] for line in capsys.readouterr().out.splitlines()]


def test_without_a_terminal_it_prints_a_line_an_epoch(capsys, no_terminal, clock):
    with Progress({"first": 1, "second": 2}) as progress:
        progress.start("first")
        progress.epoch("first", record(1))
        progress.start("second")
        progress.epoch("second", record(1, loss=1.5, accuracy=0.5))
    assert capsys.readouterr().out.splitlines() == [
        "run 1 of 2 first epoch 1/1 loss 2.000 accuracy 0.250 left 0:00",
        "run 2 of 2 second epoch 1/2 loss 1.500 accuracy 0.500 left 0:00",
    ]


def test_the_time_left_follows_from_the_mean_of_the_epochs_so_far(capsys, no_terminal, clock):
    with Progress({"first": 2, "second": 8}) as progress:
        for id, epoch, after in (("first", 1, 30), ("first", 2, 70), ("second", 1, 120), ("second", 2, 125)):
            clock.seconds = 1000 + after
            progress.epoch(id, record(epoch))
    # 9 epochs of 30 s; 8 of 70 / 2; 7 of 120 / 3; 6 of 125 / 4 = 31.25
    assert times_left(capsys) == ["4:30", "4:40", "4:40", "3:08"]


def test_epochs_of_an_interrupted_training_took_no_time(capsys, no_terminal, clock):
    with Progress({"resumed": 4, "new": 4}) as progress:
        for id, epoch, after in (("resumed", 3, 10), ("resumed", 4, 20), ("new", 1, 36)):
            clock.seconds = 1000 + after
            progress.epoch(id, record(epoch))
    # epochs 1 and 2 were trained before: 5 epochs of 10 s; 4 of 20 / 2; 3 of 36 / 3
    assert times_left(capsys) == ["0:50", "0:40", "0:36"]


def test_runs_side_by_side_share_the_time(capsys, no_terminal, clock):
    with Progress({"a": 4, "b": 4}) as progress:
        for id, epoch, after in (("a", 1, 10), ("b", 3, 12), ("a", 2, 21), ("b", 4, 24), ("a", 3, 30), ("a", 4, 42)):
            clock.seconds = 1000 + after
            progress.epoch(id, record(epoch))
    # "b" is resumed after its second epoch: 7 of 10 s; then of 8 epochs 4, 5, ... are done, two of which before: 4 of 12 / 2;
    # 3 of 21 / 3; 2 of 24 / 4; 1 of 30 / 5; none
    assert times_left(capsys) == ["1:10", "0:24", "0:21", "0:12", "0:06", "0:00"]


def test_runs_side_by_side_are_told_apart(capsys, no_terminal, clock):
    with Progress({"a": 2, "b": 3}) as progress:
        for id, epoch in (("b", 1), ("a", 1), ("b", 2)):
            progress.epoch(id, record(epoch))
    assert [line.partition(" loss")[0] for line in capsys.readouterr().out.splitlines()] == [
        "run 2 of 2 b epoch 1/3",
        "run 1 of 2 a epoch 1/2",
        "run 2 of 2 b epoch 2/3",
    ]


def test_in_a_terminal_it_is_one_bar_over_all_epochs(terminal, capsys):
    with Progress({"only": 4}) as progress:
        progress.start("only")
        progress.epoch("only", record(1))
        assert (progress._bar.n, progress._bar.total) == (1, 4)
        assert "run 1 of 1 only" in progress._bar.desc
        assert "epoch 1/4 loss 2.000" in progress._bar.postfix
    assert capsys.readouterr().out == ""


def test_the_bar_goes_through_all_epochs_of_all_runs(terminal, capsys):
    with Progress({"a": 4, "b": 4}) as progress:
        seen = []
        for id, epoch in (("a", 1), ("b", 3), ("a", 2), ("b", 4), ("a", 3), ("a", 4)):
            progress.epoch(id, record(epoch))
            seen.append((progress._bar.n, progress._bar.desc.partition(":")[0]))
    assert [count for count, _ in seen] == [1, 4, 5, 6, 7, 8]
    assert [name for _, name in seen] == [f"run {'ab'.index(id) + 1} of 2 {id}" for id in "ababaa"]


def test_the_bar_says_the_same_time_left_as_the_lines(terminal, capsys):
    with Progress({"resumed": 4, "new": 4}) as progress:
        bar = progress._bar
        start = bar.start_t
        said = []
        for id, epoch, after in (("resumed", 3, 10), ("resumed", 4, 20), ("new", 1, 36)):
            bar._time = lambda after=after: start + after
            progress.epoch(id, record(epoch))
            said.append(str(bar).partition("[")[2].partition(",")[0])
    assert said == ["00:10<00:50", "00:20<00:40", "00:36<00:36"]
