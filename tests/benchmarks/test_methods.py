"""What each method makes of a world, by what its experiment has written."""

import sys
from pathlib import Path

import methods
import pytest
from methods import look

from reinforce_lite.io.files import read_json, write_json, write_jsonl


def test_each_run_is_told_with_its_gain_its_cost_and_its_swings(tmp_path: Path) -> None:
    gain = {"delta": 0.5, "ci95": [0.4, 0.6], "mcnemar_p": 1e-9, "stopped": None}
    runs = [{"variant": name, "seed": 0, **gain, "trained": {"strict": 0.7}, "n": 100} for name in ("grpo", "ppo")]
    costs = [{"variant": name, "seed": 0, "training_usd": usd} for name, usd in (("grpo", 0.5), ("ppo", 1.0))]
    models = {"tiny-llama": {"n": 100, "baseline": {"strict": 0.2}, "runs": runs}}
    write_json(tmp_path / "summary.json", {"models": models, "cost": {"per_point": costs}})
    for name, rewards in {"grpo": (0, 1, 2), "ppo": (0, 1, 0)}.items():
        (place := tmp_path / f"train/tiny-llama/{name}/seed0").mkdir(parents=True)
        write_jsonl(place / "metrics.jsonl", [{"reward_mean": float(reward)} for reward in rewards])
    told = look(tmp_path)
    assert (told["n"], told["baseline"]) == (100, 0.2)
    grpo, ppo = ({"trained": 0.7, **gain, "usd": usd, "swings": swing} for usd, swing in ((0.5, 0.0), (1.0, 1.0)))
    assert told["runs"] == {"grpo": grpo, "ppo": ppo}


def test_a_world_that_is_not_asked_for_keeps_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call for one world once wrote a file without the others, which take a quarter of an hour to measure."""
    output = tmp_path / "methods.json"
    write_json(output, {"worlds": {"tiny": {"date": "2026-11-27", "n": 1000}, "tiny_knights": {"n": 1}}})
    figures = {"n": 700, "baseline": 0.1, "runs": {"grpo": {"trained": 0.5, "usd": 0.001, "swings": 0.1}}}
    monkeypatch.setattr(methods, "run", lambda world: figures)
    monkeypatch.setattr(sys, "argv", ["methods.py", "--worlds", "tiny_knights", "--output", str(output)])
    methods.main()
    worlds = read_json(output)["worlds"]
    assert worlds["tiny"] == {"date": "2026-11-27", "n": 1000}
    assert {key: worlds["tiny_knights"][key] for key in figures} == figures
    assert worlds["tiny_knights"]["tree"]
