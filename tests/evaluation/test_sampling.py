from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.config import Evaluation
from reinforce_lite.evaluation import sampling
from reinforce_lite.evaluation.written import Written
from reinforce_lite.policy import Policy
from reinforce_lite.tasks import Problem
from toys import WORLD

PROBLEMS = [Problem(f"test-{i}", f"tom has {i} apples . how many apples now ?", str(i)) for i in range(1, 7)]
SETTINGS = Evaluation(max_new_tokens=6, batch_size=4, samples=2, samples_limit=5, engine="generate")


def test_every_question_is_answered_k_times_and_judged(policy: Policy) -> None:
    rows = sampling.sample(policy, PROBLEMS, WORLD, "bare", SETTINGS)
    assert [(row["id"], row["draw"]) for row in rows] == [(f"test-{i}", d) for i in range(1, 6) for d in (0, 1)]
    assert len({row["completion"] for row in rows}) > 5, "draws differ"
    assert all(row["truncated"] == (row["length"] == 6) or row["length"] == 6 for row in rows)
    assert {"strict", "flexible"} <= rows[0].keys()


def test_an_answer_does_not_depend_on_what_is_sampled_beside_it(policy: Policy) -> None:
    at_once = sampling.sample(policy, PROBLEMS, WORLD, "bare", SETTINGS.model_copy(update={"batch_size": 100}))
    assert sampling.sample(policy, PROBLEMS, WORLD, "bare", SETTINGS) == at_once
    alone = sampling.sample(policy, PROBLEMS[:2], WORLD, "bare", SETTINGS)
    assert alone == at_once[:4]
    assert sampling.draw_seed("test-1") != sampling.draw_seed("test-2")


class KilledError(Exception):
    """What a test ends a process with."""


def test_it_goes_on_batch_by_batch(policy: Policy, tmp_path: Path) -> None:
    whole = sampling.sample(policy, PROBLEMS, WORLD, "bare", SETTINGS)
    taken: list[int] = []

    def once(done: int) -> None:
        taken.append(done)
        if len(taken) == 2:
            raise KilledError

    place = tmp_path / "samples.jsonl"
    with pytest.raises(KilledError):
        sampling.sample(policy, PROBLEMS, WORLD, "bare", SETTINGS, Written(place, {"key": 1}), once)
    again = sampling.sample(policy, PROBLEMS, WORLD, "bare", SETTINGS, Written(place, {"key": 1}), taken.append)
    assert again == whole and taken == [1, 2, 3], "no batch was sampled twice"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({}, 3), ({"samples": 0}, 0), ({"batch_size": 1}, 5), ({"samples_limit": None}, 3), ({"batch_size": 99}, 1)],
)
def test_batches_are_counted_beforehand(policy: Policy, changes: dict[str, Any], wanted: int) -> None:
    settings, taken = SETTINGS.model_copy(update=changes), []
    assert settings.sampled_batches(len(PROBLEMS)) == wanted
    if settings.samples:
        sampling.sample(policy, PROBLEMS, WORLD, "bare", settings, after_batch=taken.append)
        assert len(taken) == wanted
