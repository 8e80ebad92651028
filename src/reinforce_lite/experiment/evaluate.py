"""The stage that evaluates a policy, before training or after it: greedy answers, and what is wanted beside them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reinforce_lite.evaluation import avg_at_k, harness, memorisation, sampling
from reinforce_lite.evaluation.written import Written
from reinforce_lite.experiment.frame import Paid
from reinforce_lite.experiment.run import Run
from reinforce_lite.io.files import read_json, write_json, write_jsonl
from reinforce_lite.io.keyed import ASKED
from reinforce_lite.io.provenance import sums
from reinforce_lite.policy.load import load, prepare_torch
from reinforce_lite.stages import EVALUATION
from reinforce_lite.tasks.prepare import load_split

Answers = Mapping[str, list[dict[str, Any]]]
"""The rows of each file by its name in the table of stages; `outcomes` is there always, the others if wanted."""

FIGURES = {"samples": ("sampled", avg_at_k.figures), "memorisation": ("memorisation", memorisation.figures)}
"""What evaluation.json says of the answers beside those to the test: its key, and the figures."""


def run(run: Run, paid: Paid) -> None:
    """Evaluate a policy greedily on the test split with lm-eval; the baseline, or a trained one with --variant."""
    settings, evaluation, gate = run.settings, run.evaluation, paid.gate
    prepare_torch(settings.hardware)
    policy = load(run.need("policy").parent, run.policy, settings.hardware.device)
    problems = load_split(run.layout.data, "test")[: evaluation.limit]
    greedy, sampled = -(-len(problems) // evaluation.size), evaluation.sampled_batches(len(problems))
    batches = greedy + sampled + evaluation.memorisation_batches
    gate.begin(batches, "batch")

    def after(before: int) -> Callable[[int], dict[str, str]]:
        """Called after each batch of some answers; so many batches come before these."""

        def batch(done: int) -> dict[str, str]:
            gate.check(before + done)
            return paid.show(before + done, batches)

        return batch

    files = {"outcomes": "completions.jsonl", **EVALUATION["extras"]}
    for name in EVALUATION["extras"].values():
        run.path().with_name(name).unlink(missing_ok=True)  # of an earlier evaluation
    kept = {name: Written(run.layout.resume(run.job) / file, run.key) for name, file in files.items()}
    how, answers = (run.task, run.prompt, evaluation), dict[str, list[dict[str, Any]]]()
    # One engine for all answers: vLLM cannot be opened twice in a process.
    with sampling.opened_for(policy, evaluation) as engine:
        summary, answers["outcomes"] = harness.evaluate(policy, problems, *how, kept["outcomes"], after(0), engine)
        if evaluation.cross_check:
            summary["cross_check"] = harness.cross_check(policy, run.task, evaluation)
        if evaluation.samples:
            answers["samples"] = sampling.sample(policy, problems, *how, kept["samples"], after(greedy), engine)
        if evaluation.memorisation:
            train = load_split(run.layout.data, "train")
            asked = memorisation.questions(run.task, train, evaluation.memorisation, settings.task.seed)
            last = kept["memorisation"], after(greedy + sampled), engine
            _, answers["memorisation"] = harness.evaluate(policy, asked, *how, *last)
    write(run, summary, answers, [change for one in kept.values() for change in one.accepted])
    print(f"{run.job}: strict {summary['strict']:.1%} of {summary['n']}", file=sys.stderr)


def write(run: Run, summary: Mapping[str, Any], answers: Answers, accepted: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write the files of answers, and evaluation.json over them."""
    for name, rows in answers.items():
        write_jsonl(run.path(name), rows)
    more = {key: figures(answers[name]) for name, (key, figures) in FIGURES.items() if name in answers}
    files = sums(*map(run.path, answers))
    policy = {key: value for key, value in read_json(run.need("policy")).items() if key != ASKED}
    made = {"policy": policy, "engine": run.evaluation.engine, **run.provenance(accepted)}
    write_json(run.path(), {**run.job.run, **summary, **more, "sums": files, **made})
