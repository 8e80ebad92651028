"""The article's claims on Reinforce-Lite, each judged by the rules in `verdicts` from what this experiment measured."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from reinforce_lite.report import money, verdicts
from reinforce_lite.report.appearance import appears
from reinforce_lite.report.claims import Judged, claim, name
from reinforce_lite.report.evidence import Evidence, Run
from reinforce_lite.report.verdicts import Verdict

ARTICLE = "article"
"""Stands for all of these claims in the configuration."""
PUBLISHED_LIMIT_USD = 10.0
"""What the article says its run stayed under."""

_articles = partial(claim, article=ARTICLE)
_of_models = partial(_articles, of_each_model=True)
_SEEDS = "; with several training seeds the interval over seeds and questions instead"


@_of_models("accuracy", "The method improves accuracy.", f"McNemar, Holm over models{_SEEDS}")
def _accuracy(evidence: Evidence, model: str) -> Judged:
    return _rises(evidence, model, "strict"), evidence.every_seed(model)


@_of_models(
    "size", "By the published gain.", "the interval holds the published gain and not 0",
    applies=lambda evidence, model: evidence.summary.models[model].published is not None,
)  # fmt: skip
def _size(evidence: Evidence, model: str) -> Judged:
    result = evidence.summary.models[model]
    if result.published is None:
        raise ValueError(f"nothing is published of {model}")
    gain = result.published.trained - result.published.baseline
    over, noise, runs = evidence.over_seeds(model), evidence.noise(model), evidence.every_seed(model)
    change = result.change("strict")
    delta, ci95 = (over.mean, over.ci95) if over else (change.delta, change.ci95)
    verdict = verdicts.size(gain, ci95, evidence.needed(model, "strict", gain))
    return verdicts.beyond(verdict, delta if verdict.kind == "supported" else delta - gain, noise), runs


def _rises(evidence: Evidence, model: str, parser: str) -> Verdict:
    """Whether more answers are right by one parser: over all seeds, or with p-values by Holm over the models."""
    noise = evidence.noise(model, parser)
    if over := evidence.over_seeds_by(parser, model):
        return verdicts.beyond(verdicts.over_seeds(over.mean, over.adjusted, over.seeds), over.mean, noise)
    change, alpha = evidence.summary.models[model].change(parser), evidence.settings.protocol.alpha
    needed = partial(evidence.needed, model, parser)
    verdict = verdicts.change(change.delta, change.ci95, evidence.adjusted(model, parser), alpha, needed)
    return verdicts.beyond(verdict, change.delta, noise)


def _better(role: str, evidence: Evidence, model: str) -> Judged:
    """Whether the result beats every control of a role."""
    mine = {variant: row for (name, variant), row in evidence.contests(role).items() if name == model}
    if not mine:
        return verdicts.untested(f"a training with {role}"), []
    alpha, noise, parts = evidence.settings.protocol.alpha, evidence.noise(model), []
    for variant, row in mine.items():
        delta = row["delta"]
        if behind := evidence.behind(model, variant):
            alone = len(evidence.beside(model, variant)) == len(behind.seeds) + 1
            control, delta = f"{variant} (one seed)" if alone else variant, behind.mean
            verdict = verdicts.over_seeds(delta, behind.adjusted, behind.seeds, control)
        else:
            verdict = verdicts.beats(delta, row["ci95"], row["adjusted_p"], alpha, variant)
        parts.append(verdicts.beyond(verdict, delta, noise))
    runs = [run for variant in mine for run in evidence.beside(model, variant)]
    return verdicts.together(parts), list(dict.fromkeys(runs))


_of_models("reward", "What is learnt comes from the reward.", "better than a random reward on the same questions")(
    partial(_better, "random reward")
)


@_of_models(
    "reasoning",
    "It is reasoning that improves.",
    "more right numbers in any format, those that the flexible parser misses included, and more than for format alone",
)
def _reasoning(evidence: Evidence, model: str) -> Judged:
    if words := evidence.words(model):
        return verdicts.elsewhere(f"{words}, in which nobody can reason in prose"), []
    more, runs = _better("format-only reward", evidence, model)
    parts = [_rises(evidence, model, "flexible"), more]
    if evidence.summary.models[model].under_read:
        lenient = _rises(evidence, model, "lenient")
        missed = replace(lenient, why=f"{lenient.why} if answers that the flexible parser misses counted")
        parts += [missed] if lenient != parts[0] else []
    return verdicts.together(parts), runs or evidence.every_seed(model)


# The article does not make these two, nor `critic`, and a reader will ask; they are judged where their control is run.
_of_models(
    "prompt", "It takes training: a worked example in the prompt does less.",
    "better than the untrained policy with that prompt, on the same questions",
    applies=lambda evidence, model: bool(evidence.controls("a worked example in the prompt")),
)(partial(_better, "a worked example in the prompt"))  # fmt: skip
_of_models(
    "supervised", "A reward teaches more than worked solutions for the same money.",
    "better than supervised training that cost the same, on the same questions",
    applies=lambda evidence, model: bool(evidence.controls("supervised training at the same cost")),
)(partial(_better, "supervised training at the same cost"))  # fmt: skip


@_articles(
    "machinery", "PPO's clipped ratio and a KL penalty are not needed.", "not worse than with them by {margin} points"
)
def _machinery(evidence: Evidence) -> Judged:
    return _not_worse(("PPO", "KL to the start"), evidence)


def _not_worse(roles: Sequence[str], evidence: Evidence, about: str | None = None) -> Judged:
    """Whether the result is not worse than any control of these roles; of one model, or of all."""
    margin = evidence.settings.protocol.margin
    parts: list[Verdict] = []
    runs: list[Run] = []
    for role in roles:
        contests = {pair: row for pair, row in evidence.contests(role).items() if about in (None, pair[0])}
        parts += [] if contests else [verdicts.untested(f"a training with {role}")]
        for (model, variant), row in contests.items():
            delta, ci95, other = row["delta"], row["ci95"], f"{variant}, {model}"
            if behind := evidence.behind(model, variant):
                delta, ci95, other = behind.mean, list(behind.ci95), f"{other}, over {len(behind.seeds)} seeds"
            verdict = verdicts.not_worse(delta, ci95, margin, other)
            worse = verdict.kind == "contradicted"
            parts.append(verdicts.beyond(verdict, delta, evidence.noise(model)) if worse else verdict)
            runs += evidence.beside(model, variant)
    return verdicts.together(parts), list(dict.fromkeys(runs))


_of_models(
    "critic", "A critic does not do better.", "not worse than with a critic by {margin} points",
    applies=lambda evidence, model: bool(evidence.controls("a critic")),
)(partial(_not_worse, ("a critic",)))  # fmt: skip


@_articles("one network", "One network is enough.", "trained without a second one, every model improves")
def _one_network(evidence: Evidence) -> Judged:
    training = evidence.settings.variant(evidence.settings.variants[0])
    if training.kl_coefficient or training.networks > 1 or not evidence.models:
        return verdicts.untested("a training that keeps a single network"), evidence.results
    parts = {model: _rises(evidence, model, "strict") for model in evidence.models}
    named = [replace(verdict, why=f"{model} {verdict.why}") for model, verdict in parts.items()]
    return verdicts.together(named), evidence.results


@_articles(
    "stability", "Clipping the gradient replaces the KL, and training stays stable.",
    "every step finite, no reward and no policy fell",
)  # fmt: skip
def _stability(evidence: Evidence) -> Judged:
    if not evidence.curves or evidence.settings.variant(evidence.settings.variants[0]).kl_coefficient:
        return verdicts.untested("a training without a KL"), []
    trainings = [
        (name(run), sum(row["skipped"] for row in steps), [row["reward_mean"] for row in steps])
        for run, steps in evidence.curves.items()
    ]
    return verdicts.steady(trainings, evidence.fell), list(evidence.curves)


SEEN = {
    "verification": "Traces of the trained policy verify results.",
    "trial_and_error": "Traces of the trained policy search by trial and error.",
    "tables": "Traces of the trained policy lay out tables.",
}
"""The behaviours that the article names and that have a detector; "logic" has none."""


def _appears(behaviour: str, evidence: Evidence) -> Judged:
    return appears(behaviour, evidence, list(SEEN)), evidence.results


for _behaviour, _said in SEEN.items():
    _rule = "its share of answers to the same questions rises in every model; the detector is right often enough"
    _articles(_behaviour.replace("_", " "), _said, _rule)(partial(_appears, _behaviour))


@_articles("memory", "Longer episodes need more memory.", "peak memory against length")
def _memory(evidence: Evidence) -> Judged:
    if evidence.settings.hardware.device == "cpu":
        return verdicts.elsewhere("it speaks of a GPU's memory; this ran on a CPU"), []
    return verdicts.untested("benchmarks/memory.py on a GPU"), []


@_articles("price", f"It costs less than ${PUBLISHED_LIMIT_USD:.0f}.", "all was run, and the ledger's sum is below")
def _price(evidence: Evidence) -> Judged:
    if lacking := money.unlike_the_articles(evidence.settings):
        return verdicts.elsewhere(f"it speaks of training the article's models on a rented GPU; {lacking}"), []
    return spending(evidence, PUBLISHED_LIMIT_USD)


def spending(evidence: Evidence, limit_usd: float) -> Judged:
    """Whether an article's price was enough for the whole experiment."""
    settings, models = evidence.settings, evidence.summary.models
    evaluated = {run.seed for model in settings.models for run in models[model].runs if not run.not_run}
    # An article has one seed: another one that was given up is no part of its claim.
    counted = {None, settings.seeds[0], *evaluated}
    left_out = [row["job"] for row in money.not_run(settings, evidence.folder) if row["seed"] in counted]
    runs = [(model, *run) for model in settings.models for run in settings.runs]
    return verdicts.affordable(evidence.summary.cost.usd, limit_usd, left_out), runs
