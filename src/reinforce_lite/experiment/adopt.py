"""Finished results that Snakemake would make again though their keys agree: their files' times are put in order.

A copy of `results/` by cp -r, scp or an object store has new times, in any order, and none of Snakemake's records. What
a key confirms is adopted, whatever its times. Of what no key confirms Snakemake is given a record that says so, unless
it has its own: by that it runs the job again. No result's content is changed, so a dry run does the same.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from reinforce_lite.budget import decision
from reinforce_lite.config import Settings, load
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import checks, records
from reinforce_lite.io.files import read_json
from reinforce_lite.io.keyed import COMPUTED_WITH
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.io.sums import Sums
from reinforce_lite.report.crate import METADATA
from reinforce_lite.report.summary import ledger_sum
from reinforce_lite.resources import keys
from reinforce_lite.stages import STAGES, Job, Layout, jobs
from reinforce_lite.tasks import own_sums, task_of
from reinforce_lite.tasks.prepare import load_manifest

EDITED = "is not the file that was written"
"""How the reason ends where somebody has changed a result: what is made of it is made again, not the result."""


MADE_UNDER = "workflow/config.json"
"""The configuration that a crate holds, and so that of the report it describes."""


def adopt(settings: Settings) -> list[str]:
    """Put the times of finished results in order as far as their keys agree.

    Returns:
        Lines for people: what was adopted, what was not, and why; none if Snakemake knows all results, and their times
        are in order.

    Raises:
        UserError: the time of a file cannot be set.
    """
    began, results = time.monotonic(), Results(settings)
    doubtful = [job for job in jobs(settings, device=False) if results.is_there(job) and results.is_doubtful(job)]
    if not doubtful:
        return []
    reasons = {job: results.against(job) for job in doubtful}
    taken = [job for job, reason in reasons.items() if reason is None]
    for job, reason in reasons.items():
        if reason is None:
            results.put_in_order(job)
        elif not results.is_recorded(job) and not reason.endswith(EDITED):
            records.disown(results.outputs(job), reason)
    results.sum_of.keep()
    count = f"{len(taken)} result{'' if len(taken) == 1 else 's'}"
    lines = [f"adopts {count} of {settings.folder}: made under the present keys ({time.monotonic() - began:.1f} s)"]
    lines += [f"  {job}: {other}" for job in taken if (other := results.computed_otherwise(job))]
    return lines + [f"  not adopted: {job}: {reason}" for job, reason in reasons.items() if reason is not None]


@dataclass
class Results:
    """The results of an experiment, and what is known of them by now."""

    settings: Settings
    _known: dict[Job, str | None] = field(default_factory=dict)

    @cached_property
    def layout(self) -> Layout:
        """Where they lie."""
        return Layout.of(self.settings)

    def sources(self, job: Job) -> Iterator[tuple[Job, str]]:
        """The jobs whose files a job reads, each with the name of the file."""
        every = jobs(self.settings, device=False)
        for need in STAGES[job.stage].needs.values():
            stage, name = need.split(".")
            if STAGES[job.stage].per != "experiment":
                yield job.of(stage), name
            else:
                yield from ((one, name) for one in every if one.stage == stage)
        like = STAGES[job.stage].like
        other = getattr(self.settings.variant(job.variant), like) if like and job.variant else None
        if other:
            yield Job(job.stage, job.model, other, job.seed), STAGES[job.stage].record

    def inputs(self, job: Job) -> list[Path]:
        """What a job reads."""
        return [self.layout.path(source, name) for source, name in self.sources(job)]

    def outputs(self, job: Job) -> list[Path]:
        """What a job makes."""
        return list(self.layout.outputs(job).values())

    def dated(self, job: Job) -> list[Path]:
        """The files by whose times Snakemake tells how old a result is: its own measurement is one of them."""
        return [path for path in (*self.outputs(job), self.layout.benchmark(job)) if path.exists()]

    def is_there(self, job: Job) -> bool:
        """Whether all files are there that the job makes."""
        return all(path.exists() for path in self.outputs(job))

    def is_recorded(self, job: Job) -> bool:
        """Whether Snakemake has a record of all of them, and so sees by itself what has changed."""
        return records.known(self.outputs(job))

    def is_doubtful(self, job: Job) -> bool:
        """Whether Snakemake has no record of them, or takes what costs money for older than what it was made of."""
        is_old = self._newest_input(job) > min(map(_mtime, self.dated(job)))
        return not self.is_recorded(job) or (is_old and STAGES[job.stage].device)

    def _newest_input(self, job: Job) -> int:
        return max((_mtime(path) for path in self.inputs(job) if path.exists()), default=0)

    def put_in_order(self, job: Job) -> None:
        """Give files that look older than what they were made of the time of the newest of it.

        Raises:
            UserError: they belong to somebody else.
        """
        newest = self._newest_input(job)
        if not self.is_recorded(job):
            records.forget(self.outputs(job))  # it was disowned under another configuration
        for path in self.dated(job):
            if _mtime(path) < newest:
                try:
                    os.utime(path, ns=(newest, newest))
                except OSError as error:
                    raise UserError(
                        f"{path} is a finished result, but its time cannot be set: {error.strerror}",
                        "make the results yours (chown, or copy them again as this user)",
                    ) from error

    def against(self, job: Job) -> str | None:
        """Why a job's files are not what it would make; None if they are."""
        if job not in self._known and self.is_there(job) and not self.is_doubtful(job):
            self._known[job] = None  # Snakemake knows it, and sees by itself what has changed
        if job not in self._known:
            try:
                self._known[job] = self._below(job) or self._own(job)
            except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                self._known[job] = (str(error).splitlines() or [type(error).__name__])[0]
        return self._known[job]

    def _below(self, job: Job) -> str | None:
        """What is wrong with what a job reads; of the data, one file may be changed and the others not."""
        for source, name in self.sources(job):
            path, of_data = self.layout.path(source, name), source.stage == "prepare_dataset"
            if of_data and not self._is_written(path):
                return f"it was made before {path} was changed"
            reason = self.against(source)
            if reason is not None and not (of_data and reason.endswith(EDITED)):
                return reason if of_data else f"it was made of {source}"
        return None

    def _is_written(self, path: Path) -> bool:
        """Whether a file of the data, of which the manifest has the sum, is as it was written."""
        return sha256_file(path) == load_manifest(self.layout.data)["sha256"].get(path.name, sha256_file(path))

    def _own(self, job: Job) -> str | None:
        """The same, where all that it reads is as it should be."""
        if not self.is_there(job):
            return "not all of its files are there"
        path, beside = self.layout.path(job), self.layout.folder(job)
        recorded_sums = read_json(path).get("sums", {}) if path.suffix == ".json" else {}
        for name, recorded in recorded_sums.items():
            if sha256_file(beside / name) != recorded:
                return f"{beside / name} {EDITED}"
        own = {"preflight": self._preflight, "prepare_dataset": self._data, "compare": self._comparison,
               "report": self._report, "crate": self._crate}  # fmt: skip
        return own[job.stage](job) if job.stage in own else self._keyed(job)

    def _keyed(self, job: Job) -> str | None:
        decided = decision.read(self.layout.decision(job)) if STAGES[job.stage].device else None
        if decided is not None and decided.unfinished and not decided.holds(self.settings):
            return f"{decided.kind} under another budget"
        if decided is not None and decided.kind == "not run":
            return decided.unfinished
        if keys.is_done(self.settings, job, self.sum_of):
            return None
        then, now = ({} if decided is None else decided.under), decision.deciding(self.settings)
        changed = list(keys.differing("", then, now)) if then else []
        return (
            f"made with {'; '.join(changed[:3])}" if changed else "its key is another one: other files or another task"
        )

    def _preflight(self, job: Job) -> str | None:
        found = read_json(self.layout.preflight)
        if found["checked"] != checks.digest(self.settings):
            return "checked under another configuration"
        if found["plan"]["refused"]:
            return "its plan was refused"
        return self._task_file() if self.layout.path(Job("prepare_dataset"), "manifest").exists() else None

    def _data(self, job: Job) -> str | None:
        task, made = self.settings.task, load_manifest(self.layout.data)["settings"]
        fields = type(task).model_fields
        made |= {name: field.default for name, field in fields.items() if name not in made}  # keys of late
        if changed := list(keys.differing("task", made, task.model_dump(mode="json"))):
            return f"made with {'; '.join(changed)}"
        edited = (f"{path} {EDITED}" for path in self.outputs(job) if not self._is_written(path))
        return self._task_file() or next(edited, None)

    def _task_file(self) -> str | None:
        task, made_with = self.settings.task, load_manifest(self.layout.data)["source"]
        own = own_sums(task) | task_of(task).made_of(task)
        return None if own.items() <= made_with.items() else f"a file of the task {task.name} is another one now"

    @cached_property
    def _reported(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the summary says of what it was made with, and the configuration it was made under."""
        provenance = read_json(self.layout.path(Job("report")))["provenance"]
        return provenance, load([self.layout.root / MADE_UNDER]).model_dump(mode="json")

    def _comparison(self, job: Job) -> str | None:
        sides = [self.layout.path(source) for source, _ in self.sources(job)]
        provenance, under = self._reported
        if under["evaluation"]["bootstrap_resamples"] != self.settings.evaluation.bootstrap_resamples:
            return "made with another evaluation.bootstrap_resamples"
        return self._unlike(provenance["files"], [self.layout.path(job), *sides])

    def _report(self, job: Job) -> str | None:
        provenance, under = self._reported
        now, then = _shown(self.settings.model_dump(mode="json")), _shown(under)
        written = read_json(self.layout.root / MADE_UNDER)  # sections that its version did not have decided nothing
        if any(then[name] != now[name] for name in now.keys() & written.keys()):
            return "made under another configuration"
        if ledger_sum(self.layout.ledger) != provenance["ledger"]:
            return "the ledger has gone on since"
        made_of = [self.layout.root / name for name in provenance["files"]]
        return self._unlike(provenance["files"], [self.layout.path(job, "html"), *made_of])

    def _crate(self, job: Job) -> str | None:
        described = {entity["@id"]: entity.get("sha256") for entity in read_json(self.layout.root / METADATA)["@graph"]}
        return self._unlike(described, self.inputs(job))

    def _unlike(self, recorded: Mapping[str, str | None], paths: list[Path]) -> str | None:
        """The first of some files that has not the sum that was recorded of it."""
        for path in paths:
            if recorded.get(str(path.relative_to(self.layout.root))) != sha256_file(path):
                return f"no report of this configuration knows {path}"
        return None

    def computed_otherwise(self, job: Job) -> str:
        """With what else than here a result was computed; empty if with the same, or if that is not known."""
        then = read_json(self.layout.path(job, STAGES[job.stage].keyed)).get(COMPUTED_WITH, {}) if job.model else {}
        now = keys.computing(self.settings, job) if then else {}
        other = [f"{name} {then[name]} (here {now.get(name)})" for name in then if then[name] != now.get(name)]
        return f"computed with {', '.join(other)}" if other else ""

    @cached_property
    def sum_of(self) -> Sums:
        """The SHA-256 of a file; of a large one it is remembered for as long as size and time stay."""
        return Sums(self.layout.root)


def _shown(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a report shows of a configuration: not the variants that are not run, nor what changes no result."""
    run = {name: values for name, values in config["training_variants"].items() if name in config["variants"]}
    left_out = {"container", "checkpoint", "training_variants"}
    return {**{name: value for name, value in config.items() if name not in left_out}, "training_variants": run}


def _mtime(path: Path) -> int:
    return path.stat().st_mtime_ns


if __name__ == "__main__":  # in a container, for a host without the package
    try:
        print(*adopt(load([Path(sys.argv[1])])), sep="\n", end="")
    except UserError as error:
        sys.exit(str(error))
