"""Work that was begun with other libraries or on another device goes on only if the user accepts other numbers."""

from pathlib import Path

import pytest
from test_progress import EVERY_STEP, leave_at, work

from reinforce_lite.config import Evaluation
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.written import Written
from reinforce_lite.io.interrupt import Interrupted
from reinforce_lite.io.keyed import Key
from reinforce_lite.learning.progress import Progress
from reinforce_lite.rollout import Completion

HERE = {"learning_rate": 1e-3, "computed_with": {"torch": "2.11", "CPU capability": "AVX512"}}
ELSEWHERE = {**HERE, "computed_with": {"torch": "2.11", "CPU capability": "AVX2"}}
CHANGED = {"CPU capability": ["AVX512", "AVX2"]}
PROMPTS = {"a": [1], "b": [1, 2], "c": [1, 2, 3]}
SETTINGS = Evaluation(max_new_tokens=2, batch_size=1)


def test_a_training_on_another_cpu_is_refused_or_accepted_and_then_kept_in_mind(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        work(Progress(tmp_path, HERE, EVERY_STEP), 5, leave_at(2))
    with pytest.raises(UserError, match="CPU capability: 'AVX512' there, 'AVX2' now") as caught:
        work(Progress(tmp_path, ELSEWHERE, EVERY_STEP), 5)
    assert "--accept-other-numbers" in caught.value.fix
    with pytest.raises(Interrupted):
        work(Progress(tmp_path, Key(ELSEWHERE, accept=True), EVERY_STEP), 5, leave_at(4))
    again = Progress(tmp_path, ELSEWHERE, EVERY_STEP)
    assert work(again, 5) == (4, 5.0)
    assert again.accepted == [{"after": 2, "changed": CHANGED}]


def write(written: Written, count: int) -> list[str]:
    """Write so many of the batches that are left; returns the ids that were there."""
    there, _ = written.resume(PROMPTS, 1)
    for name in [name for name in PROMPTS if name not in there][:count]:
        written.append({name: Completion(PROMPTS[name], [5], [0.0], "stop")}, 1.0)
    return list(there)


def test_an_evaluation_on_another_cpu_is_refused_or_accepted_and_then_kept_in_mind(tmp_path: Path) -> None:
    path = tmp_path / "completions.jsonl"
    assert write(Written(path, HERE), 1) == []
    before = path.read_bytes()
    with pytest.raises(UserError, match="CPU capability: 'AVX512' there, 'AVX2' now"):
        write(Written(path, ELSEWHERE), 1)
    assert path.read_bytes() == before, "what is paid for stays"
    assert write(Written(path, Key(ELSEWHERE, accept=True)), 1) == ["a"]
    again = Written(path, ELSEWHERE)
    assert write(again, 1) == ["a", "b"]
    assert again.accepted == [{"after": 1, "changed": CHANGED}]


def test_an_evaluation_that_has_written_nothing_takes_any_key(tmp_path: Path) -> None:
    write(Written(tmp_path / "x", HERE), 0)
    again = Written(tmp_path / "x", ELSEWHERE)
    assert write(again, 1) == [] and again.accepted == []
    assert write(Written(tmp_path / "x", ELSEWHERE), 1) == ["a"]


def test_what_is_finished_is_only_written_again(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "training", HERE, EVERY_STEP)
    work(progress, 3)
    progress.finish()
    again = Progress(tmp_path / "training", ELSEWHERE, EVERY_STEP)
    assert work(again, 3) == (3, 3.0)
    assert again.accepted == [{"after": 3, "changed": CHANGED}], "it is told all the same"
    write(Written(tmp_path / "x", HERE), 3)
    written = Written(tmp_path / "x", ELSEWHERE)
    assert write(written, 0) == ["a", "b", "c"]
    assert written.accepted == [{"after": 3, "changed": CHANGED}]
