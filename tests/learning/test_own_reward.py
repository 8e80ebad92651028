"""A reward of the user's own in the training loop."""

from pathlib import Path

import pytest

from reinforce_lite.config import CheckpointSettings, Training
from reinforce_lite.errors import UserError
from reinforce_lite.io.interrupt import Interrupted
from reinforce_lite.learning.loop import Step, train
from reinforce_lite.learning.progress import Keeper, Progress
from reinforce_lite.resources.keys import as_keyed
from reinforce_lite.tasks import Problem
from toys import WORLD, toy_policy

PROBLEMS = [Problem(f"train-{i}", f"tom has {i} apples . how many apples now ?", str(i)) for i in range(6)]
SCORE = """
def score(completion, problem):
    words = completion.split()
    return {"tom": 0.25 * words.count("tom"), "said": float(problem.answer in words)}
"""


def settings(folder: Path, text: str = SCORE, steps: int = 2) -> Training:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(text)
    return Training(
        steps=steps, questions_per_step=3, group_size=4, max_new_tokens=12, learning_rate=1e-2, shuffle=False,
        reward=f"{folder}/mine.py:score",
    )  # fmt: skip


def run(chosen: Training, progress: Keeper | None = None, on_step: object = None) -> list[Step]:
    steps: list[Step] = []

    def keep(step: Step) -> None:
        steps.append(step)
        if on_step is not None:
            raise Interrupted

    train(toy_policy("llama"), PROBLEMS, WORLD, "bare", chosen, 0, keep, progress=progress)
    return steps


def test_its_sum_is_paid_and_its_parts_are_kept(tmp_path: Path) -> None:
    rows = [row for step in run(settings(tmp_path)) for row in step.completions]
    assert {row["reward"] for row in rows} - {0.0, 1.0} and any(row["advantage"] for row in rows), "partial credit"
    for row in rows:
        words = row["completion"].split()
        parts = {"tom": 0.25 * words.count("tom"), "said": float(row["answer"] in words)}
        assert row["reward_parts"] == parts and row["reward"] == sum(parts.values())


def test_a_number_alone_has_no_parts(tmp_path: Path) -> None:
    text = "def score(completion, problem):\n    return len(completion) / 100\n"
    rows = [row for step in run(settings(tmp_path, text)) for row in step.completions]
    assert all(row["reward"] == len(row["completion"]) / 100 and "reward_parts" not in row for row in rows)


def test_an_error_in_the_middle_of_a_training_names_the_line(tmp_path: Path) -> None:
    text = "def score(completion, problem):\n    return {'0': 1.0}[problem.answer]\n"
    with pytest.raises(UserError, match=r"mine\.py:2: score raised KeyError: '1' for the completion"):
        run(settings(tmp_path, text))


def test_a_changed_file_is_another_training_and_is_refused_by_its_name(tmp_path: Path) -> None:
    def progress(chosen: Training) -> Progress:
        return Progress(tmp_path / "kept", as_keyed(chosen), CheckpointSettings(every_steps=1))

    first = settings(tmp_path / "first")
    with pytest.raises(Interrupted):
        run(first, progress(first), on_step=True)
    changed = settings(tmp_path / "second", SCORE.replace("0.25", "0.5"))
    with pytest.raises(UserError, match=r"holds a training of other settings:\n  - mine\.py, sha256: "):
        run(changed, progress(changed))
    moved = settings(tmp_path / "third")
    assert len(run(moved, progress(moved))) == 1, "the same file in another folder is the same reward"


def test_other_rewards_have_the_key_that_they_had(tmp_path: Path) -> None:
    chosen = settings(tmp_path).model_copy(update={"reward": "strict"})
    assert as_keyed(chosen)["reward"] == "strict" and not any("sha256" in name for name in as_keyed(chosen))
