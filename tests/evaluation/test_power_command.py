"""What `reinforce-lite power` prints."""

import json
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.cli import main
from reinforce_lite.config import load
from reinforce_lite.evaluation.power import detectable_gain, power, questions_needed
from reinforce_lite.io.files import write_json

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path: Path) -> Any:
    """`reinforce-lite power` on the paid run's configuration, with results in a folder of its own."""
    overlay = tmp_path / "own.json"

    def call(*options: str, **changed: Any) -> int:
        overlay.write_text(json.dumps({"results": str(tmp_path), **changed}))
        return main(["power", *options, "--config", str(ROOT / "config/config.yaml"), str(overlay)])

    return call


@pytest.fixture
def found(command: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    """The JSON object for some options."""

    def call(*options: str, **changed: Any) -> Any:
        assert command("--json", *options, **changed) == 0
        return json.loads(capsys.readouterr().out)

    return call


def compared(folder: Path, seed: int, **figures: Any) -> None:
    row = {"model": "llama-3.2-3b-instruct", "variant": "leave_one_out", "seed": seed, "n": 1000, **figures}
    write_json(folder / f"paper/compare/llama-3.2-3b-instruct/leave_one_out/seed{seed}.json", row)


def test_the_table_teaches_before_money_is_spent(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    shown = capsys.readouterr().out
    assert "1,319 questions" in shown and "alpha 0.05 / 2 models = 0.025 for each" in shown and "Holm" in shown
    assert "+2.0: published for llama-3.2-3b-instruct, from 70.5% to 72.5%." in shown
    assert "+0.6: published for phi-3.5-mini-instruct, from 83.4% to 84.0%." in shown
    row = next(line for line in shown.splitlines() if line.strip().startswith("12.0%"))
    least = detectable_gain(1319, 0.12, 0.8, 0.025)
    assert row.split() == [
        "12.0%",
        f"{100 * least:+.2f}",
        f"{power(1319, 0.02, 0.12, 0.025):.0%}",
        f"{questions_needed(0.725 - 0.705, 0.12, 0.8, 0.025):,}",
        f"{power(1319, 0.006, 0.12, 0.025):.0%}",
        f"{questions_needed(0.84 - 0.834, 0.12, 0.8, 0.025):,}",
    ]


def test_json_says_the_same(found: Any) -> None:
    plan = found()
    assert (plan["questions"], plan["power"], plan["alpha"], plan["models"]) == (1319, 0.8, 0.05, 2)
    assert plan["alpha_per_model"] == 0.025
    assert [row["discordance"] for row in plan["rows"]] == [0.05, 0.08, 0.12, 0.16, 0.2]
    assert all(row["seen_in"] is None for row in plan["rows"])
    assert [gain["name"] for gain in plan["rows"][0]["gains"]] == ["llama-3.2-3b-instruct", "phi-3.5-mini-instruct"]
    assert plan["rows"][2]["detectable_gain"] == detectable_gain(1319, 0.12, 0.8, 0.025)


def test_options_replace_what_the_configuration_says(found: Any) -> None:
    plan = found(
        "--questions", "500", "--discordance", "0.1", "0.3", "--gain", "5", "--power", "0.9", "--alpha", "0.1",
        "--models", "1",
    )  # fmt: skip
    assert (plan["questions"], plan["power"], plan["alpha_per_model"]) == (500, 0.9, 0.1)
    assert [row["discordance"] for row in plan["rows"]] == [0.1, 0.3]
    asked = plan["rows"][1]["gains"][-1]
    assert asked == {
        "name": "--gain",
        "power": power(500, 0.05, 0.3, 0.1),
        "questions_needed": questions_needed(0.05, 0.3, 0.9, 0.1),
    }


def test_one_model_needs_no_correction(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--gain", "-3", models=["phi-3.5-mini-instruct"]) == 0
    shown = capsys.readouterr().out
    assert "alpha 0.05." in shown and "Holm" not in shown and "llama" not in shown
    assert "-3.0: asked for by --gain." in shown


@pytest.mark.parametrize(
    ("task", "limit", "questions"),
    [({"test_size": None}, None, 1319), ({"test_size": 400}, None, 400), ({"test_size": 400}, 50, 50),
     ({"name": "word_world", "test_size": 70}, 90, 70)],
)  # fmt: skip
def test_the_questions_are_those_that_are_evaluated(
    found: Any, task: dict[str, Any], limit: int | None, questions: int
) -> None:
    assert found(task=task, evaluation={"limit": limit})["questions"] == questions


def test_a_world_of_unknown_size_needs_the_option(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    world = {"name": "word_world", "test_size": None}
    assert command(task=world) == 2
    assert "task.test_size" in capsys.readouterr().err
    assert command("--questions", "100", task=world) == 0


def test_the_tiny_world_has_no_published_gain(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"]).model_dump(mode="json")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**config, "results": str(tmp_path)}))
    assert main(["power", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "1,000 questions" in shown and "published" not in shown


def test_a_published_gain_of_nothing_is_no_gain_to_look_for(found: Any) -> None:
    policies = {"phi-3.5-mini-instruct": {"published": {"baseline": 0.834, "trained": 0.834}}}
    assert [gain["name"] for gain in found(policies=policies)["gains"]] == ["llama-3.2-3b-instruct"]


def test_what_was_seen_has_a_row_of_its_own(
    command: Any, found: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(tmp_path, 0, discordant={"gained": 90, "lost": 47})
    compared(tmp_path, 1, discordant=None, not_run="the budget is spent")
    rows = found()["rows"]
    assert len(rows) == 6
    assert rows[-1]["seen_in"] == "llama-3.2-3b-instruct, leave_one_out, seed 0"
    assert rows[-1]["discordance"] == 0.137
    assert command() == 0
    shown = capsys.readouterr().out.splitlines()
    row = next(line for line in shown if "seen:" in line)
    assert row.split()[0] == "13.7%" and row.endswith("seen: llama-3.2-3b-instruct, leave_one_out, seed 0")


def test_no_change_seen_is_no_reason_to_fail(
    command: Any, found: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(tmp_path, 0, discordant={"gained": 0, "lost": 0})
    row = found()["rows"][-1]
    assert row["detectable_gain"] is None
    assert all(gain["power"] is None and gain["questions_needed"] is None for gain in row["gains"])
    assert command() == 0
    shown = capsys.readouterr().out
    assert "-: no gain is that large" in shown
    assert next(line for line in shown.splitlines() if "seen:" in line).split()[:4] == ["0.0%", "-", "-", "-"]


@pytest.mark.parametrize(
    "damage", [{}, {"discordant": {"gained": 1}}, {"discordant": {"gained": 1, "lost": 1}, "n": 0}]
)
def test_a_damaged_comparison_is_named(
    command: Any, tmp_path: Path, damage: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    compared(tmp_path, 0, **damage)
    assert command() == 2
    assert "seed0.json is not a comparison" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ("--questions", "0"), ("--models", "0"), ("--power", "1"), ("--power", "80"), ("--alpha", "0"),
        ("--gain", "0"), ("--gain", "101"), ("--gain", "nan"), ("--discordance", "0.1", "12"), ("--discordance", "0"),
    ],
)  # fmt: skip
def test_impossible_options_are_refused_with_a_fix(
    command: Any, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*options) == 2
    said = capsys.readouterr().err
    assert f"{options[0]} {options[-1]} is not possible" in said and "fix: give" in said


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["power", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("--questions", "--discordance", "--gain", "Holm", "smallest gain"):
        assert word in shown
