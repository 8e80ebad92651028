"""An evaluation goes on after a kill, and never reads what another one has written."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reinforce_lite.config import Evaluation
from reinforce_lite.evaluation import harness
from reinforce_lite.evaluation.written import Written, fixed_batches
from reinforce_lite.io.interrupt import Interrupted
from reinforce_lite.io.journal import Journal
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Sampling
from reinforce_lite.rollout.generate import GenerateEngine
from reinforce_lite.tasks import Problem
from toys import WORLD, toy_policy

# Prompts of several lengths, not in the order of their lengths.
PROBLEMS = [Problem(f"test-{i}", "tom has 3 apples . " * (1 + i * 5 % 7), "3") for i in range(8)]
SETTINGS = Evaluation(max_new_tokens=6, batch_size=3)
KEY = {"policy": "one"}
Batches = list[list[list[int]]]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Batches:
    """The prompts of every batch that the engine decodes."""
    real, seen = GenerateEngine._decode, []

    def decode(self: GenerateEngine, prompts: list[list[int]], *rest: Any) -> Any:
        seen.append(prompts)
        return real(self, prompts, *rest)

    monkeypatch.setattr(GenerateEngine, "_decode", decode)
    return seen


def run(
    policy: Policy, path: Path, key: dict[str, str] = KEY, problems: list[Problem] = PROBLEMS
) -> dict[str, Completion]:
    """What lm-eval asks for, without the seconds that lm-eval takes."""
    lm = harness.PolicyLM(policy, SETTINGS, Written(path, key))
    texts = lm.generate_until([SimpleNamespace(doc=vars(p), args=(p.question,)) for p in problems])  # type: ignore[misc]
    assert texts == [policy.text(lm.completions[p.id].token_ids) for p in problems]
    return lm.completions


def interrupted(policy: Policy, path: Path, batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave in the batch after so many."""
    real, calls = Written.append, 0

    def append(self: Written, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > batches:
            raise Interrupted
        real(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Written, "append", append)
        run(policy, path)


def test_batches_are_those_that_the_engine_itself_would_make(policy: Policy, decoded: Batches) -> None:
    prompts = {str(i): [1] * (1 + i * 5 % 7) + [i] for i in range(8)}
    GenerateEngine(policy, 3)(list(prompts.values()), 1, Sampling(0, 1, 2))
    assert decoded == [[prompts[i] for i in batch] for batch in fixed_batches(prompts, 3)]


@pytest.mark.parametrize("batches", [0, 1, 2])
@pytest.mark.survives("SIGTERM between two batches of an evaluation")
def test_it_goes_on_with_the_next_batch(
    policy: Policy, tmp_path: Path, batches: int, decoded: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run(policy, tmp_path / "undisturbed")
    whole = decoded.copy()
    assert list(map(len, whole)) == [3, 3, 2]
    interrupted(policy, tmp_path / "x", batches, monkeypatch)
    decoded.clear()
    assert run(policy, tmp_path / "x") == undisturbed
    assert decoded == whole[batches:]


@pytest.mark.survives("SIGKILL while writing an evaluation's batch")
def test_a_torn_line_is_a_batch_to_be_done_again(policy: Policy, tmp_path: Path, decoded: Batches) -> None:
    path = tmp_path / "x"
    undisturbed = run(policy, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    decoded.clear()
    assert run(policy, path) == undisturbed
    assert list(map(len, decoded)) == [2]
    assert len(path.read_bytes()) == pytest.approx(len(whole), abs=30)  # but for the digits of the seconds


@pytest.mark.survives("another model's answers beside an evaluation")
def test_of_another_model_nothing_is_read(tmp_path: Path, decoded: Batches, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = toy_policy("phi3", seed=0), toy_policy("phi3", seed=1)
    alone = run(second, tmp_path / "alone", {"policy": "two"})
    other = run(first, tmp_path / "x")
    assert {i: c.token_ids for i, c in other.items()} != {i: c.token_ids for i, c in alone.items()}
    decoded.clear()
    capsys.readouterr()
    assert run(second, tmp_path / "x", {"policy": "two"}) == alone
    assert len(decoded) == 3
    assert "is of another evaluation (policy); discarded" in capsys.readouterr().err
    decoded.clear()
    assert run(second, tmp_path / "x", {"policy": "two"}) == alone and not decoded


def test_of_other_questions_nothing_is_read(policy: Policy, tmp_path: Path, decoded: Batches) -> None:
    run(policy, tmp_path / "x")
    decoded.clear()
    changed = [Problem(p.id, p.question.replace("3", "4"), p.answer) for p in PROBLEMS]
    assert run(policy, tmp_path / "x", problems=changed) == run(policy, tmp_path / "y", problems=changed)
    assert len(decoded) == 6


def test_seconds_of_an_earlier_process_count(tmp_path: Path) -> None:
    policy, path = toy_policy("phi3"), tmp_path / "x"
    undisturbed, items = harness.evaluate(policy, PROBLEMS, WORLD, "bare", SETTINGS, Written(path, KEY))
    journal = Journal(path)
    key, *batches = journal.rows()
    journal.cut(0)
    for row in (key, *({**batch, "seconds": 1000.0} for batch in batches[:2])):
        journal.append(row)
    summary, again = harness.evaluate(policy, PROBLEMS, WORLD, "bare", SETTINGS, Written(path, KEY))
    assert 2000 < summary["seconds"] < 2600 and undisturbed["seconds"] < 600
    assert again == items


@pytest.mark.parametrize("change", [{"finish_reason": "stop"}, {"token_ids": []}, {"token_ids": [5] * 5}])
def test_a_completion_without_an_end_is_refused(policy: Policy, tmp_path: Path, change: dict[str, Any]) -> None:
    endless = Policy(policy.model, policy.tokenizer, frozenset({len(policy.tokenizer) - 1}), policy.pad_id)
    path = tmp_path / "x"
    run(endless, path)
    journal = Journal(path)
    rows = journal.rows()
    next(iter(rows[1]["completions"].values())).update(change)
    journal.cut(0)
    for row in rows:
        journal.append(row)
    with pytest.raises(RuntimeError, match="has no end"):
        run(endless, path)
