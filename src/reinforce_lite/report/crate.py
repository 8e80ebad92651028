"""Where the results came from, for machines: the folder of an experiment as a Provenance Run Crate.

An RO-Crate is a folder with a description in it, ro-crate-metadata.json (JSON-LD). The profile
https://w3id.org/ro/wfrun/provenance/0.5 says how the run of a workflow is described: the workflow and its parameters,
every execution of its steps, their files, what they were run in, and what they used.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reinforce_lite.budget.ledger import attempts
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import atomic_folder, read_json, read_jsonl, write_json
from reinforce_lite.io.sums import Sums
from reinforce_lite.report import crate_entities as entities
from reinforce_lite.report import manifest
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
from reinforce_lite.stages import EVALUATED, TRAINED, Job, Layout

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
_STATE = ("budget", "config.json", METADATA)
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
    summary = read_json(Layout(folder).path(Job("report")))
    with atomic_folder(folder / "workflow") as copy:
        # New times: a copy that looked older than the report would be made again.
        hidden = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(workflow, copy, ignore=hidden, copy_function=shutil.copyfile, dirs_exist_ok=True)
        shutil.copyfile(folder / "config.json", copy / Path(CONFIG).name)
    experiment = Experiment(settings, folder, summary, attempts(Layout(folder).ledger), results(folder), Sums(folder))
    write_json(folder / METADATA, describe(experiment, now or datetime.now(UTC)))
    manifest.seal(folder)


def results(folder: Path) -> list[str]:
    """Paths of the files of a folder that a crate describes, under it and sorted."""
    return [name for name in manifest.names(folder) if not any(Path(name).is_relative_to(state) for state in _STATE)]


def _described(name: str) -> dict[str, Any]:
    if name.startswith("benchmarks/"):
        return {"about": {"@id": "#run"}, "description": "Snakemake's own measurement of a job"}
    return {"alternateName": "config.json", "description": "The configuration as it was run"} if name == CONFIG else {}


def describe(experiment: Experiment, now: datetime) -> dict[str, Any]:
    """The description of an experiment as JSON-LD; but for `now`, the same files give the same one.

    Raises:
        UserError: a training.json or an items.jsonl is damaged.
    """
    graph = Graph()
    versions = [{"@id": "https://w3id.org/ro/crate/1.1"}, {"@id": _WORKFLOW_PROFILE}]
    graph.add(METADATA, "CreativeWork", about={"@id": "./"}, conformsTo=versions)
    graph.add("./", "Dataset")  # before the files; described below
    files = [
        entities.add_file(graph, experiment.folder, name, experiment.sum_of, **_described(name))
        for name in experiment.names
    ]
    executions, controls = add_steps(graph, experiment, SNAKEFILE)
    licence = _add_licence(graph)
    run = _add_run(graph, experiment, licence)
    version = experiment.summary["provenance"]["versions"].get("snakemake")
    url = "https://snakemake.github.io"
    engine = graph.add("#snakemake", "SoftwareApplication", name="Snakemake", softwareVersion=version, url=url)
    order = graph.add("#engine", "OrganizeAction", name="Snakemake", instrument=engine, object=controls, result=run)
    profiles = [
        graph.add(address, "CreativeWork", name=name, version=address.rpartition("/")[2])
        for address, name in _PROFILES.items()
    ]
    authors = graph.add("#authors", "Organization", name="The reinforce-lite authors", url=REPOSITORY)
    graph.add(
        "./",
        "Dataset",
        name=f"reinforce-lite: the experiment {experiment.settings.experiment}",
        description=experiment.settings.description or "An experiment of reinforce-lite.",
        datePublished=now.isoformat(timespec="seconds"),
        license=licence,
        author=authors,
        publisher=authors,
        conformsTo=profiles,
        mainEntity={"@id": SNAKEFILE},
        hasPart=files,
        mentions=[run, order, *executions],
    )
    return {"@context": _CONTEXT, "@graph": graph.entities()}


def _add_run(graph: Graph, experiment: Experiment, licence: Reference) -> Reference:
    """The workflow with its parameters, and its run as a whole: values, sources, results, cost."""
    slots, values = entities.add_parameters(graph, experiment.settings)
    _add_workflow(graph, experiment, slots, licence)
    provenance, own = experiment.summary["provenance"], experiment.attempts
    sources = [add_data_source(graph, experiment)]
    for model in experiment.settings.models:
        sources += add_model_source(graph, experiment, model)
    seed = {"name": "seed of the paired bootstrap, fixed", "value": provenance["seeds"]["bootstrap"]}
    sources.append(graph.add("#bootstrap-seed", "PropertyValue", **seed))  # the one that is no key of the configuration
    if sealed := provenance.get("manifest"):
        root = {"name": "root of the Merkle tree (RFC 6962) over the results", "value": sealed["root"]}
        sources.append(graph.add("#manifest-root", "PropertyValue", **root))
    known = {key: provenance["machine"].get(key) for key in ("platform", "cpu", "cpus", "memory_gib")}
    machine = "; ".join(f"{key} {value}" for key, value in known.items() if value is not None)
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


def _add_workflow(graph: Graph, experiment: Experiment, slots: list[Reference], licence: Reference) -> None:
    """Describe the main workflow; its steps are there."""
    provenance, outputs = experiment.summary["provenance"], []
    for name in filter(experiment.names.__contains__, ("report.html", "summary.json")):
        outputs.append(graph.add(f"#output/{name}", "FormalParameter", name=name, additionalType="File"))
        graph.add(entities.identifier(name), "File", exampleOfWork=outputs[-1])
    snakemake = {"version": provenance["versions"].get("snakemake"), "url": "https://snakemake.readthedocs.io"}
    language = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
    commits = list(dict.fromkeys(o["git_commit"] for o in provenance["origins"] if o["git_commit"]))
    graph.add(
        SNAKEFILE,
        ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        name="reinforce-lite",
        description="Data, baseline, training, evaluation, paired comparison, report. `version` is the commit that "
        "made the results, or each of them if there were several.",
        url=REPOSITORY,
        codeRepository=REPOSITORY,
        version=commits or provenance["versions"]["reinforce-lite"],
        programmingLanguage=graph.add(language, "ComputerLanguage", name="Snakemake", **snakemake),
        license=licence,
        input=slots,
        output=outputs,
    )


def _add_totals(graph: Graph, experiment: Experiment) -> list[Reference]:
    """What the whole run cost, and how many tokens it generated."""
    cost, folder = experiment.summary["cost"], experiment.folder
    limit = f"of a limit of {cost['limit_usd']} US dollars"
    totals = [
        entities.add_usd(graph, "#run", cost["usd"], description=limit),
        entities.add_quantity(graph, "#run", "device-hours", cost["device_hours"], "HR"),
    ]
    trainings = (read_json(folder / name) for name in experiment.names if name.endswith(TRAINED["summary"]))
    files = tuple(f"/{name}" for name in EVALUATED.values() if name.endswith(".jsonl"))
    answers = (name for name in experiment.names if name.endswith(files))
    tokens = {
        "training": [training["tokens"] for training in trainings if "tokens" in training],
        "evaluation": [row["length"] for name in answers for row in read_jsonl(folder / name)],
    }
    counted = ((f"tokens generated in {where}", sum(own)) for where, own in tokens.items() if own)
    return totals + [entities.add_quantity(graph, "#run", name, total) for name, total in counted]


def _add_licence(graph: Graph) -> Reference:
    return graph.add(
        "https://spdx.org/licenses/Apache-2.0",
        "CreativeWork",
        name="Apache License 2.0",
        description="Of the workflow, the figures and the report. Problems keep the licence of their dataset, and "
        "weights that of the model they were made from.",
        url="https://www.apache.org/licenses/LICENSE-2.0",
    )
