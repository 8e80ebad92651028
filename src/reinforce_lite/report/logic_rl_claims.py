"""Logic-RL's claims (arXiv:2502.14768), of knights and knaves: the questions of its paper, each judged by a rule."""

from collections.abc import Callable, Sequence
from functools import partial

from reinforce_lite.config import PolicySettings, Settings
from reinforce_lite.evaluation.change_point import LEAST, POSITIVE, fits
from reinforce_lite.evaluation.statistics import holm
from reinforce_lite.io.files import read_jsonl
from reinforce_lite.report import numbers, verdicts
from reinforce_lite.report.claims import Judged, claim, name
from reinforce_lite.report.compare import Item
from reinforce_lite.report.contrasts import Contrast, against, compared, more, right, searches, unchecked
from reinforce_lite.report.evidence import Evidence, Run
from reinforce_lite.report.kinds import kind_of, of_test, of_training
from reinforce_lite.report.memorised import in_words, learnt
from reinforce_lite.report.thinking import WORDS, Group, by_step, longer, within
from reinforce_lite.report.tinyzero_claims import algorithm, early, lacking
from reinforce_lite.report.verdicts import Kind, Verdict, elsewhere
from reinforce_lite.stages import TRAINED, Layout

ARTICLE = "logic_rl"
"""Stands for all of these claims in the configuration."""

_logic_rls = partial(claim, article=ARTICLE)


@_logic_rls(
    "algorithms",
    "PPO is the most accurate and slower; GRPO is the weakest.",
    "PPO is right more often than REINFORCE++ and takes more seconds a step; both are right more often than GRPO, on "
    "the same questions",
)
def _algorithms(evidence: Evidence) -> Judged:
    settings, names = evidence.settings, ("REINFORCE++", "GRPO", "PPO")
    if reason := lacking(settings, names):
        return elsewhere(reason), []
    plus, grpo, ppo = (str(algorithm(settings, one)) for one in names)
    contests = [(model, *pair) for model in evidence.models for pair in ((plus, ppo), (grpo, ppo), (grpo, plus))]
    found = compared(evidence, [((model, theirs), (model, ours)) for model, theirs, ours in contests], right)
    over = [f"{theirs}, {ours} of {model}" for model, theirs, ours in contests]
    parts, runs = more(evidence, found, over, (model for model, *_ in contests))
    for model in evidence.models:
        ours_s, theirs_s = (evidence.step_seconds(model, variant) for variant in (ppo, plus))
        if ours_s and theirs_s:
            parts.append(verdicts.above(ours_s, theirs_s, f"{model}, seconds a step of {ppo} and {plus}"))
    return verdicts.together(parts or [verdicts.untested("policies that were evaluated")]), runs


HELPS = {"verify": True, "re-evaluate": True, "recheck": False}
"""Of the words that the paper tells of: whether completions with it earn more."""


@_logic_rls(
    "thinking words",
    "Completions that say `verify` or `re-evaluate` earn more, and those that say `recheck` less.",
    "of the completions to the same question, in training, those with the word earn more (less); sign test over the "
    "questions, Holm over the words that occur",
)
def _thinking(evidence: Evidence) -> Judged:
    return _earns(evidence, {word: (_says(word), helps) for word, helps in HELPS.items()}, "these words")


@_logic_rls(
    "language mixing",
    "Completions that mix in another script, such as Chinese, earn less.",
    "of the completions to the same question, in training, those with letters of another script than Latin earn less; "
    "sign test over the questions",
)
def _mixing(evidence: Evidence) -> Judged:
    return _earns(evidence, {"another script": (lambda group: [one.foreign for one in group], False)}, "another script")


Having = Callable[[Group], list[bool]]
"""Which completions of a group show something."""


def _says(word: str) -> Having:
    return lambda group: [word in one.words for one in group]


def _earns(evidence: Evidence, signs: dict[str, tuple[Having, bool]], what: str) -> Judged:
    """Whether completions that show a sign earn more, or less, than the others to their question."""
    groups = [group for own in evidence.drawn.values() for group in own]
    if not groups:
        return verdicts.untested("a training that sampled completions"), []
    found = {sign: (within(groups, shows), helps) for sign, (shows, helps) in signs.items()}
    known = {sign: (seen, helps) for sign, (seen, helps) in found.items() if seen}
    if not known:
        return elsewhere(f"no two completions to one question differ in {what}"), list(evidence.drawn)
    adjusted = holm([seen.p for seen, _ in known.values()])
    parts = []
    for (sign, (seen, helps)), p in zip(known.items(), adjusted, strict=True):
        sides = (seen.better, seen.worse) if helps else (seen.worse, seen.better)
        parts.append(verdicts.sided(*sides, p, evidence.settings.protocol.alpha, f"{sign}: {seen.words}"))
    return verdicts.together(parts), list(evidence.drawn)


@_logic_rls(
    "no aha moment",
    "There is no aha moment: words of reflection come gradually, without a jump.",
    f"of the share of completions with {', '.join(WORDS)} (of a training without them: that reject an attempt, by the "
    "task's own check), step by step, one level or a gradual way fits better than a jump upwards, by a BIC that is "
    f"lower by more than {POSITIVE:g} (Schwarz 1978; Kass and Raftery 1995)",
)
def _aha(evidence: Evidence) -> Judged:
    parts, runs = list[Verdict](), list[Run]()
    for run, groups in evidence.drawn.items():
        what, series = "words", by_step((one.step, bool(one.words)) for group in groups for one in group)
        if not any(series):
            what, series = "rejected attempts", _rejections(evidence, run)
        if len(series) < LEAST or not any(series):
            continue
        found, runs = fits(series), [*runs, run]
        why = (
            f"{name(run)}, {what}: from {series[0]:.1%} to {series[-1]:.1%} of the completions; BIC of a level "
            f"{found.level:.1f}, of a way {found.ramp:.1f}, of a jump {found.jump:.1f} (at {found.at:.0%} of the steps)"
        )
        gradual, jumps = found.gradual > POSITIVE or found.rise <= 0, found.gradual < -POSITIVE
        kind: Kind = "supported" if gradual else "contradicted" if jumps else "undecidable"
        parts.append(Verdict(kind, why, None if gradual or jumps else "more steps or more completions a step"))
    if not parts:
        return elsewhere(f"no training of {LEAST} steps or more sampled one of these words, or rejected an attempt"), []
    return verdicts.together(parts), runs


def _rejections(evidence: Evidence, run: Run) -> list[float]:
    """The share of a training's completions that reject an attempt, step by step; empty if the task cannot tell."""
    if unchecked(evidence.settings):
        return []
    rows, shows = read_jsonl(Layout(evidence.folder).train(*run) / TRAINED["completions"]), searches(evidence.settings)
    return by_step((row["step"], shows(row)) for row in rows)


SUPERVISED = "supervised training at the same cost"
NO_SUPERVISED = "no supervised training; `variants` needs one with `same_cost_as` the result"
OUTSIDE = "`task` needs test problems of a kind that train has not (more people, more numbers)"


@_logic_rls(
    "out of distribution",
    "What is learnt holds outside of training: of a kind of puzzle that was never trained on more are solved.",
    "accuracy on the test problems of other kinds than those of train rises against the base",
    of_each_model=True,
)
def _outside(evidence: Evidence, model: str) -> Judged:
    return _further(evidence, model, [None])


@_logic_rls(
    "generalisation",
    "Supervised training memorises, reinforcement generalises.",
    "on the test problems of other kinds than those of train the result is right more often than supervised training "
    "at the same cost",
    of_each_model=True,
)
def _generalises(evidence: Evidence, model: str) -> Judged:
    names = evidence.controls(SUPERVISED)
    if not names:
        return elsewhere(NO_SUPERVISED), []
    return _further(evidence, model, names)


def _further(evidence: Evidence, model: str, others: Sequence[str | None]) -> Judged:
    """Whether the result is better than others on the problems of a kind that was not trained on."""
    outside = _unlike_training(evidence, model)
    if outside is None:
        return elsewhere(OUTSIDE), []
    kinds, among = outside
    parts, runs = against(evidence, model, others, right, f"{{}} on {kinds}", among, noisy=True)
    return verdicts.together(parts), runs


def _unlike_training(evidence: Evidence, model: str) -> tuple[str, Callable[[Item], bool]] | None:
    """The kinds of test problem that are not trained on, and whether an item is of one; None if there is none."""
    settings, folder = evidence.settings, evidence.folder
    asked, trained = of_test(settings, folder, model), of_training(settings, folder)
    kinds = [kind for kind in asked if kind not in trained]
    return (", ".join(kinds), lambda item: kind_of(settings.task.name, item) in kinds) if kinds else None


@_logic_rls(
    "memorisation",
    "Supervised training learns by heart what reinforcement does not (LiMem).",
    "LiMem, accuracy on train times the share that a perturbation unsolves (arXiv:2410.23123), is lower than after "
    "supervised training at the same cost, on the same problems",
)
def _memorises(evidence: Evidence) -> Judged:
    settings, controls = evidence.settings, evidence.controls(SUPERVISED)
    if not settings.evaluation.memorisation:
        return elsewhere("no problem of train was asked; set evaluation.memorisation to how many shall be"), []
    if not controls:
        return elsewhere(NO_SUPERVISED), []
    contests = [(model, control) for model in evidence.models for control in controls]
    sides = [((model, settings.variants[0]), (model, control)) for model, control in contests]
    parts, runs = list[Verdict](), list[Run]()
    for contest, one in zip(contests, compared(evidence, sides, _by_heart, read=learnt), strict=True):
        if one is not None:
            parts.append(_less_by_heart(evidence, one, *contest))
            runs += one.runs
    return verdicts.together(parts or [verdicts.untested("an evaluation of both")]), runs


def _by_heart(item: Item) -> bool:
    return bool(item["by_heart"])


def _less_by_heart(evidence: Evidence, one: Contrast, model: str, control: str) -> Verdict:
    """Whether the result's LiMem, that of `theirs`, is lower than the control's on the same problems."""
    own, result = evidence.summary.models[model].memorisation, evidence.settings.variants[0]
    scores = f"{in_words(own, result)}; {control} {in_words(own, control)}"
    over = f"the result's LiMem, {control} of {model} ({scores})"
    if len(one.seeds) > 1:
        return verdicts.over_seeds(one.delta, one.adjusted, one.seeds, over)
    why = f"{numbers.points(one.delta)} over {over} {numbers.interval(one.ci95)}"
    sides = one.ours, one.theirs, one.p, evidence.settings.protocol.alpha
    return verdicts.sided(*sides, why, "more problems or more seeds")


@_logic_rls(
    "curriculum",
    "A curriculum from few people to many is at best marginally better than the same puzzles mixed.",
    "the interval of curriculum less mix, on the same questions, lies below {margin} points",
)
def _curriculum(evidence: Evidence) -> Judged:
    settings, pair = evidence.settings, _orders(evidence.settings)
    if pair is None:
        needed = "`variants` needs two that differ in `shuffle` alone, and `task.order: curriculum`"
        return elsewhere(f"no curriculum beside a mix; {needed}"), []
    ordered, mixed = pair
    found = compared(evidence, [((model, ordered), (model, mixed)) for model in evidence.models], right)
    parts, runs = list[Verdict](), list[Run]()
    for model, one in zip(evidence.models, found, strict=True):
        if one is not None:
            parts.append(verdicts.not_worse(one.delta, one.ci95, settings.protocol.margin, f"{ordered}, {model}"))
            runs += one.runs
    return verdicts.together(parts or [verdicts.untested("an evaluation of both")]), runs


def _orders(settings: Settings) -> tuple[str, str] | None:
    """The variant that takes the puzzles in their order, and the one that mixes them; None if there are no two."""
    if getattr(settings.task, "order", None) != "curriculum":
        return None
    for ordered in settings.variants:
        kept = settings.variant(ordered)
        for mixed in settings.variants:
            if not kept.shuffle and settings.variant(mixed) == kept.model_copy(update={"shuffle": True}):
                return ordered, mixed
    return None


@_logic_rls(
    "length no cause",
    "Length is no cause: longer completions are not better.",
    "of the completions to the same question, in training, the longer half earns less than the shorter one, by a sign "
    "test over the questions; contradicted if it earns more, though what goes with reward need not be its cause",
)
def _length(evidence: Evidence) -> Judged:
    groups: list[Group] = [group for own in evidence.drawn.values() for group in own]
    seen = within(groups, longer)
    if seen is None:
        return elsewhere("no two completions to one question differ in length"), list(evidence.drawn)
    alpha, runs = evidence.settings.protocol.alpha, list(evidence.drawn)
    return verdicts.sided(seen.worse, seen.better, seen.p, alpha, f"longer: {seen.words}"), runs


@_logic_rls(
    "cold start",
    "A cold start helps, and is not needed.",
    "with the longer supervised start the mean reward over the first third of the steps is higher by more than two "
    "standard errors; with the shorter one, or none, accuracy rises all the same",
)
def _cold_start(evidence: Evidence) -> Judged:
    settings, result = evidence.settings, evidence.settings.variants[0]
    pairs = [
        (short, long)
        for short in settings.models
        for long in settings.models
        if _started(settings.policies[short]) < _started(settings.policies[long])
        and _unstarted(settings.policies[short]) == _unstarted(settings.policies[long])
    ]
    if not pairs:
        needed = "`models` needs two of `policies` that differ in `start` alone: a short one, and hardly any"
        return elsewhere(f"no two starts of one model; {needed}"), []
    found = compared(evidence, [((short, None), (short, result)) for short, _ in pairs], right)
    parts, runs = more(evidence, found, [f"its base, {short}" for short, _ in pairs], (short for short, _ in pairs))
    for short, long in pairs:
        ours, theirs = early(evidence, long), early(evidence, short)
        if ours and theirs:
            parts.append(verdicts.above(ours, theirs, f"mean reward of {long}'s first third and {short}'s"))
    return verdicts.together(parts), runs


def _started(policy: PolicySettings) -> int:
    return policy.start.steps if policy.start else 0


def _unstarted(policy: PolicySettings) -> PolicySettings:
    return policy.model_copy(update={"start": None, "published": None})
