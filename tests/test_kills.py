"""A training that is killed again and again, at drawn instants, ends with the weights of one that was left alone."""

from helpers import few_digits
from kills import attempt, check_store, left_over

from lficam.training import loop
from lficam.training.config import RunConfig
from lficam.training.fit import fit_or_load

KILLS = 12


def fit(config):
    loop.CHECKPOINT_SECONDS = 0
    fit_or_load(RunConfig(**config))


def test_after_every_kill_all_runs_are_whole_and_in_the_end_the_weights_are_the_same(tmp_path, monkeypatch):
    config = few_digits(epochs=4)
    for name in ("left_alone", "killed"):
        monkeypatch.setenv("LFICAM_RUNS", str(tmp_path / name))
        if name == "left_alone":
            fit_or_load(config)
    killed, codes = tmp_path / "killed", []
    for seed in range(KILLS):
        codes.append(attempt(fit, config.model_dump(), seed=seed, seconds=4, writes=5, LFICAM_RUNS=str(killed)))
        check_store(killed)
        if codes[-1] == 0:  # stored: the next begins from nothing
            assert left_over(killed) == []
            same_weights(config.run_id(), tmp_path)
            (killed / config.run_id()).rename(tmp_path / f"done{seed}")
    assert codes.count(-9) >= KILLS // 2, codes
    fit_or_load(config)
    assert left_over(killed) == []
    same_weights(config.run_id(), tmp_path)


def same_weights(id, folder):
    first, second = ((folder / name / id / "model.safetensors").read_bytes() for name in ("left_alone", "killed"))
    assert first == second
