"""Greedy evaluation through lm-eval, with the very prompt ids that training uses.

lm-eval draws the requests, applies the task's scoring and aggregates; the tokens come from our own engine, so that a
completion is the same here and in training. lm-eval's response cache is never used: its keys ignore the model.
"""

import logging
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from lm_eval import evaluator
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from reinforce_lite.config import Evaluation
from reinforce_lite.evaluation.statistics import outcome_means
from reinforce_lite.evaluation.written import AfterBatch, Written, write_batches
from reinforce_lite.io.provenance import git_commit
from reinforce_lite.policy import Policy, encode_prompt, render_prompt
from reinforce_lite.rollout import Completion, Engine, Sampling, ended
from reinforce_lite.rollout.registry import kept_open, opened
from reinforce_lite.tasks import Problem, Task, verdicts

NAME = "reinforce_lite"
METRICS = ("strict", "flexible", "truncated", "length")

# What lm-eval (0.4.12) warns of is how it is called here, which no user can change.
logging.getLogger("lm_eval").setLevel(logging.ERROR)
# Its own one lets git complain on the terminal wherever there is no checkout.
evaluator.get_git_commit_hash = git_commit


class PolicyLM(LM):
    """A policy as lm-eval sees a model: greedy, text in and text out, token ids in between.

    Attributes:
        completions: what was written, by the id of the problem.
        resumed_seconds: what the batches took that an earlier process has written.
    """

    def __init__(
        self,
        policy: Policy,
        settings: Evaluation,
        written: Written | None = None,
        after_batch: AfterBatch = lambda done: None,
        engine: Engine | None = None,
    ) -> None:
        super().__init__()
        self.policy = policy
        self.sampling = Sampling(temperature=0, top_p=1, max_new_tokens=settings.max_new_tokens)
        self._settings = settings
        self.completions: dict[str, Completion] = {}
        self.resumed_seconds = 0.0
        self._written, self._after_batch, self._engine = written, after_batch, engine

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The completion of every request, as text; batch by batch, each kept as soon as it is written."""
        ids, settings = [request.doc["id"] for request in requests], self._settings
        prompts = {i: encode_prompt(self.policy.tokenizer, r.args[0]) for i, r in zip(ids, requests, strict=True)}
        needs = settings.engine, self.policy, settings.size, settings.max_new_tokens, settings.kv_cache_gib
        with kept_open(self._engine, opened(*needs)) as engine:

            def complete(batch: list[str]) -> dict[str, Completion]:
                groups = engine([prompts[i] for i in batch], 1, self.sampling, None)
                return {i: completion for i, (completion,) in zip(batch, groups, strict=True)}

            self.completions, self.resumed_seconds = write_batches(
                prompts, settings.size, complete, self._written, self._after_batch, "evaluate"
            )
        if sorted(self.completions) != sorted(ids):
            raise RuntimeError("there are other completions than were asked for")
        for problem, completion in self.completions.items():
            length, limit = len(completion.token_ids), self.sampling.max_new_tokens
            if not ended(completion, limit, self.policy.stop_ids):
                raise RuntimeError(f"the completion of {problem} has no end: {length} tokens of {limit}")
        return [self.policy.text(self.completions[i].token_ids) for i in ids]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not part of a generative task."""
        raise NotImplementedError("only generate_until is evaluated")

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Not part of a generative task."""
        raise NotImplementedError("only generate_until is evaluated")


def make_task(problems: list[Problem], task: Task[Any], prompt: str, lm: PolicyLM) -> ConfigurableTask:
    """The zero-shot task of lm-eval that puts `problems` to the policy and grades its answers as `task` does."""
    from datasets import Dataset

    rows = [vars(problem) for problem in problems]

    def score(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
        completion = lm.completions[doc["id"]]
        return {
            **{name: float(verdict) for name, verdict in verdicts(task.grade(results[0], Problem(**doc))).items()},
            "truncated": float(completion.finish_reason == "length"),
            "length": float(len(completion.token_ids)),
        }

    return ConfigurableTask(
        config={
            "task": NAME,
            "custom_dataset": lambda **_: {"test": Dataset.from_list(rows)},
            "test_split": "test",
            "output_type": "generate_until",
            "num_fewshot": 0,
            "doc_to_text": lambda doc: render_prompt(lm.policy.tokenizer, task.messages(prompt, doc["question"])),
            "doc_to_target": "answer",
            "process_results": score,
            # until: the policy's own stop ids end a completion; greedy: chat models' own configurations sample.
            "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": lm.sampling.max_new_tokens},
            "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in METRICS],
            "metadata": {"version": 1.0},
        }
    )


def evaluate(
    policy: Policy,
    problems: list[Problem],
    task: Task[Any],
    prompt: str,
    settings: Evaluation,
    written: Written | None = None,
    after_batch: AfterBatch = lambda done: None,
    engine: Engine | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Evaluate a policy on `problems`, or on those that are left if `written` has kept some.

    Args:
        policy: which one.
        problems: on what.
        task: it puts the problems, and grades the answers.
        prompt: name of the prompt.
        settings: how.
        written: keeps finished batches; by default they go with the process.
        after_batch: what it raises ends the evaluation.
        engine: one that is open already; by default one is opened for this evaluation.

    Returns:
        (summary, items): n, mean strict, flexible, truncated (fractions), mean length (tokens) and seconds; and for
        each problem, in order, what was asked, what was written and how it was read.
    """
    lm = PolicyLM(policy, settings, written, after_batch, engine)
    started = time.perf_counter()
    results = evaluator.simple_evaluate(
        model=lm,
        tasks=[make_task(problems, task, prompt, lm)],
        # The task is at hand; reading the index of lm-eval's own 13,000 would take longer than a small evaluation.
        task_manager=TaskManager(include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    seconds = lm.resumed_seconds + time.perf_counter() - started
    samples = sorted(results["samples"][NAME], key=lambda sample: sample["doc_id"])
    items = [_item(sample, lm.completions[sample["doc"]["id"]], task) for sample in samples]
    if [item["id"] for item in items] != [problem.id for problem in problems]:
        raise RuntimeError("lm-eval returned other items than were asked for")
    harness = {"name": "lm-eval", "version": version("lm_eval"), "task": NAME}
    return {**outcome_means(items), "seconds": seconds, "harness": harness}, items


def _item(sample: dict[str, Any], completion: Completion, task: Task[Any]) -> dict[str, Any]:
    text = sample["resps"][0][0]
    return {
        **{key: sample["doc"][key] for key in ("id", "question", "answer")},
        "completion": text,
        "unread": task.unread(text),
        **{key: bool(sample[key]) for key in METRICS[:-1]},
        "length": len(completion.token_ids),
    }


def cross_check(policy: Policy, task: Task[Any], settings: Evaluation) -> dict[str, float]:
    """lm-eval's own task of the same questions (multi-turn examples) on its own engine; needs the dataset hub.

    Returns:
        The stock metrics by name.
    """
    from lm_eval.models.huggingface import HFLM

    stock: Callable[..., Any] = HFLM
    results = evaluator.simple_evaluate(
        model=stock(
            pretrained=policy.model, tokenizer=policy.tokenizer, batch_size=settings.size, trust_remote_code=False
        ),
        tasks=[task.harness_task],
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        gen_kwargs={"do_sample": False, "max_gen_toks": settings.max_new_tokens},
        limit=settings.limit,
        bootstrap_iters=0,
    )
    metrics = results["results"][task.harness_task]
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
