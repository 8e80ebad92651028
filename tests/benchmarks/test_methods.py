"""What each method makes of a world, by its summary."""

from methods import look


def test_each_run_is_told_with_its_gain() -> None:
    gain = {"delta": 0.5, "ci95": [0.4, 0.6], "mcnemar_p": 1e-9, "stopped": None}
    runs = [{"variant": name, **gain, "trained": {"strict": 0.7}, "n": 100} for name in ("grpo", "ppo")]
    told = look({"models": {"tiny-llama": {"n": 100, "baseline": {"strict": 0.2}, "runs": runs}}})
    assert told == {"n": 100, "baseline": 0.2, "runs": {name: {"trained": 0.7, **gain} for name in ("grpo", "ppo")}}
