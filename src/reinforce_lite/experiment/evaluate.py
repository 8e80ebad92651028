"""The stage that evaluates a policy, before training or after it: greedy answers, and sampled ones if wanted."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from reinforce_lite.evaluation import avg_at_k, harness, sampling
from reinforce_lite.evaluation.written import Written
from reinforce_lite.experiment.frame import Paid
from reinforce_lite.experiment.run import Run
from reinforce_lite.io.files import read_json, write_json, write_jsonl
from reinforce_lite.io.keyed import ASKED
from reinforce_lite.io.provenance import sums
from reinforce_lite.policy.load import load, prepare_torch
from reinforce_lite.tasks.prepare import load_split


def run(run: Run, paid: Paid) -> None:
    """Evaluate a policy greedily on the test split with lm-eval; the baseline, or a trained one with --variant."""
    settings, evaluation, gate = run.settings, run.evaluation, paid.gate
    prepare_torch(settings.hardware)
    policy = load(run.need("policy").parent, run.policy, settings.hardware.device)
    problems = load_split(run.layout.data, "test")[: evaluation.limit]
    greedy = -(-len(problems) // evaluation.size)
    batches = greedy + evaluation.sampled_batches(len(problems))
    gate.begin(batches, "batch")

    def after(done: int) -> dict[str, str]:
        gate.check(done)
        return paid.show(done, batches)

    samples: list[dict[str, Any]] = []
    run.path().with_name(sampling.SAMPLES).unlink(missing_ok=True)  # of an earlier evaluation
    # One engine for both kinds of answers: vLLM cannot be opened twice in a process.
    with sampling.opened_for(policy, evaluation) as engine:
        written = Written(run.layout.resume(run.job) / "completions.jsonl", run.key)
        summary, items = harness.evaluate(policy, problems, run.task, run.prompt, evaluation, written, after, engine)
        if evaluation.cross_check:
            summary["cross_check"] = harness.cross_check(policy, run.task, evaluation)
        accepted = written.accepted
        if evaluation.samples:
            drawn = Written(run.layout.resume(run.job) / sampling.SAMPLES, run.key)
            later = lambda done: after(greedy + done)  # noqa: E731
            samples = sampling.sample(policy, problems, run.task, run.prompt, evaluation, drawn, later, engine)
            accepted = [*accepted, *drawn.accepted]
    write(run, summary, items, samples, accepted)
    print(f"{run.job}: strict {summary['strict']:.1%} of {summary['n']}", file=sys.stderr)


def write(
    run: Run,
    summary: Mapping[str, Any],
    items: list[dict[str, Any]],
    samples: list[dict[str, Any]],
    accepted: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write items.jsonl, samples.jsonl if there are any, and evaluation.json over them."""
    files, sampled = [run.path("outcomes")], {}
    write_jsonl(run.path("outcomes"), items)
    if samples:
        write_jsonl(run.path("samples"), samples)
        files.append(run.path("samples"))
        sampled = {"sampled": avg_at_k.figures(samples)}
    record: dict[str, Any] = {**run.job.run, **summary, **sampled, "sums": sums(*files)}
    policy = {key: value for key, value in read_json(run.need("policy")).items() if key != ASKED}
    made = {"policy": policy, "engine": run.evaluation.engine, **run.provenance(accepted)}
    write_json(run.path(), {**record, **made})
