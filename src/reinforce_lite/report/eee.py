"""The per-item results in the shared format of Every Eval Ever, schema 0.3 (https://evalevalai.com, MIT).

An evaluation of a policy is a record with a result for each parser, and beside it a file with a line for each item and
parser. They lie where that project's datastore wants them: data/<dataset>/<developer>/<model>/<uuid>.json, and
<uuid>_samples.jsonl. The same results give the same files, but for `now`.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from reinforce_lite import __version__
from reinforce_lite.budget.ledger import attempts
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.report.crate_entities import REPOSITORY
from reinforce_lite.stages import STAGES, Job, Layout, jobs
from reinforce_lite.tasks.prepare import load_manifest

VERSION = "0.3.0"
PARSERS = {
    "strict": "the number in the last complete answer tag, if it holds nothing else",
    "flexible": "the last number of the answer",
}
"""How an answer is read, by the name of the metric."""


def export(settings: Settings, target: Path, now: datetime | None = None) -> list[Path]:
    """Write the greedy answers of every evaluation that was run.

    Args:
        settings: the experiment; its evaluations are finished.
        target: the folder in which `data/` is written.
        now: when the records are made; None reads the clock.

    Returns:
        The records.

    Raises:
        UserError: an evaluation is absent or damaged, or a file cannot be written.
    """
    layout, made = Layout.of(settings), []
    when = str(int((now or datetime.now(UTC)).timestamp()))
    ended = {attempt.job: attempt.ended for attempt in attempts(layout.ledger) if attempt.outcome == "finished"}
    for job in jobs(settings):
        if "outcomes" in STAGES[job.stage].outputs and "not_run" not in (record := read_json(layout.path(job))):
            made.append(_write(settings, job, record, target, when, ended.get(job)))
    if not made:
        raise UserError(f"{settings.folder} holds no evaluation", "run the workflow first")
    return made


def _write(
    settings: Settings, job: Job, record: Mapping[str, Any], target: Path, when: str, ended: datetime | None
) -> Path:
    """One evaluation: its record, and the file of its items."""
    path, model = Layout.of(settings).path(job, "outcomes"), _model(settings, job)
    dataset = settings.task.name if not settings.task.name.endswith(".py") else Path(settings.task.name).stem
    digest = hashlib.sha256(f"{model}/{sha256_file(path)}".encode()).digest()
    name, place = UUID(bytes=digest[:16], version=4), Path("data", dataset, *model.split("/"))
    items, log = place / f"{name}_samples.jsonl", target / place / f"{name}.json"
    identity = {"schema_version": VERSION, "evaluation_id": f"{dataset}/{model}/{when}"}
    items_written = list(_items(read_jsonl(path), {**identity, "model_id": model}, dataset))
    write_jsonl(target / items, items_written)
    details = {
        "format": items.suffix.removeprefix("."),
        "file_path": items.as_posix(),
        "hash_algorithm": "sha256",
        "checksum": sha256_file(target / items),
        "total_rows": len(items_written),
    }
    at = {"evaluation_timestamp": str(int(ended.timestamp()))} if ended else {}
    write_json(
        log,
        {
            **identity,
            **at,
            "retrieved_timestamp": when,
            "source_metadata": _source(settings),
            "eval_library": _library(record),
            "model_info": _model_info(settings, job, record, model),
            "evaluation_results": [_result(settings, job, record, dataset, parser) for parser in PARSERS],
            "detailed_evaluation_results": details,
        },
    )
    return log


def _model(settings: Settings, job: Job) -> str:
    """<developer>/<model>: of the hub before training, else of this experiment."""
    repo = settings.policies[job.model].repo
    if job.variant is None:
        return repo if repo and repo.count("/") == 1 else f"reinforce-lite/{job.model}"
    return f"reinforce-lite/{job.model}-{job.variant}-seed{job.seed}"


def _source(settings: Settings) -> dict[str, Any]:
    return {
        "source_name": f"reinforce-lite: {settings.experiment}",
        "source_type": "evaluation_run",
        "source_organization_name": "The reinforce-lite authors",
        "source_organization_url": REPOSITORY,
        "evaluator_relationship": "third_party",
    }


def _library(record: Mapping[str, Any]) -> dict[str, Any]:
    harness = record.get("harness", {})
    more = {"reinforce_lite": __version__, "commit": str((record.get("made_with") or {}).get("git_commit"))}
    return {"name": "lm_eval", "version": str(harness.get("version", "unknown")), "additional_details": more}


def _model_info(settings: Settings, job: Job, record: Mapping[str, Any], model: str) -> dict[str, Any]:
    policy = settings.policies[job.model]
    more = {"deployment_type": "self_deployed", "model_availability": "open_weights" if policy.repo else "unknown"}
    base = {"base_model": f"{policy.repo}@{policy.revision}"} if policy.repo else {}
    trained = {} if job.variant is None else {"trained_by": f"reinforce-lite, {job.variant}, seed {job.seed}"}
    engine = {"name": str(record.get("engine", "unknown"))}
    return {
        "name": model.partition("/")[2],
        "id": model,
        "developer": model.partition("/")[0],
        "inference_engine": engine,
        "additional_details": {**more, **base, **trained, "precision": policy.dtype},
    }


def _result(settings: Settings, job: Job, record: Mapping[str, Any], dataset: str, parser: str) -> dict[str, Any]:
    """The accuracy by one parser, with the standard error of a proportion: sqrt(p (1 - p) / n)."""
    n, score = record["n"], record[parser]
    error = {"value": math.sqrt(score * (1 - score) / n), "method": "analytic"}
    metric = {
        "evaluation_description": f"Greedy accuracy by {PARSERS[parser]}",
        "metric_id": "accuracy",
        "metric_name": f"{parser} accuracy",
        "metric_kind": "accuracy",
        "metric_unit": "proportion",
        "lower_is_better": False,
        "score_type": "continuous",
        "min_score": 0,
        "max_score": 1,
    }
    generation = {"temperature": 0, "max_tokens": settings.evaluation.max_new_tokens}
    return {
        "evaluation_result_id": f"{dataset}-{parser}",
        "evaluation_name": f"{dataset} ({parser})",
        "source_data": _data(settings, dataset, n),
        "metric_config": metric,
        "score_details": {"score": score, "uncertainty": {"standard_error": error, "num_samples": n}},
        "generation_config": {
            "generation_args": generation,
            "additional_details": {"prompt": settings.prompt(job.variant)},
        },
    }


def _data(settings: Settings, dataset: str, n: int) -> dict[str, Any]:
    """Where the questions came from: the hub, or a program or a file of the user's."""
    source = load_manifest(Layout.of(settings).data).get("source") or {}
    if repo := source.get("repo"):
        more = {"revision": str(source.get("revision"))}
        hub = {"source_type": "hf_dataset", "hf_repo": repo, "hf_split": "test", "samples_number": n}
        return {"dataset_name": dataset, **hub, "additional_details": more}
    return {
        "dataset_name": dataset,
        "source_type": "other",
        "additional_details": {key: json.dumps(value) for key, value in source.items()},
    }


def _items(rows: list[dict[str, Any]], identity: Mapping[str, Any], dataset: str) -> Iterator[dict[str, Any]]:
    """A line for each item and parser.

    What was read of an answer is not recorded, only whether it is right; `metadata` says why a tag names no number.
    """
    for row in rows:
        asked = {"raw": row["question"], "reference": [row["answer"]]}
        unread = {"unread": str(row["unread"])} if row.get("unread") else {}
        for parser in PARSERS:
            yield {
                **identity,
                "evaluation_name": f"{dataset} ({parser})",
                "evaluation_result_id": f"{dataset}-{parser}",
                "sample_id": row["id"],
                "sample_hash": hashlib.sha256(
                    json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()
                ).hexdigest(),
                "interaction_type": "single_turn",
                "input": asked,
                "output": {"raw": [row["completion"]]},
                "answer_attribution": [],
                "evaluation": {"score": float(row[parser]), "is_correct": bool(row[parser])},
                "metadata": {"truncated": str(row["truncated"]), "output_tokens": str(row["length"]), **unread},
            }
