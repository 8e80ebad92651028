"""The steps of the workflow in a crate, and every execution of them that the ledger holds.

A job that uses no device is not in the ledger: it has an execution if its results are there, and no times.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Settings
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.report import crate_entities as entities
from reinforce_lite.report.crate_entities import REPOSITORY, Graph, Reference
from reinforce_lite.stages import STAGES, Job, jobs

CONFIG = "workflow/config.json"
"""A copy: config.json is written again whenever the workflow starts, whether or not anything is run."""


@dataclass(frozen=True)
class Experiment:
    """What a crate is made from: `summary` is summary.json, `names` are the paths of the files in `folder`."""

    settings: Settings
    folder: Path
    summary: dict[str, Any]
    attempts: Sequence[Attempt]
    names: Sequence[str]
    sum_of: Callable[[Path], str] = sha256_file

    def references(self, patterns: Iterable[str]) -> list[Reference]:
        """The files whose path matches one of the patterns; a `*` matches slashes too."""
        wanted = tuple(patterns)
        names = [name for name in self.names if any(fnmatchcase(name, pattern) for pattern in wanted)]
        return [{"@id": entities.identifier(name)} for name in names]


def flow(job: Job) -> tuple[list[str], list[str]]:
    """What a job reads and what it writes, as patterns of paths in the folder; nothing if its stage is unknown."""
    stage = STAGES.get(job.stage)
    if stage is None:
        return [CONFIG], []
    names = {"model": job.model or "*", "variant": job.variant or "*", "seed": "*" if job.seed is None else job.seed}
    needs = [STAGES[source].files[output] for source, output in (need.split(".") for need in stage.needs.values())]
    reads = [pattern.format(**names) for pattern in (*needs, *stage.reads)]
    return [CONFIG, *reads], [pattern.format(**names) for pattern in stage.files.values()]


def every_job(experiment: Experiment) -> list[Job]:
    """The jobs of the configuration in their order, and then those that only the ledger knows."""
    named = [job for job in jobs(experiment.settings, device=False) if job.stage != "crate"]
    return list(dict.fromkeys([*named, *(attempt.job for attempt in experiment.attempts)]))


def add_steps(graph: Graph, experiment: Experiment, workflow: str) -> tuple[list[Reference], list[Reference]]:
    """Give the workflow its steps and its tools.

    Returns:
        The executions (CreateAction, one an attempt), and what ordered them (ControlAction, one a job).
    """
    executions: list[Reference] = []
    controls: list[Reference] = []
    steps: dict[str, Reference] = {}
    tools: dict[str, Reference] = {}
    packages = _add_packages(graph, experiment)
    version = experiment.summary["provenance"]["versions"]["reinforce-lite"]
    for job in every_job(experiment):
        stage = STAGES.get(job.stage)
        command = (stage and stage.command) or job.stage.replace("_", "-")
        own, done = _add_executions(graph, experiment, job, {"@id": f"#tool/{command}"})
        if not own:
            continue
        tool = {"softwareVersion": version, "url": REPOSITORY, "softwareRequirements": packages}
        tools[command] = graph.add(f"#tool/{command}", "SoftwareApplication", name=f"reinforce-lite {command}", **tool)
        position = str(list(STAGES).index(job.stage) if stage else len(STAGES))
        step = {"name": job.stage, "position": position, "workExample": tools[command]}
        steps[job.stage] = graph.add(f"#step/{job.stage}", "HowToStep", **step)
        control = {"name": str(job).strip(), "instrument": steps[job.stage], "object": own}
        status = _status("finished" if done else "failed")
        controls.append(graph.add(f"#job/{_name(job)}", "ControlAction", **control, actionStatus=status))
        executions += own
    kinds = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    graph.add(workflow, kinds, hasPart=list(tools.values()), step=list(steps.values()))
    return executions, controls


def add_data_source(graph: Graph, experiment: Experiment) -> Reference:
    """Where the problems came from, as the manifest of the data has it."""
    source = experiment.summary["provenance"]["revisions"]["data"] or {}
    if source.get("repo"):
        return entities.add_hub_source(graph, source["repo"], source["revision"], dataset=True)
    how = "Local files that were checked to be the original ones" if "path" in source else "Made from task.seed"
    if "train" in source:
        how = "Questions of the user's own, from files whose SHA-256 stands in data/manifest.json"
    return graph.add("#data-source", "CreativeWork", name=experiment.settings.task.name, description=how)


def add_model_source(graph: Graph, experiment: Experiment, model: str) -> list[Reference]:
    """Where the weights of a policy came from; nothing if they were made here, or never fetched."""
    source = experiment.summary["provenance"]["revisions"]["models"].get(model) or {}
    chosen = experiment.settings.policies[model]
    if chosen.from_scratch is not None or source.get("not_run"):
        return []
    if chosen.path is None:
        return [entities.add_hub_source(graph, str(chosen.repo), str(source.get("revision") or chosen.revision))]
    how = "Local weights, at no revision that is known"
    return [graph.add(f"#weights/{model}", "CreativeWork", name=chosen.path.name, description=how)]


def _add_executions(graph: Graph, experiment: Experiment, job: Job, tool: Reference) -> tuple[list[Reference], bool]:
    """What was done for a job, and whether it was finished; the last attempt that was has made what is there."""
    reads, writes = flow(job)
    sources = [add_data_source(graph, experiment)] if job.stage == "prepare_dataset" else []
    sources += add_model_source(graph, experiment, job.model) if job.stage == "fetch_policy" else []
    every = {"name": str(job).strip(), "instrument": tool, "object": [*experiment.references(reads), *sources]}
    made = {"result": experiment.references(writes), **_made_with(graph, experiment, writes)}
    if job.stage in STAGES and not STAGES[job.stage].device:
        every["description"] = "It uses no device, so the ledger does not tell of it, and its times are not known."
        own = [graph.add(f"#execution/{_name(job)}", "CreateAction", **{**made, **every})] if made["result"] else []
        return own, True
    own_attempts = [attempt for attempt in experiment.attempts if attempt.job == job]
    last = [attempt for attempt in own_attempts if attempt.outcome == "finished"][-1:]
    return [_add_attempt(graph, one, every | (made if one in last else {})) for one in own_attempts], bool(last)


def _add_attempt(graph: Graph, attempt: Attempt, properties: dict[str, Any]) -> Reference:
    """An attempt of the ledger, with its times, its device-seconds and its cost."""
    here = f"#execution/{attempt.id}"
    whose = f"{attempt.device}; {attempt.price_source}, {attempt.price_date.isoformat()}"
    price = graph.add(
        f"#price/{quote(f'{attempt.usd_per_hour} {whose}', safe='')}",
        "PropertyValue",
        name="price of one device for one hour",
        value=attempt.usd_per_hour,
        unitText="US dollars an hour",
        description=whose,
    )
    ended = f"The attempt {'' if attempt.outcome == 'finished' else 'was '}{attempt.outcome}"
    described = [f"{ended}. Device: {attempt.count} x {attempt.device}.", properties.pop("description", "")]
    failed = _status(attempt.outcome) == _status("failed")
    return graph.add(
        here,
        "CreateAction",
        **properties,
        description=" ".join(filter(None, described)),
        startTime=attempt.started.isoformat(timespec="milliseconds"),
        endTime=attempt.ended.isoformat(timespec="milliseconds"),
        actionStatus=_status(attempt.outcome),
        error=(attempt.error or attempt.outcome) if failed else None,
        resourceUsage=[
            entities.add_quantity(graph, here, "device-seconds", attempt.seconds * attempt.count, "SEC"),
            entities.add_usd(graph, here, attempt.usd, valueReference=price),
        ],
    )


def _made_with(graph: Graph, experiment: Experiment, writes: Sequence[str]) -> dict[str, Any]:
    """The commit and the image that made what is in these places, where the results say so."""
    for origin in experiment.summary["provenance"]["origins"]:
        if any(path.startswith(f"{result}/") for result in origin["results"] for path in writes):
            commit, image = origin["git_commit"], origin["image"]
            described = {"description": f"Made by commit {commit}."} if commit else {}
            return described | ({"containerImage": entities.add_image(graph, image)} if image else {})
    return {}


def _add_packages(graph: Graph, experiment: Experiment) -> list[Reference]:
    """Python, and the packages whose version can change a result."""
    versions = {name: version for name, version in experiment.summary["provenance"]["versions"].items() if version}
    own = {name: version for name, version in versions.items() if name not in ("python", "reinforce-lite")}
    packages = [entities.add_package(graph, name, version) for name, version in own.items()]
    if version := versions.get("python"):
        python = {"name": "Python", "softwareVersion": version, "url": "https://www.python.org/"}
        packages.insert(0, graph.add("#python", "SoftwareApplication", **python))
    return packages


def _name(job: Job) -> str:
    return str(job).strip().replace(" ", "/")


def _status(outcome: str) -> str:
    known = {"finished": "Completed", "running": "Active"}
    return f"http://schema.org/{known.get(outcome, 'Failed')}ActionStatus"
