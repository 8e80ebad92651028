"""Whether a behaviour came with training, as the claims about it are judged."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from reinforce_lite.evaluation.detector_accuracy import measured
from reinforce_lite.evaluation.statistics import discordance, holm, mcnemar_exact, paired_bootstrap
from reinforce_lite.report import verdicts
from reinforce_lite.report.evidence import Evidence
from reinforce_lite.report.seeds import contrast
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.report.verdicts import Verdict


def appears(behaviour: str, evidence: Evidence, family: Sequence[str]) -> Verdict:
    """Whether a behaviour came with training in every model that can show it.

    Args:
        behaviour: a name of `behaviours.BEHAVIOURS`.
        evidence: what was measured.
        family: the behaviours that are judged together; p-values are adjusted over these and the models.
    """
    accuracy = measured(behaviour)
    parts = [_came(behaviour, evidence, model, family, accuracy.decides) for model in evidence.models]
    if not parts:
        return verdicts.untested("a policy that was evaluated")
    verdict = verdicts.together(parts)
    if verdict.kind == "not applicable":
        return verdict
    return replace(verdict, why=f"{verdict.why}; {verdicts.detector(accuracy)}")


def _came(behaviour: str, evidence: Evidence, model: str, family: Sequence[str], decides: bool) -> Verdict:
    """The same of one model; `decides`: the detector is right often enough."""
    before, after = evidence.shown(model, behaviour)
    if (words := evidence.words(model)) and not any(map(any, (*before.values(), *after.values()))):
        return verdicts.elsewhere(f"{model}: {words}, and no answer before or after training shows it")
    settings, share, later = evidence.settings, *(fmean(map(fmean, side.values())) for side in (before, after))
    if not decides:
        return verdicts.unmeasured(share, later, model)
    if len(before) > 1:
        level = settings.protocol.alpha / (len(family) * len(evidence.models))
        return verdicts.came(share, contrast(settings, before, after, level=level, seed=BOOTSTRAP_SEED), model)
    first, resamples = settings.seeds[0], settings.evaluation.bootstrap_resamples
    ci95 = paired_bootstrap(before[first], after[first], resamples=resamples, seed=BOOTSTRAP_SEED)
    p = _adjusted(evidence, family)[behaviour, model]
    return verdicts.appears(share, later, ci95, p, settings.protocol.alpha, model)


def _adjusted(evidence: Evidence, family: Sequence[str]) -> dict[tuple[str, str], float]:
    """By behaviour and model, McNemar's p-value of the first seed by Holm over all of them."""
    first = evidence.settings.seeds[0]
    every = {(name, model): evidence.shown(model, name) for name in family for model in evidence.models}
    p = [mcnemar_exact(*discordance(before[first], after[first])) for before, after in every.values()]
    return dict(zip(every, holm(p), strict=True))
