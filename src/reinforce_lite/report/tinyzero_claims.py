"""TinyZero's claims, of Countdown: what its authors say of search, of sizes, of algorithms and of the price."""

from collections.abc import Callable, Sequence
from functools import partial

from reinforce_lite.config import Settings, Training
from reinforce_lite.report import verdicts
from reinforce_lite.report.claims import Judged, claim
from reinforce_lite.report.contrasts import Side, against, compared, more, right, searches, unchecked
from reinforce_lite.report.evidence import Evidence, Run
from reinforce_lite.report.reinforce_lite_claims import spending
from reinforce_lite.report.verdicts import Verdict, elsewhere

ARTICLE = "tinyzero"
"""Stands for all of these claims in the configuration."""
PUBLISHED_LIMIT_USD = 30.0
"""What its authors say a run stays under."""
ORIGINAL = "Qwen/Qwen2.5-3B"
"""How the repository of the model begins of which they say so."""

_tinyzeros = partial(claim, article=ARTICLE)

ALGORITHMS: dict[str, tuple[str, Callable[[Training], bool]]] = {
    "REINFORCE": (
        "neither ratio_clip nor kl_coefficient",
        lambda training: training.ratio_clip is None and training.kl_coefficient == training.entropy_coefficient == 0,
    ),
    "REINFORCE++": ("estimator: reinforce_pp", lambda training: training.estimator == "reinforce_pp"),
    "GRPO": (
        "ratio_clip and scale_by_std", lambda training: training.ratio_clip is not None and training.scale_by_std,
    ),
    "PPO": ("estimator: critic", lambda training: training.estimator == "critic"),
}  # fmt: skip
"""The settings by which a variant is known, in words and as a rule."""


def algorithm(settings: Settings, name: str) -> str | None:
    """The first variant of an algorithm that is paid and asked as the result is; None if there is none."""
    result, is_one = settings.variant(settings.variants[0]), ALGORITHMS[name][1]
    for variant in settings.variants:
        training = settings.variant(variant)
        same = (training.reward, training.prompt) == (result.reward, result.prompt)
        if same and training.steps and training.estimator != "supervised" and is_one(training):
            return variant
    return None


def lacking(settings: Settings, names: Sequence[str]) -> str | None:
    """Which of these algorithms were not run, and what `variants` would need; None if all were."""
    absent = [f"{name} ({ALGORITHMS[name][0]})" for name in names if algorithm(settings, name) is None]
    return f"no {', no '.join(absent)}; `variants` needs one of each" if absent else None


@_tinyzeros(
    "search",
    "Search and verification emerge: answers reject an attempt and try another one.",
    "the share of answers that reject an attempt, by the task's own exact check, rises against the base, and lies "
    "above that of the same training with a random reward",
    of_each_model=True,
)
def _search(evidence: Evidence, model: str) -> Judged:
    settings = evidence.settings
    if reason := unchecked(settings):
        return reason, []
    others = [None, *evidence.controls("random reward")]
    parts, runs = against(evidence, model, others, searches(settings), "{}")
    if len(others) < 2:
        parts.append(verdicts.untested("a training with random reward"))
    return verdicts.together(parts), runs


@_tinyzeros(
    "smallest model",
    "The smallest model fails: it guesses and stops where larger ones search.",
    "after training, to the same questions, every larger model is right more often and rejects an attempt more often",
)
def _smallest(evidence: Evidence) -> Judged:
    settings = evidence.settings
    if reason := unchecked(settings):
        return reason, []
    smallest, larger = by_size(settings)
    if not larger:
        return elsewhere("its models have one size; `models` needs two whose `parameters` differ"), []
    result = settings.variants[0]
    pairs: list[tuple[Side, Side]] = [((smallest, result), (model, result)) for model in larger]
    parts, runs = list[Verdict](), list[Run]()
    for what, shows in (("right", right), ("rejecting an attempt", searches(settings))):
        found = compared(evidence, pairs, shows)
        own, rests = more(evidence, found, [f"{smallest}, {what}"] * len(pairs), [None] * len(pairs))
        parts, runs = [*parts, *own], [*runs, *rests]
    return verdicts.together(parts), list(dict.fromkeys(runs))


def by_size(settings: Settings) -> tuple[str, list[str]]:
    """The smallest model, and those that are larger; none of which the size is not known."""
    sizes = {model: settings.policies[model].billions or 0.0 for model in settings.models}
    smallest = min(sizes, key=lambda model: sizes[model])
    return smallest, [model for model in sizes if sizes[model] > sizes[smallest] > 0]


@_tinyzeros(
    "instruct",
    "An instruct model learns faster than its base, and ends equal.",
    "its mean reward over the first third of the steps is higher by more than two standard errors, and the interval of "
    "the difference in accuracy after training lies within {margin} points",
)
def _instruct(evidence: Evidence) -> Judged:
    settings, result = evidence.settings, evidence.settings.variants[0]
    pairs = [(base, f"{base}-instruct") for base in settings.models if f"{base}-instruct" in settings.models]
    if not pairs:
        needed = "`models` needs `<name>` and `<name>-instruct` of `policies`"
        return elsewhere(f"no instruct model beside its base; {needed}"), []
    found = compared(evidence, [((base, result), (instruct, result)) for base, instruct in pairs], right)
    parts, runs = list[Verdict](), list[Run]()
    for (base, instruct), one in zip(pairs, found, strict=True):
        ours, theirs = early(evidence, instruct), early(evidence, base)
        if one is None or not ours or not theirs:
            parts.append(verdicts.untested(f"a training of {base} and one of {instruct}"))
            continue
        parts.append(verdicts.above(ours, theirs, f"mean reward of {instruct}'s first third and {base}'s"))
        parts.append(verdicts.equal(one.delta, one.ci95, settings.protocol.margin, base))
        runs += one.runs
    return verdicts.together(parts), runs


def early(evidence: Evidence, model: str) -> list[float]:
    """The mean rewards of the first third of the steps of every training of the result."""
    curves = [[row["reward_mean"] for row in steps] for run, steps in evidence.curves.items() if run[0] == model]
    return [reward for curve in curves for reward in curve[: max(1, len(curve) // 3)]]


@_tinyzeros(
    "any algorithm",
    "It does not matter which algorithm: PPO, GRPO and plain REINFORCE all work.",
    "accuracy rises against the base with each of them, in every model but one that is smaller than others",
)
def _algorithms(evidence: Evidence) -> Judged:
    settings, names = evidence.settings, ("REINFORCE", "GRPO", "PPO")
    if reason := lacking(settings, names):
        return elsewhere(reason), []
    models = [model for model in by_size(settings)[1] or settings.models if model in evidence.models]
    if not models:
        return verdicts.untested("a policy that was evaluated"), []
    every = [(model, str(algorithm(settings, name))) for model in models for name in names]
    found = compared(evidence, [((model, None), (model, variant)) for model, variant in every], right)
    over = [f"the base with {variant}, {model}" for model, variant in every]
    parts, runs = more(evidence, found, over, (model for model, _ in every))
    return verdicts.together(parts), runs


@_tinyzeros(
    "thirty dollars",
    f"It costs less than ${PUBLISHED_LIMIT_USD:.0f}.",
    "all was run, and the ledger's sum is below",
)
def _price(evidence: Evidence) -> Judged:
    settings, hardware = evidence.settings, evidence.settings.hardware
    theirs = any((settings.policies[model].repo or "").startswith(ORIGINAL) for model in settings.models)
    if unchecked(settings) or hardware.device == "cpu" or not hardware.usd_per_hour or not theirs:
        return elsewhere(f"it speaks of training {ORIGINAL} to search on a rented GPU with a price"), []
    return spending(evidence, PUBLISHED_LIMIT_USD)
