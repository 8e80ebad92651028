"""Preflight tries functions of the user's own, and the rehearsal takes their time."""

import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.config import Settings, load, located, merge, validate
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import checks, rehearsal, rewards
from toys import WORLD, toy_policy

ROOT = Path(__file__).parents[2]
numbers = count()


def configured(folder: Path, text: str, **changes: Any) -> Settings:
    """The mini experiment with an own reward; a file is read once a process, so each has a name of its own."""
    path = folder / f"reward{next(numbers)}.py"
    path.write_text(text)
    config = load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml", ROOT / "tests/workflow/mini.yaml"])
    own = {"results": str(folder), "training": {"reward": f"{path}:score"}}
    return validate(merge(merge(config.model_dump(mode="json"), own), changes))


def test_what_it_gives_and_its_time_are_told(tmp_path: Path) -> None:
    text = "def score(completion, problem):\n    return 1.0 if problem.answer in completion.split() else 0\n"
    said = rewards.rewards(configured(tmp_path, text))
    assert "1.0 for the right answer to train-0, 0.0 for an empty text; " in said
    assert " ms a completion, " in said and said.endswith(" s a step of 16")
    assert rewards.rewards(configured(tmp_path, text, training={"reward": "strict"})) == "the task's own scores"


def test_it_is_tried_on_an_empty_and_on_a_long_text(tmp_path: Path) -> None:
    text = "seen = []\ndef score(completion, problem):\n    seen.append(completion)\n    return 1\n"
    chosen = configured(tmp_path, text)
    assert "the same for all that was tried: nothing could be learnt" in rewards.rewards(chosen)
    (function,) = rewards.load(chosen)
    seen = rewards.own.file_of(function).module.seen
    assert "" in seen and max(map(len, seen)) > 24 * 3, "as long as completions may become"
    assert any("<answer>" in one for one in seen)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def score(c, p):\n    return 1 / len(c)\n", r"reward\d+\.py:2: score raised ZeroDivisionError"),
        ("def score(c, p):\n    return None\n", r"reward\d+\.py: score gave 'None'"),
        (
            "from itertools import count\nn = count()\ndef score(c, p):\n    return next(n)\n",
            "gave 0.0 and then 1.0 for",
        ),
        ("def other(c, p):\n    return 1\n", r"training\.reward: .*reward\d+\.py defines no function score"),
    ],
)
def test_preflight_refuses_what_would_fail_or_differ(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"nothing was spent(.|\n)*{message}"):
        checks.preflight(configured(tmp_path, text))


def test_the_key_of_a_variant_is_named(tmp_path: Path) -> None:
    variants = {"mine": {"reward": "nowhere.py:score"}}
    changes = {"variants": ["mine"], "training_variants": variants}
    with pytest.raises(
        UserError, match=r"training_variants\.mine\.reward: .*nowhere\.py cannot be loaded: No such file"
    ):
        rewards.load(configured(tmp_path, "def score(c, p):\n    return 1\n", **changes))


def test_a_grade_without_a_verdict_is_seen_before_anything_is_spent(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": "tom ?", "answer": "1"}\n{"question": "ana ?", "answer": "2"}\n')
    (tmp_path / "no_verdict.py").write_text("def score(c, p):\n    return {'close': len(c)}\n")
    chosen = configured(tmp_path, "def score(c, p):\n    return 1\n")
    task = {
        "name": "jsonl", "train": str(tmp_path / "q.jsonl"), "test_size": 1, "train_size": None, "dev_size": 0,
        "demonstrations": 0, "grade": f"{tmp_path}/no_verdict.py:score",
    }  # fmt: skip
    config = chosen.model_dump(mode="json")
    with pytest.raises(UserError, match=r"no_verdict\.py: .* a dictionary without `correct`"):
        rewards.rewards(validate({**config, "task": {"prompt": "bare", **task}}))


def test_the_rehearsal_takes_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def score(c, p):\n    return 1\n"
    chosen = configured(tmp_path, text)
    ticks = count(0, 1000)
    completions = [{"completion": "tom", "question": "a", "answer": "1"}]
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    assert rehearsal._paying(chosen.training, completions) == 1000.0
    assert rehearsal._paying(chosen.training.model_copy(update={"reward": "strict"}), completions) == 0.0
    monkeypatch.undo()
    monkeypatch.setattr(rehearsal, "_paying", lambda *_: 1000.0)
    problems, policy = rehearsal.few_problems(chosen).train, toy_policy("llama")
    training = chosen.variant("leave_one_out")
    assert rehearsal.measure_training(policy, problems, WORLD, "bare", training)["update_token"] > 0.1


def test_of_few_questions_the_rehearsal_takes_what_there_is(tmp_path: Path) -> None:
    lines = [f'{{"question": "tom has {n} pens ?", "answer": {n}, "solution": "{n}"}}\n' for n in range(7)]
    (tmp_path / "few.jsonl").write_text("".join(lines))
    chosen = configured(tmp_path, "def score(c, p):\n    return 1\n").model_dump(mode="json")
    task = {
        "name": "jsonl", "prompt": "bare", "train": str(tmp_path / "few.jsonl"), "test_size": 2, "dev_size": 1,
        "demonstrations": 3, "vocabulary": "word_world",
    }  # fmt: skip
    config = validate({**chosen, "task": task})
    found = rehearsal.few_problems(config)
    assert (len(found.train), len(found.test), len(found.demonstrations)) == (4, 2, 3)
    assert rehearsal.few_sizes(config) == {"test_size": 2, "demonstrations": 3}


def test_a_start_without_demonstrations_is_refused_by_preflight(tmp_path: Path) -> None:
    chosen = configured(tmp_path, "def score(c, p):\n    return 1\n", task={"demonstrations": 0})
    with pytest.raises(UserError, match=r"policies\.tiny-llama\.start needs demonstrations"):
        checks.preflight(chosen)


def test_a_function_is_no_score_of_the_task(tmp_path: Path) -> None:
    text = "def score(c, p):\n    return 1\n"
    for reward in ("mine.py", "mine:score", "mine.py:1"):
        with pytest.raises(UserError, match=f"reward: '{reward}' is not one of"):
            configured(tmp_path, text, training_variants={"leave_one_out": {"reward": reward}})


def test_a_written_configuration_is_read_elsewhere(tmp_path: Path) -> None:
    layer = {
        "experiment": "mine", "results": "results", "training": {"reward": "own/mine.py:score", "estimator": "x"},
        "task": {"name": "jsonl", "train": "q.jsonl", "test": "/data/t.jsonl", "grade": "own/mine.py:score"},
        "training_variants": {"coin": {"reward": "random"}},
    }  # fmt: skip
    moved = located(layer, tmp_path / "results/mine/config.json")
    assert moved["training"]["reward"] == f"{tmp_path}/own/mine.py:score"
    train, test, grade = (moved["task"][key] for key in ("train", "test", "grade"))
    assert (train, test, grade) == (f"{tmp_path}/q.jsonl", "/data/t.jsonl", f"{tmp_path}/own/mine.py:score")
    assert moved["training_variants"]["coin"]["reward"] == "random" and moved["task"]["name"] == "jsonl"
