import pytest

from reinforce_lite.config import Evaluation, Start
from reinforce_lite.evaluation.harness import PolicyLM, evaluate, make_task
from reinforce_lite.learning.supervised import supervised_start
from reinforce_lite.policy import Policy, encode_prompt
from reinforce_lite.tasks import Demonstration, Problem
from toys import WORLD

PROBLEMS = [Problem(f"test-{i}", f"tom has {i} apples . how many apples now ?", str(i)) for i in range(2, 7)]
SETTINGS = Evaluation(max_new_tokens=8, batch_size=3)


@pytest.mark.parametrize("prompt", ["bare", "tagged"])
def test_evaluation_reads_the_very_ids_that_training_reads(policy: Policy, prompt: str) -> None:
    task = make_task(PROBLEMS, WORLD, prompt, PolicyLM(policy, SETTINGS))
    task.build_all_requests(rank=0, world_size=1)
    assert len(task.instances) == len(PROBLEMS)
    for problem, request in zip(PROBLEMS, task.instances, strict=True):
        evaluated = encode_prompt(policy.tokenizer, request.args[0])
        assert evaluated == policy.prompt_ids(WORLD.messages(prompt, problem.question))


def test_outcomes_of_each_item(policy: Policy) -> None:
    # Taught to answer 2 .. 5 rightly, and 6 with 7.
    lessons = [Demonstration(p.question, f"<answer> {min(int(p.answer), 5)} </answer>") for p in PROBLEMS]
    supervised_start(policy, lessons, WORLD, "bare", Start(steps=150, batch_size=5, learning_rate=1e-2))
    summary, items = evaluate(policy, PROBLEMS, WORLD, "bare", SETTINGS)
    assert [item["id"] for item in items] == [p.id for p in PROBLEMS]
    assert [item["strict"] for item in items] == [True, True, True, True, False]
    assert items[0]["completion"] == "<answer> 2 </answer>"
    assert items[0]["length"] == 4  # three words and the stop id
    assert summary["n"] == 5 and summary["strict"] == summary["flexible"] == pytest.approx(0.8)
    assert summary["truncated"] == 0


def test_cut_answers_are_counted_as_truncated(policy: Policy) -> None:
    endless = Policy(policy.model, policy.tokenizer, frozenset({len(policy.tokenizer) - 1}), policy.pad_id)
    summary, items = evaluate(endless, PROBLEMS[:2], WORLD, "bare", SETTINGS)
    assert summary["truncated"] == 1 and all(item["truncated"] and item["length"] == 8 for item in items)
