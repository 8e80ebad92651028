"""What summary.json holds. Its JSON schema is `Summary.model_json_schema()`."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Delta = Annotated[float, Field(ge=-1, le=1)]
Interval = Annotated[tuple[Delta, Delta], Field(description="95% interval of a change: [low, high].")]
Positive = Annotated[float, Field(ge=0)]
Usd = Annotated[float, Field(ge=0, description="US dollars.")]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Part(BaseModel):
    """A part of a summary: its own keys only, and no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Variant(Part):
    """What was trained."""

    variant: str
    """Name of the training settings."""


class Run(Variant):
    """One training."""

    seed: Count


class Figures(Part):
    """What one policy scored, averaged over the questions."""

    strict: Share
    """Share answered correctly in the format asked for."""
    flexible: Share
    """Share whose last number is the gold answer, whatever the format."""
    truncated: Share
    """Share of completions cut at the token limit."""
    length: Positive
    """Tokens of a completion."""


class Discordant(Part):
    """Questions whose verdict changed: to right (gained), and to wrong (lost)."""

    gained: Count
    lost: Count


class Change(Part):
    """Trained against base by one parser."""

    delta: Delta
    """Accuracy of trained minus base over the same questions, as a fraction."""
    ci95: Interval
    discordant: Discordant
    mcnemar_p: Annotated[float, Field(gt=0, le=1)]
    """Two-sided p-value of McNemar's exact test."""


class Counted(Part):
    """How many of the questions, and which share of them with its exact 95% interval (Clopper and Pearson)."""

    count: Count
    share: Share
    ci95: tuple[Share, Share]


class UnderRead(Part):
    """Answers that the flexible parser misses: the gold one stands in the last sentence, but is not what was read."""

    baseline: Counted
    trained: Counted
    change: Change
    """The change by the flexible parser if such answers counted as right too."""


class RunResult(Run):
    """A trained policy against its base, by the strict parser unless under `flexible`; null where it was not run."""

    n: Count
    """Questions both policies answered; those of the base if the trained one answered none."""
    baseline: Figures | None
    trained: Figures | None
    delta: Delta | None
    ci95: Interval | None
    discordant: Discordant | None
    mcnemar_p: Annotated[float, Field(gt=0, le=1)] | None
    flexible: Change | None
    under_read: UnderRead | None = None
    """Null where nothing was compared, or the task has no rule of the last number."""
    not_run: str | None
    """Why a policy was not evaluated, and what budget would have been enough; null if both were."""
    stopped: str | None
    """Where the budget stopped the training; null if it took all its steps."""

    def change(self, parser: str) -> Change:
        """The change by one parser, `strict`, `flexible` or `lenient`, of a policy that was evaluated.

        The lenient one is the flexible one that also counts the answers which that one misses, see `under_read`.
        """
        if parser == "flexible" and self.flexible:
            return self.flexible
        if parser == "lenient" and self.under_read:
            return self.under_read.change
        return Change.model_validate({key: getattr(self, key) for key in Change.model_fields})


class Unstable(Change):
    """What a second evaluation of the same policy says against the first one by one parser."""

    changed: Counted
    """Verdicts that differ, gained and lost."""


class NoiseFloor(Part):
    """Two greedy evaluations of the policy before training, in other batches: what differs was not learnt."""

    n: Annotated[int, Field(ge=1)]
    texts: Counted
    """Completions that differ."""
    strict: Unstable
    flexible: Unstable


class Published(Part):
    """Accuracies that the article reports for a model."""

    baseline: Share
    trained: Share


class SeedContrast(Part):
    """A change over training seeds."""

    seeds: Annotated[list[Count], Field(min_length=1)]
    deltas: Annotated[list[Delta], Field(min_length=1)]
    """Change in accuracy by seed."""
    mean: Delta
    sd: Positive | None
    """Standard deviation of deltas between seeds; null of a single one."""
    ci95: Interval
    adjusted: tuple[Delta, Delta]
    """The interval at a level of alpha / number of models, by which claims are judged."""


class OverSeeds(SeedContrast, Variant):
    """One variant over its training seeds, by the strict parser unless under `flexible`."""

    flexible: SeedContrast | None = None
    lenient: SeedContrast | None = None
    """By the flexible parser if answers that it misses counted too; null if the task has no rule of the last number.
    Reports of earlier versions have neither."""
    behind: SeedContrast | None
    """The result less this control, over common seeds, or over all of the result's if the control has one; null of the
    result itself, or without two seeds to compare."""


class Draws(Part):
    """Sampled answers of one policy, by the strict parser."""

    avg: Share
    """Mean accuracy of an answer (avg@k)."""
    se: Positive
    """Standard error of avg over questions."""
    passed: Share
    """Share of questions with a right answer among the k (pass@k)."""
    drawn: Share | None
    """Share of the variance of avg that is the luck of the draw; null if k is 1 or nothing varies."""


class SampledRun(Draws, Run):
    """Sampled answers of one trained policy, and the change of avg against the base."""

    delta: Delta
    ci95: Interval


class Sampled(Part):
    """k answers to each of n questions, sampled at temperature 1."""

    n: Annotated[int, Field(ge=1)]
    k: Annotated[int, Field(ge=1)]
    baseline: Draws
    runs: list[SampledRun]


class KindRun(Run):
    """One trained policy on the problems of one kind, and the change of its strict accuracy against the base."""

    trained: Counted
    delta: Delta
    ci95: Interval


class ByKind(Part):
    """Right answers to the problems of one kind, by the strict parser."""

    kind: str
    n: Annotated[int, Field(ge=1)]
    in_training: bool
    """Whether the problems to learn from have it too."""
    baseline: Counted
    runs: list[KindRun]


class LiMem(Part):
    """What one policy has learnt by heart of n problems of train, by the strict parser."""

    n: Annotated[int, Field(ge=1)]
    accuracy: Share
    """Share of the problems that are solved."""
    consistency: Share | None
    """Share of the solved ones that are still solved after the perturbation; null if none is solved."""
    limem: Share
    """Accuracy x (1 - consistency); 0 if none is solved."""
    ci95: Interval


class LiMemRun(LiMem, Run):
    """The same of one trained policy."""


class Memorised(Part):
    """LiMem before training and after each; the problems are the same for every policy."""

    baseline: LiMem
    runs: list[LiMemRun]


class ModelResult(RunResult):
    """The result of one model, which is that of the first variant and seed; every run, controls included."""

    published: Published | None
    runs: Annotated[list[RunResult], Field(min_length=1)]
    over_seeds: list[OverSeeds]
    """Each variant that was evaluated, the result first, once the result has two seeds; empty before."""
    sampled: Sampled | None
    noise_floor: NoiseFloor | None = None
    """Null if `evaluation.noise_floor` is off, or the budget left an evaluation out."""
    by_kind: list[ByKind] = []
    """Absent where the task has no kinds of problems."""
    memorisation: Memorised | None = None
    """Absent where `evaluation.memorisation` is 0, or the model was not evaluated."""


class StageCost(Part):
    """What one stage cost, every attempt."""

    usd: Usd
    device_hours: Positive
    attempts: Annotated[int, Field(ge=1)]


class AttemptCost(Part):
    """One attempt of the ledger, with its seconds of wall time."""

    id: str
    stage: str
    model: str | None
    variant: str | None
    seed: int | None
    outcome: Literal["finished", "failed", "interrupted", "running", "killed"]
    seconds: Positive
    usd: Usd


class Price(Part):
    """The price of one device for one hour, who asked it, and the day it was read."""

    usd_per_hour: Usd
    source: str
    date: date
    device: str


class Forecast(Part):
    """What something was forecast to cost."""

    low: Usd
    expected: Usd
    high: Usd


class FirstPlan(Part):
    """The plan that the run set out with."""

    made: str
    """When, ISO 8601."""
    limit_usd: Usd
    spent_usd: Usd
    """Before it."""
    enough_usd: Usd
    """The smallest limit under which all was expected to fit."""
    refused: str | None
    """Why it could not fit; null if it could."""
    by_stage: dict[str, Forecast]
    """What was left to do."""


class PointCost(Part):
    """What a training cost, every attempt, for one point of strict accuracy; null where nothing was gained."""

    model: str
    variant: str
    seed: int
    training_usd: Usd
    usd_per_point: Usd | None
    ends: tuple[Usd | None, Usd | None]
    """At the high and the low end of the gain's 95% interval."""


class PublishedCost(Part):
    """What the article's run would have cost at this price: by its 12 hours on one card, by its 558 steps of 77 s."""

    usd_by_hours: Usd
    usd_by_steps: Usd


class StageSeconds(Part):
    """Seconds of a stage by each clock; null where one has nothing. The ledger's are of all attempts."""

    stage: str
    ledger: float | None
    finished: float | None
    """Of the ledger's attempts that finished."""
    snakemake: float | None
    """Of the last jobs that finished."""
    mlflow: float | None


class Cost(Part):
    """Sums over the ledger; every attempt counts, whatever came of it. Depends on wall time."""

    usd: Usd
    device_hours: Positive
    """Hours times rented devices."""
    limit_usd: Annotated[float, Field(gt=0)]
    remaining_usd: float
    """Limit minus spent; negative if overrun."""
    by_stage: dict[str, StageCost]
    attempts: list[AttemptCost] = []
    """In the order in which they were opened."""
    idle_hours: Positive
    """Hours times rented devices between attempts within one boot, in which nothing ran; of jobs side by side also
    what a device waited beside one. Not in device_hours."""
    idle_usd: Usd
    """What the idle hours cost if the machine stayed rented. Not in usd, and not counted against the limit."""
    price: Price
    plan: FirstPlan | None
    per_point: list[PointCost]
    published: PublishedCost
    reconciliation: list[StageSeconds] = []
    """By stage. What MLflow said is kept here, because it is asked once."""


class Origin(Part):
    """Commit of the code (with -dirty behind it if files differed) and container image; null if unknown or none."""

    git_commit: str | None
    image: str | None


class ResultsOrigin(Origin):
    """What made some of the results: their folders, under the experiment's own.

    Results of earlier versions do not say what computed them; `other_numbers` is there if it was changed in between.
    """

    computed_with: dict[str, str | int | None] | None = None
    other_numbers: list[dict[str, Any]] | None = None
    results: Annotated[list[str], Field(min_length=1)]


class ReportOrigin(Origin):
    """What made the report itself, and the version of what drew its plots."""

    matplotlib: str


class Revisions(Part):
    """Where the data and the weights of each model came from."""

    data: Any
    models: dict[str, dict[str, Any]]


class Seeds(Part):
    """Every seed that was set; those of supervised starts by model."""

    training: list[int]
    task: int
    bootstrap: int
    start: dict[str, int]


class LedgerSum(Part):
    """The ledger as it was read; it is only appended to, so its first bytes stay the same."""

    bytes: Count
    sha256: Sha256


class Sealed(Part):
    """The Merkle tree over the lines of manifest.sha256 that lie beneath the report."""

    root: Sha256
    files: Annotated[int, Field(ge=0)]


class Provenance(Part):
    """What the results were made with. Reports of earlier versions lack made_with, ledger, files and manifest."""

    versions: dict[str, str | None]
    machine: dict[str, Any]
    origins: list[ResultsOrigin]
    revisions: Revisions
    sums: dict[str, Sha256]
    """Of the data, by file."""
    seeds: Seeds
    made_with: ReportOrigin | None = None
    ledger: LedgerSum | None = None
    files: dict[str, Sha256] | None = None
    """Of each result that the report was made of, and of report.html, by path under the folder."""
    manifest: Sealed | None = None


class Summary(Part):
    """What an experiment measured, what it cost, and what it was made with.

    Two runs with the same seeds on one machine have equal `models`.
    """

    schema_version: Literal[1]
    experiment: Annotated[str, Field(min_length=1)]
    description: str
    models: Annotated[dict[str, ModelResult], Field(min_length=1)]
    cost: Cost
    provenance: Provenance

    def as_json(self) -> dict[str, Any]:
        """As summary.json holds it; a key that was not given is absent."""
        return self.model_dump(mode="json", exclude_unset=True)
