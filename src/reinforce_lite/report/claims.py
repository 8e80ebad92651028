"""The article's claims, each judged by the rules in `verdicts` from what this experiment measured.

The wording of a claim is fixed here and its verdict is computed; no verdict is written by hand.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from reinforce_lite.evaluation.statistics import holm, paired_bootstrap
from reinforce_lite.report import money, verdicts
from reinforce_lite.report.evidence import Evidence, Run
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.report.verdicts import Verdict

PUBLISHED_LIMIT_USD = 10.0
"""What the article says its run stayed under."""


def judge(evidence: Evidence) -> list[dict[str, Any]]:
    """All claims, in the order in which the report shows them.

    Returns:
        For each: claim (its name), about (model, or None), said (the article's words), rule, verdict, why, decides
        (what would decide it, or None), runs (their names), usd (what they cost).
    """
    rows = [_row(evidence, *claim) for model in evidence.settings.models for claim in _of_model(evidence, model)]
    return rows + [_row(evidence, *claim) for claim in _of_all(evidence)]


RIVALS = {
    "prompt": (
        "a worked example in the prompt",
        "It takes training: a worked example in the prompt does less.",
        "better than the untrained policy with that prompt, on the same questions",
    ),
    "supervised": (
        "supervised training at the same cost",
        "A reward teaches more than worked solutions for the same money.",
        "better than supervised training that cost the same, on the same questions",
    ),
}
"""Claims that the article does not make and a reader will ask about, judged where their control is run: by name, the
control's role, the wording, and the rule."""

_SEEDS = "; with several training seeds the interval over seeds and questions instead"

Claim = tuple[str, str | None, str, str, Verdict, list[Run]]


def _of_model(evidence: Evidence, model: str) -> list[Claim]:
    """The claims about one model."""
    figures, main = evidence.figures(model), evidence.main(model)
    published = figures["published"]
    gain = published["trained"] - published["baseline"] if published else None
    told = [
        ("accuracy", "The method improves accuracy.", f"McNemar, Holm over models{_SEEDS}"),
        ("size", "By the published gain.", "the interval holds the published gain and not 0"),
        ("reward", "What is learnt comes from the reward.", "better than a random reward on the same questions"),
        (
            "reasoning",
            "It is reasoning that improves.",
            "more right numbers in any format, and more than for format alone",
        ),
        *((name, said, rule) for name, (role, said, rule) in RIVALS.items() if evidence.controls(role)),
    ]
    if figures["not_run"]:
        nothing = verdicts.untested(str(figures["not_run"]))
        return [
            (name, model, said, rule, nothing, []) for name, said, rule in told if gain is not None or name != "size"
        ]
    found: dict[str, tuple[Verdict, list[Run]]] = {
        "accuracy": (_rises_over_seeds(evidence, model), evidence.every_seed(model, main[1])),
        "reward": _better(evidence, model, "random reward"),
        "reasoning": _reasoning(evidence, model),
        **{name: _better(evidence, model, role) for name, (role, _, _) in RIVALS.items()},
    }
    if gain is not None:
        over = evidence.over_seeds(model) or figures
        size = verdicts.size(gain, over["ci95"], evidence.needed(model, "strict", gain))
        found["size"] = size, evidence.every_seed(model, main[1])
    return [(name, model, said, rule, *found[name]) for name, said, rule in told if name in found]


def _better(evidence: Evidence, model: str, role: str) -> tuple[Verdict, list[Run]]:
    """Whether the result beats every control of a role."""
    alpha = evidence.settings.protocol.alpha
    mine = {variant: row for (name, variant), row in evidence.contests(role).items() if name == model}
    if not mine:
        return verdicts.untested(f"a training with {role}"), []
    found = []
    for variant, row in mine.items():
        behind = (evidence.over_seeds(model, variant) or {}).get("behind")
        if behind:
            found.append(verdicts.over_seeds(behind["mean"], behind["adjusted"], behind["seeds"], variant))
        else:
            found.append(verdicts.beats(row["delta"], row["ci95"], row["adjusted_p"], alpha, variant))
    runs = [run for variant in mine for run in evidence.beside(model, variant)]
    return verdicts.together(found), list(dict.fromkeys(runs))


def _rises_over_seeds(evidence: Evidence, model: str) -> Verdict:
    """Whether more answers are right: over all training seeds if there are several, else by the one."""
    row = evidence.over_seeds(model)
    if row is None:
        return _rises(evidence, model, "strict")
    return verdicts.over_seeds(row["mean"], row["adjusted"], row["seeds"])


def _rises(evidence: Evidence, model: str, parser: str) -> Verdict:
    """Whether more answers are right by one parser, with p-values by Holm over the models."""
    change, alpha = evidence.change(model, parser), evidence.settings.protocol.alpha
    needed = partial(evidence.needed, model, parser)
    return verdicts.change(change["delta"], change["ci95"], evidence.adjusted(model, parser), alpha, needed)


def _reasoning(evidence: Evidence, model: str) -> tuple[Verdict, list[Run]]:
    """Whether more numbers are right whatever their format, and whether a reward for the format alone does less."""
    more, runs = _better(evidence, model, "format-only reward")
    return verdicts.together([_rises(evidence, model, "flexible"), more]), runs or [evidence.main(model)]


def _of_all(evidence: Evidence) -> list[Claim]:
    """The claims about the method and its price."""
    mains = [evidence.main(model) for model in evidence.models]
    every = [(model, *run) for model in evidence.settings.models for run in evidence.settings.runs]
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
    margin = evidence.settings.protocol.margin
    found: list[Verdict] = []
    runs: list[Run] = []
    for role in ("PPO", "KL to the start"):
        contests = evidence.contests(role)
        found += [] if contests else [verdicts.untested(f"a training with {role}")]
        for (model, variant), row in contests.items():
            several = (evidence.over_seeds(model, variant) or {}).get("behind")
            if several:
                told = f"{variant}, {model}, over {len(several['seeds'])} seeds"
                found.append(verdicts.not_worse(several["mean"], several["ci95"], margin, told))
            else:
                found.append(verdicts.not_worse(row["delta"], row["ci95"], margin, f"{variant}, {model}"))
            runs += evidence.beside(model, variant)
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
    training = evidence.settings.variant(evidence.settings.variants[0])
    if training.kl_coefficient or not evidence.models:
        return verdicts.untested("a training that keeps a single network")
    found = {model: _rises_over_seeds(evidence, model) for model in evidence.models}
    return verdicts.together([replace(verdict, why=f"{model} {verdict.why}") for model, verdict in found.items()])


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
    # The article has one seed: another one that was given up is no part of its claim.
    first, *others = evidence.settings.seeds
    counted = {None, first, *(seed for seed in others if _evaluated(evidence, seed))}
    rows = money.not_run(evidence.settings, evidence.folder)
    left_out = [row["job"] for row in rows if row["seed"] in counted]
    return verdicts.affordable(evidence.summary["cost"]["usd"], PUBLISHED_LIMIT_USD, left_out)


def _evaluated(evidence: Evidence, seed: int) -> bool:
    """Whether anything of a training seed was evaluated."""
    runs = (run for model in evidence.settings.models for run in evidence.figures(model)["runs"])
    return any(run["seed"] == seed and not run["not_run"] for run in runs)


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
