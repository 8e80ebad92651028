"""Where the results came from, for machines: the folder of an experiment as a Provenance Run Crate.

An RO-Crate is a folder with a description in it, ro-crate-metadata.json (JSON-LD). The profile
https://w3id.org/ro/wfrun/provenance/0.5 says how the run of a workflow is described: the workflow and its parameters,
every execution of its steps, their files, what they were run in, and what they used.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reinforce_lite.accounting.ledger import attempts
from reinforce_lite.errors import UserError
from reinforce_lite.files import atomic_folder, read_json, read_jsonl, write_json
from reinforce_lite.report import crate_entities as entities
from reinforce_lite.report.crate_entities import REPOSITORY, Graph, Reference
from reinforce_lite.report.crate_steps import (
    CONFIG,
    Experiment,
    add_data_source,
    add_model_source,
    add_steps,
    every_job,
    flow,
)
from reinforce_lite.settings import Settings

METADATA = "ro-crate-metadata.json"
SNAKEFILE = "workflow/Snakefile"

_CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
_WORKFLOW_PROFILE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    _WORKFLOW_PROFILE: "Workflow RO-Crate",
}
_STATE = ("budget", "checkpoints", "config.json", METADATA, "benchmarks/crate.jsonl")
"""No results: the workflow writes them whenever it starts, or after the crate was made."""


def build(settings: Settings, folder: Path, workflow: Path, now: datetime | None = None) -> None:
    """Copy the workflow into `folder`, and describe all that is there in ro-crate-metadata.json.

    Args:
        settings: the configuration of the experiment.
        folder: results/<experiment>, with its report.
        workflow: the folder of the Snakefile that was run.
        now: when the crate is made; None reads the clock.

    Raises:
        UserError: `workflow` holds no Snakefile, an input is absent or damaged, or a file cannot be written.
    """
    if not (workflow / "Snakefile").is_file():
        raise UserError(f"--workflow: {workflow} holds no Snakefile", "name the folder of the Snakefile that was run")
    summary = read_json(folder / "summary.json")
    with atomic_folder(folder / "workflow") as copy:
        # New times: a copy that looked older than the report would be made again.
        hidden = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(workflow, copy, ignore=hidden, copy_function=shutil.copyfile, dirs_exist_ok=True)
        shutil.copyfile(folder / "config.json", copy / Path(CONFIG).name)
    experiment = Experiment(settings, folder, summary, attempts(folder / "ledger.jsonl"), names(folder))
    write_json(folder / METADATA, describe(experiment, now or datetime.now(UTC)))


def names(folder: Path) -> list[str]:
    """The paths of the crate's files in `folder`, sorted: all but hidden, temporary and changing ones."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [
        path.as_posix()
        for path in paths
        if not any(part.startswith(".") for part in path.parts)
        and path.suffix != ".tmp"
        and not any(path.is_relative_to(state) for state in _STATE)
    ]


def describe(experiment: Experiment, now: datetime) -> dict[str, Any]:
    """The description of an experiment as JSON-LD; but for `now`, the same files give the same one.

    Raises:
        UserError: a training.json or an items.jsonl is damaged.
    """
    graph = Graph()
    versions = [{"@id": "https://w3id.org/ro/crate/1.1"}, {"@id": _WORKFLOW_PROFILE}]
    graph.add(METADATA, "CreativeWork", about={"@id": "./"}, conformsTo=versions)
    graph.add("./", "Dataset")  # before the files; told below
    files = [_add_file(graph, experiment, name) for name in experiment.names]
    executions, controls = add_steps(graph, experiment, SNAKEFILE)
    run = _add_run(graph, experiment)
    engine = _add_engine(graph, experiment, run, controls)
    _add_root(graph, experiment, now, hasPart=files, mentions=[run, engine, *executions])
    return {"@context": _CONTEXT, "@graph": graph.entities()}


def _add_file(graph: Graph, experiment: Experiment, name: str) -> Reference:
    told: dict[str, Any] = {}
    if name == CONFIG:
        told = {"alternateName": "config.json", "description": "The configuration as it was run"}
    elif name.startswith("benchmarks/"):
        told = {"about": {"@id": "#run"}, "description": "Snakemake's own measurement of a job"}
    return entities.add_file(graph, experiment.folder, name, **told)


def _add_run(graph: Graph, experiment: Experiment) -> Reference:
    """The workflow with its parameters, and its run as a whole: values, sources, results, cost."""
    slots, values = entities.add_parameters(graph, experiment.settings)
    _add_workflow(graph, experiment, slots)
    provenance, own = experiment.summary["provenance"], experiment.attempts
    sources = [add_data_source(graph, experiment)]
    for model in experiment.settings.models:
        sources += add_model_source(graph, experiment, model)
    sources.append(_add_bootstrap_seed(graph, provenance["seeds"]["bootstrap"]))
    found = {key: provenance["machine"].get(key) for key in ("platform", "cpu", "cpus", "memory_gib")}
    machine = "; ".join(f"{key} {value}" for key, value in found.items() if value is not None)
    images = dict.fromkeys(origin["image"] for origin in provenance["origins"] if origin["image"])
    return graph.add(
        "#run",
        "CreateAction",
        name=f"The experiment {experiment.settings.experiment}",
        description="From the first second of device time to the last; comparisons and report follow, and use none. "
        f"The machine: {machine or 'unknown'}.",
        instrument={"@id": SNAKEFILE},
        object=[*experiment.references([CONFIG]), *values, *sources],
        result=experiment.references(pattern for job in every_job(experiment) for pattern in flow(job)[1]),
        startTime=min(attempt.started for attempt in own).isoformat(timespec="milliseconds") if own else None,
        endTime=max(attempt.ended for attempt in own).isoformat(timespec="milliseconds") if own else None,
        actionStatus="http://schema.org/CompletedActionStatus",
        containerImage=[entities.add_image(graph, image) for image in images],
        resourceUsage=_add_totals(graph, experiment),
    )


def _add_workflow(graph: Graph, experiment: Experiment, slots: list[Reference]) -> None:
    """Tell more of the main workflow; its steps are there."""
    provenance = experiment.summary["provenance"]
    commits = list(dict.fromkeys(o["git_commit"] for o in provenance["origins"] if o["git_commit"]))
    outputs = []
    for name in filter(experiment.names.__contains__, ("report.html", "summary.json")):
        output = graph.add(f"#output/{name}", "FormalParameter", name=name, additionalType="File")
        graph.add(entities.identifier(name), "File", exampleOfWork=output)
        outputs.append(output)
    language = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
    version = provenance["versions"].get("snakemake")
    graph.add(language, "ComputerLanguage", name="Snakemake", version=version, url="https://snakemake.readthedocs.io")
    graph.add(
        SNAKEFILE,
        ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        name="reinforce-lite",
        description="Data, baseline, training, evaluation, paired comparison, report. `version` is the commit that "
        "made the results, or each of them if there were several.",
        url=REPOSITORY,
        codeRepository=REPOSITORY,
        version=commits or provenance["versions"]["reinforce-lite"],
        programmingLanguage={"@id": language},
        license=_add_licence(graph),
        input=slots,
        output=outputs,
    )


def _add_bootstrap_seed(graph: Graph, seed: int) -> Reference:
    """The one seed that is no key of the configuration."""
    return graph.add("#bootstrap-seed", "PropertyValue", name="seed of the paired bootstrap, fixed", value=seed)


def _add_totals(graph: Graph, experiment: Experiment) -> list[Reference]:
    """What the whole run cost, and how many tokens it generated."""
    cost = experiment.summary["cost"]
    said = {"description": f"of a limit of {cost['limit_usd']} US dollars", "unitText": "US dollars"}
    told = [
        entities.add_quantity(graph, "#run", "cost", cost["usd"], "CCY_USD", **said),
        entities.add_quantity(graph, "#run", "device-hours", cost["device_hours"], "HR"),
    ]
    read = {name: read_json(experiment.folder / name) for name in experiment.names if name.endswith("training.json")}
    trained = [training["tokens"] for training in read.values() if "tokens" in training]
    evaluated = [
        row["length"]
        for name in experiment.names
        if name.endswith(("/items.jsonl", "/samples.jsonl"))
        for row in read_jsonl(experiment.folder / name)
    ]
    counted = {"tokens generated in training": trained, "tokens generated in evaluation": evaluated}
    return told + [entities.add_quantity(graph, "#run", name, sum(own)) for name, own in counted.items() if own]


def _add_engine(graph: Graph, experiment: Experiment, run: Reference, controls: list[Reference]) -> Reference:
    """Snakemake, and that it ordered the jobs."""
    version = experiment.summary["provenance"]["versions"].get("snakemake")
    told = {"name": "Snakemake", "softwareVersion": version, "url": "https://snakemake.github.io"}
    engine = graph.add("#snakemake", "SoftwareApplication", **told)
    return graph.add("#engine", "OrganizeAction", name="Snakemake", instrument=engine, object=controls, result=run)


def _add_licence(graph: Graph) -> Reference:
    return graph.add(
        "https://spdx.org/licenses/Apache-2.0",
        "CreativeWork",
        name="Apache License 2.0",
        description="Of the workflow, the figures and the report. Problems keep the licence of their dataset, and "
        "weights that of the model they were made from.",
        url="https://www.apache.org/licenses/LICENSE-2.0",
    )


def _add_root(graph: Graph, experiment: Experiment, now: datetime, **told: Any) -> None:
    """The folder itself."""
    settings = experiment.settings
    profiles = []
    for address, name in _PROFILES.items():
        version = address.rpartition("/")[2]
        profiles.append(graph.add(address, "CreativeWork", name=name, version=version))
    authors = graph.add("#authors", "Organization", name="The reinforce-lite authors", url=REPOSITORY)
    graph.add(
        "./",
        "Dataset",
        name=f"reinforce-lite: the experiment {settings.experiment}",
        description=settings.description or "An experiment of reinforce-lite.",
        datePublished=now.isoformat(timespec="seconds"),
        license=_add_licence(graph),
        author=authors,
        publisher=authors,
        conformsTo=profiles,
        mainEntity={"@id": SNAKEFILE},
        **told,
    )
