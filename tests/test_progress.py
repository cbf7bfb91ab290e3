from lficam.progress import Progress


def test_without_a_terminal_it_prints_a_line_an_epoch(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    with Progress(total=2, epochs=3) as progress:
        progress.start("first", 1)
        progress.epoch({"epoch": 1, "loss": 2.0, "accuracy": 0.25})
        progress.start("second", 2)
        progress.epoch({"epoch": 1, "loss": 1.5, "accuracy": 0.5})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("run 1 of 2 first epoch 1/1 loss 2.000 accuracy 0.250 left 0:0")
    assert lines[1].startswith("run 2 of 2 second epoch 1/2 loss 1.500 accuracy 0.500 left 0:0")


def test_in_a_terminal_it_is_one_bar_over_all_epochs(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress(total=1, epochs=4) as progress:
        progress.start("only", 4)
        progress.epoch({"epoch": 1, "loss": 2.0, "accuracy": 0.25})
        assert (progress._bar.n, progress._bar.total) == (1, 4)
        assert "run 1 of 1 only" in progress._bar.desc
        assert "epoch 1/4 loss 2.000" in progress._bar.postfix
