"""What each method makes of a world, by its summary."""

from methods import look


def test_a_run_is_told_with_its_own_trainings() -> None:
    attempts = [
        {"stage": "train", "variant": "ppo", "seconds": 20.0, "usd": 0.0004},
        {"stage": "train", "variant": "ppo", "seconds": 10.0, "usd": 0.0002},
        {"stage": "train", "variant": "grpo", "seconds": 5.0, "usd": 0.0001},
        {"stage": "evaluate_trained", "variant": "ppo", "seconds": 99.0, "usd": 0.01},
    ]
    row = {"variant": "ppo", "delta": 0.5, "ci95": [0.4, 0.6], "mcnemar_p": 1e-9, "stopped": None}
    model = {"n": 100, "baseline": {"strict": 0.2}, "runs": [{**row, "trained": {"strict": 0.7}}]}
    told = look({"models": {"tiny-llama": model}, "cost": {"attempts": attempts}})
    assert (told["n"], told["baseline"]) == (100, 0.2)
    assert told["runs"]["ppo"]["trained"] == 0.7 and told["runs"]["ppo"]["seconds"] == 30.0
    assert abs(told["runs"]["ppo"]["usd"] - 0.0006) < 1e-12
