"""The article's claims, each judged by the rules in `verdicts` from what this experiment measured.

The wording of a claim is fixed here and its verdict is computed; no verdict is written by hand.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from reinforce_lite.accounting.ledger import Attempt
from reinforce_lite.evaluation.power import questions_needed
from reinforce_lite.evaluation.statistics import holm, paired_bootstrap
from reinforce_lite.files import read_jsonl
from reinforce_lite.layout import Layout
from reinforce_lite.report import money, verdicts
from reinforce_lite.report.compare import compare
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.report.verdicts import Verdict
from reinforce_lite.settings import Settings, Training

PUBLISHED_LIMIT_USD = 10.0
"""What the article says its run stayed under."""

ROLES: dict[str, Callable[[Training], bool]] = {
    "random reward": lambda training: training.reward == "random",
    "format-only reward": lambda training: training.reward == "format",
    "PPO": lambda training: training.ratio_clip is not None,
    "KL to the start": lambda training: training.kl_coefficient > 0,
}
"""What makes a variant a control, told from its settings."""

Run = tuple[str, str, int]
"""Model, variant, seed."""


@dataclass(frozen=True)
class Evidence:
    """What an experiment measured; `traces` are rows of `traces.of_run` for the result of each model."""

    settings: Settings
    folder: Path
    summary: Mapping[str, Any]
    ledger: Sequence[Attempt]
    traces: Sequence[Mapping[str, Any]]

    @property
    def models(self) -> list[str]:
        """The models whose policies were evaluated before and after training."""
        return [name for name in self.settings.models if not self.figures(name)["not_run"]]

    def figures(self, model: str) -> Mapping[str, Any]:
        """The comparison of the first variant and seed with the base."""
        found: Mapping[str, Any] = self.summary["models"][model]
        return found

    def main(self, model: str) -> Run:
        """The run that is the result."""
        return model, self.settings.variants[0], self.settings.seeds[0]

    def adjusted(self, model: str, parser: str = "strict") -> float:
        """McNemar p-value of a model by Holm over the models."""
        figures = [self.figures(name) for name in self.models]
        values = [row["mcnemar_p"] if parser == "strict" else row["flexible"]["mcnemar_p"] for row in figures]
        return holm(values)[self.models.index(model)]

    def controls(self, role: str) -> list[str]:
        """The variants of a role that were run beside the result, for at least one model."""
        return [name for name in self.settings.variants[1:] if ROLES[role](self.settings.variant(name))]

    def against(self, model: str, variant: str) -> dict[str, Any] | None:
        """The result compared with a control of the same seed, on the same questions; None if either is absent."""
        layout, seed = Layout(self.folder), self.settings.seeds[0]
        told = next(run for run in self.figures(model)["runs"] if (run["variant"], run["seed"]) == (variant, seed))
        if told["not_run"] or self.figures(model)["not_run"]:
            return None
        sides = (layout.evaluation(model, variant, seed), layout.evaluation(*self.main(model)))
        resamples = self.settings.evaluation.bootstrap_resamples
        return compare(*(side / "items.jsonl" for side in sides), resamples=resamples, seed=BOOTSTRAP_SEED)

    def contests(self, role: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The result against every control of a role, by model and control, with p-values by Holm over all of them."""
        pairs = [(model, variant) for model in self.settings.models for variant in self.controls(role)]
        found = {pair: row for pair in pairs if (row := self.against(*pair)) is not None}
        adjusted = holm([row["mcnemar_p"] for row in found.values()])
        return {pair: {**found[pair], "adjusted_p": p} for pair, p in zip(found, adjusted, strict=True)}

    def needed(self, model: str, gain: float) -> int | None:
        """Questions that show a gain with the planned power, at the discordance that was seen; None if none do."""
        figures, protocol = self.figures(model), self.settings.protocol
        discordance = sum(figures["discordant"].values()) / figures["n"]
        if not 0 < gain <= discordance:
            return None
        return questions_needed(gain, discordance, protocol.power, protocol.alpha / len(self.models))

    def usd(self, runs: Sequence[Run]) -> float:
        """What the runs cost, the making and evaluation of their base included, every attempt."""
        mine = {(model, None, None) for model, _, _ in runs} | set(runs)
        return sum(row.usd for row in self.ledger if (row.model, row.variant, row.seed) in mine)

    @cached_property
    def curves(self) -> dict[Run, list[dict[str, Any]]]:
        """The metrics of every training of the first variant."""
        layout, variant = Layout(self.folder), self.settings.variants[0]
        runs = [(model, variant, seed) for model in self.settings.models for seed in self.settings.seeds]
        rows = {run: read_jsonl(layout.train(*run) / "metrics.jsonl") for run in runs}
        return {run: steps for run, steps in rows.items() if steps}


def judge(evidence: Evidence) -> list[dict[str, Any]]:
    """All claims, in the order in which the report shows them.

    Returns:
        For each: claim (its name), about (model, or None), said (the article's words), rule, verdict, why, decides
        (what would decide it, or None), runs (their names), usd (what they cost).
    """
    rows = [_row(evidence, *claim) for model in evidence.settings.models for claim in _of_model(evidence, model)]
    return rows + [_row(evidence, *claim) for claim in _of_all(evidence)]


Claim = tuple[str, str | None, str, str, Verdict, list[Run]]


def _of_model(evidence: Evidence, model: str) -> list[Claim]:
    """The claims about one model."""
    figures, protocol, main = evidence.figures(model), evidence.settings.protocol, evidence.main(model)
    published = figures["published"]
    gain = published["trained"] - published["baseline"] if published else None
    told = [
        ("accuracy", "The method improves accuracy.", "McNemar, Holm over models"),
        ("size", "By the published gain.", "the interval holds the published gain and not 0"),
        ("reward", "What is learnt comes from the reward.", "better than a random reward on the same questions"),
        (
            "reasoning",
            "It is reasoning that improves.",
            "more right numbers in any format, and more than for format alone",
        ),
    ]
    if figures["not_run"]:
        nothing = verdicts.untested(str(figures["not_run"]))
        return [
            (name, model, said, rule, nothing, []) for name, said, rule in told if gain is not None or name != "size"
        ]
    rises = verdicts.change(
        figures["delta"], figures["ci95"], evidence.adjusted(model), protocol.alpha, partial(evidence.needed, model)
    )
    found: dict[str, tuple[Verdict, list[Run]]] = {
        "accuracy": (rises, [main]),
        "reward": _better(evidence, model, "random reward"),
        "reasoning": _reasoning(evidence, model),
    }
    if gain is not None:
        found["size"] = verdicts.size(gain, figures["ci95"], evidence.needed(model, gain)), [main]
    return [(name, model, said, rule, *found[name]) for name, said, rule in told if name in found]


def _better(evidence: Evidence, model: str, role: str) -> tuple[Verdict, list[Run]]:
    """Whether the result beats every control of a role."""
    alpha, seed = evidence.settings.protocol.alpha, evidence.settings.seeds[0]
    mine = {variant: row for (name, variant), row in evidence.contests(role).items() if name == model}
    if not mine:
        return verdicts.untested(f"a training with {role}"), []
    found = [
        verdicts.beats(row["delta"], row["ci95"], row["adjusted_p"], alpha, variant) for variant, row in mine.items()
    ]
    return verdicts.together(found), [evidence.main(model), *((model, variant, seed) for variant in mine)]


def _reasoning(evidence: Evidence, model: str) -> tuple[Verdict, list[Run]]:
    """Whether more numbers are right whatever their format, and whether a reward for the format alone does less."""
    flexible, protocol = evidence.figures(model)["flexible"], evidence.settings.protocol
    right = verdicts.change(
        flexible["delta"], flexible["ci95"], evidence.adjusted(model, "flexible"), protocol.alpha,
        partial(evidence.needed, model),
    )  # fmt: skip
    more, runs = _better(evidence, model, "format-only reward")
    return verdicts.together([right, more]), runs or [evidence.main(model)]


def _of_all(evidence: Evidence) -> list[Claim]:
    """The claims about the method and its price."""
    mains = [evidence.main(model) for model in evidence.models]
    every = [(model, variant, seed) for model in evidence.settings.models for variant in evidence.settings.variants
             for seed in evidence.settings.seeds]  # fmt: skip
    margin = 100 * evidence.settings.protocol.margin
    return [
        ("machinery", None, "PPO's clipped ratio and a KL penalty are not needed.",
         f"not worse than with them by {margin:g} points", *_machinery(evidence)),
        ("one network", None, "One network is enough.", "trained without a second one, every model improves",
         _one_network(evidence), mains),
        ("stability", None, "Clipping the gradient replaces the KL, and training stays stable.",
         "every step finite, no reward and no policy fell", _stability(evidence), list(evidence.curves)),
        *_behaviours(evidence, mains),
        ("memory", None, "Longer episodes need more memory.", "peak memory against length",
         verdicts.untested("benchmarks/memory.py on a GPU"), []),
        ("price", None, "It costs less than $10.", "all was run, and the ledger's sum is below",
         _price(evidence), every),
    ]  # fmt: skip


def _machinery(evidence: Evidence) -> tuple[Verdict, list[Run]]:
    """Whether the result is not worse than PPO and than REINFORCE with a KL."""
    seed, margin = evidence.settings.seeds[0], evidence.settings.protocol.margin
    found: list[Verdict] = []
    runs: list[Run] = []
    for role in ("PPO", "KL to the start"):
        contests = evidence.contests(role)
        found += [] if contests else [verdicts.untested(f"a training with {role}")]
        for (model, variant), row in contests.items():
            found.append(verdicts.not_worse(row["delta"], row["ci95"], margin, f"{variant}, {model}"))
            runs += [evidence.main(model), (model, variant, seed)]
    return verdicts.together(found), list(dict.fromkeys(runs))


SEEN = {
    "verification": "Traces of the trained policy verify results.",
    "trial_and_error": "Traces of the trained policy search by trial and error.",
    "tables": "Traces of the trained policy lay out tables.",
}
"""The behaviours that the article names and that have a detector; "logic" has none."""


def _behaviours(evidence: Evidence, mains: list[Run]) -> list[Claim]:
    """Whether each behaviour came with training, in every model; p-values by Holm over behaviours and models."""
    rule = "its share of answers to the same questions rises in every model"
    found = {
        (name, row["model"]): row["contrast"]["behaviours"][name] | {"n": row["contrast"]["n"]}
        for name in SEEN
        for row in evidence.traces
        if row["contrast"] is not None
    }
    adjusted = dict(zip(found, holm([row["mcnemar_p"] for row in found.values()]), strict=True))
    claims: list[Claim] = []
    for name, said in SEEN.items():
        told = [
            verdicts.appears(
                row["before"], row["after"], _interval(evidence, row), adjusted[name, model],
                evidence.settings.protocol.alpha, model,
            )
            for (behaviour, model), row in found.items()
            if behaviour == name
        ]  # fmt: skip
        verdict = verdicts.together(told) if told else verdicts.untested("a policy that was evaluated")
        claims.append((name.replace("_", " "), None, said, rule, verdict, mains))
    return claims


def _interval(evidence: Evidence, row: Mapping[str, Any]) -> tuple[float, float]:
    """Interval of the change of a share, from the questions that gained and lost the behaviour."""
    gained, lost, same = row["gained"], row["lost"], row["n"] - row["gained"] - row["lost"]
    before, after = [False] * gained + [True] * lost + [False] * same, [True] * gained + [False] * (lost + same)
    resamples = evidence.settings.evaluation.bootstrap_resamples
    return paired_bootstrap(before, after, resamples=resamples, seed=BOOTSTRAP_SEED)


def _one_network(evidence: Evidence) -> Verdict:
    """Whether every model improves by a training that keeps no second network on the device."""
    training, alpha = evidence.settings.variant(evidence.settings.variants[0]), evidence.settings.protocol.alpha
    if training.kl_coefficient or not evidence.models:
        return verdicts.untested("a training that keeps a single network")
    found = []
    for model in evidence.models:
        figures = evidence.figures(model)
        needed = partial(evidence.needed, model)
        verdict = verdicts.change(figures["delta"], figures["ci95"], evidence.adjusted(model), alpha, needed)
        found.append(replace(verdict, why=f"{model} {verdict.why}"))
    return verdicts.together(found)


def _stability(evidence: Evidence) -> Verdict:
    if not evidence.curves:
        return verdicts.untested("a training")
    rows = []
    for run, steps in evidence.curves.items():
        third = max(1, len(steps) // 3)
        rewards = [row["reward_mean"] for row in steps]
        skipped = sum(row["skipped"] for row in steps)
        rows.append({"name": name(run), "skipped": skipped, "first": rewards[:third], "last": rewards[-third:]})
    alpha = evidence.settings.protocol.alpha
    fell = [m for m in evidence.models if evidence.figures(m)["delta"] < 0 and evidence.adjusted(m) < alpha]
    return verdicts.steady(rows, fell)


def _price(evidence: Evidence) -> Verdict:
    left_out = [row["job"] for row in money.not_run(evidence.settings, evidence.folder)]
    return verdicts.affordable(evidence.summary["cost"]["usd"], PUBLISHED_LIMIT_USD, left_out)


def _row(
    evidence: Evidence, claim: str, about: str | None, said: str, rule: str, verdict: Verdict, runs: list[Run]
) -> dict[str, Any]:
    told = {"verdict": verdict.kind, "why": verdict.why, "decides": verdict.decides}
    whose = {"runs": [name(run) for run in runs], "usd": evidence.usd(runs)}
    return {"claim": claim, "about": about, "said": said, "rule": rule, **told, **whose}


def name(run: Run) -> str:
    """A run in words.

    >>> name(("tiny-llama", "leave_one_out", 0))
    'tiny-llama, leave_one_out, seed 0'
    """
    return f"{run[0]}, {run[1]}, seed {run[2]}"
