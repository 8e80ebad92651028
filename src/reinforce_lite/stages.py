"""The DAG, written once: what each stage needs, what it writes, and what decides its result.

The workflow's rules are generated from this table (`python -m reinforce_lite.stages` writes `workflow/stages.json`,
because the host of a container run has no package). Paths, plan, keys, crate, verification and MLflow read it too.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from reinforce_lite.config import Settings

Per = Literal["experiment", "model", "run"]
"""A stage has one job in an experiment, one for each model, or one for each run: a training of a model."""

OF: Mapping[Per, str] = {"experiment": "", "model": "/{model}", "run": "/{model}/{variant}/seed{seed}"}
"""How the files of one job are told from those of another one."""


@dataclass(frozen=True)
class Stage:
    """One rule of the workflow.

    Attributes:
        name: of the rule, and of the stage in the ledger.
        per: how many jobs it has.
        folder: of its files, under results/<experiment>.
        outputs: files that the rule makes, by name. The first one says how the job ended.
        message: what the workflow prints; `{wildcards.model}` and the like are filled in.
        needs: files of other stages by name, each as `<stage>.<output>`. A stage for the experiment takes those of
            every job.
        reads: what it reads besides, as patterns of paths under results/<experiment>.
        extras: files that are written beside the outputs and are no targets, by name; `*` matches any rest of a path.
        key: names of what decides the result: `settings_of` in workflow/rules/common.smk looks them up.
        unread: settings among these that change no number: what is done under another value of them is not done again.
        only_after: stages without whose result this one is not run, though it does not read their files.
        like: a key of `training` that names another variant, whose job comes first.
        command: the subcommand that does the job; by default the name.
        device: whether it uses the rented device, and so the budget.
        resume: folder of what is kept of an unfinished job.
        priority: the higher comes first.
        captions: outputs in Snakemake's own report, each with its category and the name of its caption.
        options: further options of the command that the workflow knows.
        keyed: the output that names the key which its job was done under; by default the first one.
        seed_by_seed: all jobs of one seed come before those of the next: what the money leaves out are whole seeds.
        all_devices: one job uses every rented device, by a process each.
        switch: a key of `evaluation` without which it has no jobs; by default it always has.
    """

    name: str
    per: Per
    folder: str
    outputs: Mapping[str, str]
    message: str
    needs: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    extras: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()
    like: str | None = None
    command: str = ""
    device: bool = False
    resume: str | None = None
    priority: int = 0
    captions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    keyed: str | None = None
    seed_by_seed: bool = False
    all_devices: bool = False
    switch: str | None = None

    @property
    def record(self) -> str:
        """Name of the output that says how the job ended."""
        return next(iter(self.outputs))

    @property
    def evaluates(self) -> bool:
        """Whether it has a policy answer the test questions."""
        return "outcomes" in self.outputs

    @property
    def files(self) -> dict[str, str]:
        """Pattern of every file, by name, under results/<experiment>."""
        return {name: f"{self.folder}/{file}".lstrip("/") for name, file in {**self.outputs, **self.extras}.items()}


def _table(*rows: Stage) -> dict[str, Stage]:
    """The stages by name; the report takes every record that no other stage reads."""
    read = {need.partition(".")[0] for row in rows for need in row.needs.values()}
    more = {row.name: f"{row.name}.{row.record}" for row in rows if row.name not in {*read, "report", "crate"}}
    table = {row.name: row for row in rows}
    return {**table, "report": replace(table["report"], needs={**table["report"].needs, **more})}


EVALUATION: Mapping[str, Any] = {
    "outputs": {"summary": "evaluation.json", "outcomes": "items.jsonl"},
    # Each by the key of `evaluation` without which it is not written.
    "extras": {"samples": "samples.jsonl", "memorisation": "memorisation.jsonl"},
    "key": ("evaluation", "prompt", "arithmetic"), "unread": ("kv_cache_gib",), "command": "evaluate", "device": True,
}  # fmt: skip
"""What an evaluation before training and one after it have in common."""

EVALUATE_AGAIN = "evaluate_again"
"""The stage that evaluates a policy before training a second time; what differs is noise."""

STAGES: Mapping[str, Stage] = _table(
    Stage(
        "preflight", "experiment", "", {"checks": "preflight.json"},
        "Checking device, memory, price, disk, data and policies, and planning what the rest costs",
        # Nothing waits for its file: it comes first by priority, and the stages that spend refuse before it passed.
        extras={"plan": "plan.json"}, key=("plan",), device=True, priority=100,
        captions={"checks": ("Provenance", "preflight")},
    ),
    Stage(
        "prepare_dataset", "experiment", "data",
        {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl",
         "demonstrations": "demonstrations.jsonl", "manifest": "manifest.json"},
        "Preparing the dataset", extras={"grade": "*.py"}, key=("task",),
        captions={"manifest": ("Provenance", "manifest")},
    ),
    Stage(
        "fetch_policy", "model", "policies/{model}", {"policy": "policy.json"},
        "Fetching {wildcards.model}, with its supervised start if it has one",
        needs={"demonstrations": "prepare_dataset.demonstrations"},
        extras={"weights": "weights/*", "start": "start.jsonl"}, key=("policy", "arithmetic"),
        unread=("parameters", "published", "gated"), device=True,
        # Before training: the plan shares by what all models need, and seeds are trained whole, over all models.
        resume="checkpoints/fetch_policy/{model}", priority=60,
    ),
    Stage(
        "evaluate_baseline", "model", "baseline/{model}", **EVALUATION,
        message="Evaluating {wildcards.model} before training",
        needs={"policy": "fetch_policy.policy", "problems": "prepare_dataset.test"},
        # Before training: what it measures tells better what training will cost.
        resume="checkpoints/evaluate/{model}", priority=50,
    ),
    Stage(
        EVALUATE_AGAIN, "model", "again/{model}", EVALUATION["outputs"],
        "Evaluating {wildcards.model} before training once more, in other batches",
        needs={"policy": "fetch_policy.policy", "problems": "prepare_dataset.test"},
        key=EVALUATION["key"], unread=EVALUATION["unread"], only_after=("evaluate_baseline",), device=True,
        # Before training: what it takes is not left over by chance.
        resume="checkpoints/evaluate_again/{model}", priority=45, switch="noise_floor",
    ),
    Stage(
        "train", "run", "train/{model}/{variant}/seed{seed}",
        {"summary": "training.json", "policy": "policy.json", "metrics": "metrics.jsonl",
         "completions": "completions.jsonl"},
        "Training {wildcards.model} ({wildcards.variant}, seed {wildcards.seed})",
        needs={"policy": "fetch_policy.policy", "problems": "prepare_dataset.train"},
        extras={"weights": "weights/*", "reward": "*.py"}, key=("training", "prompt", "count", "arithmetic"),
        # What is measured, when a training gives up, and memory.
        unread=("kl_every", "max_skipped", "sampler_gap_limit", "kv_cache_gib"),
        only_after=("evaluate_baseline",), like="same_cost_as", device=True,
        resume="checkpoints/train/{model}/{variant}/seed{seed}", priority=40,
        keyed="policy", seed_by_seed=True, all_devices=True,
    ),
    Stage(
        "evaluate_trained", "run", "trained/{model}/{variant}/seed{seed}", **EVALUATION,
        message="Evaluating {wildcards.model} after training ({wildcards.variant}, seed {wildcards.seed})",
        needs={"policy": "train.policy", "problems": "prepare_dataset.test"},
        # Before the next training: until then this one's last checkpoint takes up disk.
        resume="checkpoints/evaluate/{model}/{variant}/seed{seed}", priority=75,
    ),
    Stage(
        "compare", "run", "compare/{model}/{variant}", {"comparison": "seed{seed}.json"},
        "Comparing {wildcards.model} before and after ({wildcards.variant}, seed {wildcards.seed})",
        needs={"baseline": "evaluate_baseline.outcomes", "trained": "evaluate_trained.outcomes"},
        key=("resamples",),
    ),
    Stage(
        "report", "experiment", "",
        {"summary": "summary.json", "html": "report.html", "verdicts": "verdicts.json"}, "Writing the report",
        needs={
            "preflight": "preflight.checks", "manifest": "prepare_dataset.manifest",
            "comparisons": "compare.comparison", "trainings": "train.summary", "metrics": "train.metrics",
            "evaluations": "evaluate_trained.summary", "baselines": "evaluate_baseline.summary",
        },
        reads=("ledger.jsonl", "plan.json", "benchmarks/*", "policies/*", "baseline/*", "again/*", "train/*",
               "trained/*"),
        extras={"traces": "traces.json"}, key=("all",),
        captions={name: ("Result", caption) for name, caption in
                  {"html": "report", "summary": "summary", "verdicts": "verdicts"}.items()},
    ),
    Stage(
        # Where the workflow lies is no part of the key: in a container it is another place.
        "crate", "experiment", "", {"metadata": "ro-crate-metadata.json", "workflow": "workflow/Snakefile"},
        "Describing the results and where they came from (RO-Crate)",
        needs={"html": "report.html", "summary": "report.summary"}, options=("workflow",),
        captions={"metadata": ("Provenance", "crate")},
    ),
)  # fmt: skip
"""In the order in which their jobs are listed."""


POLICY = STAGES["fetch_policy"].outputs["policy"]
"""Name of the file that describes a policy, before training and after it."""
EVALUATED = {**EVALUATION["outputs"], **EVALUATION["extras"]}
TRAINED = {**STAGES["train"].outputs, **STAGES["train"].extras}
"""Names of the files of an evaluation (the same before training and after it) and of a training."""


@dataclass(frozen=True)
class Job:
    """A stage, of a model and of one of its trainings where the stage is of one."""

    stage: str
    model: str = ""
    variant: str | None = None
    seed: int | None = None

    def __str__(self) -> str:
        """For people: `train tiny-llama leave_one_out seed0`."""
        seed = None if self.seed is None else f"seed{self.seed}"
        return " ".join(filter(None, (self.stage, self.model, self.variant, seed)))

    @property
    def run(self) -> dict[str, Any]:
        """Whose job it is: model, variant and seed, as results and ledger have them."""
        return {"model": self.model or None, "variant": self.variant, "seed": self.seed}

    def before(self, settings: Settings) -> "list[Job]":
        """The jobs on the device without whose results this one cannot be run."""
        stage = STAGES[self.stage]
        names = [need.partition(".")[0] for need in stage.needs.values()]
        names = [name for name in dict.fromkeys((*names, *stage.only_after)) if STAGES[name].device]
        jobs = [self.of(name) for name in names]
        like = getattr(settings.variant(self.variant), stage.like) if stage.like and self.variant else None
        return [*jobs, Job(self.stage, self.model, like, self.seed)] if like else jobs

    def of(self, stage: str) -> "Job":
        """The job of another stage that this one belongs to."""
        per = STAGES[stage].per
        if per == "run":
            return Job(stage, self.model, self.variant, self.seed)
        return Job(stage, self.model if per == "model" else "")


def jobs(settings: Settings, device: bool = True) -> list[Job]:
    """Every job after preflight that uses the device, or with `device` False every job; model after model."""
    on = [stage for stage in STAGES.values() if not stage.switch or getattr(settings.evaluation, stage.switch)]
    wanted = [stage for stage in on if not device or (stage.device and stage.name != "preflight")]
    early = [Job(stage.name) for stage in wanted if stage.per == "experiment" and not _reads_all(stage)]
    late = [Job(stage.name) for stage in wanted if stage.per == "experiment" and _reads_all(stage)]
    every = list(early)
    for model in settings.models:
        for stage in wanted:
            if stage.per == "model":
                every.append(Job(stage.name, model))
            elif stage.per == "run":
                every += [Job(stage.name, model, *run) for run in settings.runs]
    return [*every, *late]


def _reads_all(stage: Stage) -> bool:
    """Whether a stage for the experiment reads what the others have made."""
    return any(STAGES[need.partition(".")[0]].per != "experiment" or _reads_all(STAGES[need.partition(".")[0]])
               for need in stage.needs.values())  # fmt: skip


FINISHED = "finished.json"
"""In a job's `resume` folder once its results are written: its key."""


@dataclass(frozen=True)
class Layout:
    """Where the files of an experiment lie."""

    root: Path

    @classmethod
    def of(cls, settings: Settings) -> "Layout":
        """The layout under the experiment's own folder."""
        return cls(settings.folder)

    def path(self, job: Job, name: str | None = None) -> Path:
        """A file of a job by its name in the table; the one that says how it ended by default."""
        stage = STAGES[job.stage]
        return self._filled(stage.files[name or stage.record], job)

    def folder(self, job: Job) -> Path:
        """The folder of a job's files."""
        return self._filled(STAGES[job.stage].folder, job)

    def outputs(self, job: Job) -> dict[str, Path]:
        """What the rule of a job makes, by name."""
        return {name: self.path(job, name) for name in STAGES[job.stage].outputs}

    def needs(self, job: Job) -> dict[str, Path]:
        """What a job of one model or run reads, by name."""
        sources = {name: need.split(".") for name, need in STAGES[job.stage].needs.items()}
        return {name: self.path(job.of(stage), output) for name, (stage, output) in sources.items()}

    def resume(self, job: Job) -> Path:
        """What is kept of an unfinished job; no rule's output, because Snakemake deletes those of a failed job."""
        return self._filled(str(STAGES[job.stage].resume), job)

    def decision(self, job: Job) -> Path:
        """What the budget let a job do; no rule's output: the workflow looks there for what to run again."""
        return self._filled(_decision(STAGES[job.stage]), job)

    def benchmark(self, job: Job) -> Path:
        """Snakemake's own measurement of a job."""
        return self._filled(_benchmark(STAGES[job.stage]), job)

    def _filled(self, pattern: str, job: Job) -> Path:
        return self.root / pattern.format(model=job.model, variant=job.variant, seed=job.seed)

    @property
    def config(self) -> Path:
        """The merged configuration."""
        return self.root / "config.json"

    @property
    def ledger(self) -> Path:
        """Every second of device time."""
        return self.root / "ledger.jsonl"

    @property
    def preflight(self) -> Path:
        """What preflight found."""
        return self.path(Job("preflight"))

    @property
    def plan(self) -> Path:
        """What the experiment is forecast to cost; no rule's output: the first plan outlives a new preflight."""
        return self.path(Job("preflight"), "plan")

    @property
    def data(self) -> Path:
        """Folder of splits, demonstrations and manifest."""
        return self.folder(Job("prepare_dataset"))

    @property
    def verdicts(self) -> Path:
        """The article's claims, judged."""
        return self.path(Job("report"), "verdicts")

    def policy(self, model: str) -> Path:
        """Folder of the policy before training."""
        return self.folder(Job("fetch_policy", model))

    def train(self, model: str, variant: str, seed: int) -> Path:
        """Folder of a training: its policy, metrics and completions."""
        return self.folder(Job("train", model, variant, seed))

    def evaluation(self, model: str, variant: str | None = None, seed: int | None = None) -> Path:
        """Folder of the evaluation of the policy before training, or of a trained one."""
        return self.folder(Job("evaluate_trained" if variant else "evaluate_baseline", model, variant, seed))

    def comparison(self, model: str, variant: str, seed: int) -> Path:
        """The paired comparison of a trained policy with its baseline."""
        return self.path(Job("compare", model, variant, seed))


def _decision(stage: Stage) -> str:
    return f"budget/{stage.name}{OF[stage.per]}.json"


def _benchmark(stage: Stage) -> str:
    return f"benchmarks/{stage.name}{OF[stage.per]}.jsonl"


PASSED_ON = (
    "key", "unread", "device", "priority", "message", "captions", "options", "seed_by_seed", "all_devices", "switch",
)  # fmt: skip


def described() -> Iterator[dict[str, Any]]:
    """What the workflow has to know of every stage, as JSON can hold it."""
    for stage in STAGES.values():
        needs = {name: need.split(".") for name, need in stage.needs.items()}
        yield {
            "name": stage.name,
            "command": stage.command or stage.name.replace("_", "-"),
            "wildcards": [name for _, name, _, _ in Formatter().parse(OF[stage.per]) if name],
            "inputs": {name: STAGES[source].files[output] for name, (source, output) in needs.items()},
            "outputs": {name: stage.files[name] for name in stage.outputs},
            "log": f"{stage.name}{OF[stage.per]}.log",
            "benchmark": _benchmark(stage),
            "decision": _decision(stage) if stage.device else None,
            "like": stage.like and {"key": stage.like, "file": stage.files[stage.record]},
            **{name: getattr(stage, name) for name in PASSED_ON},
        }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(list(described()), indent=2))
