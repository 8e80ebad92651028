"""Which claims an experiment makes, and their verdicts: its configuration names them singly, or by their article."""

from typing import Any

from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.report import claims, logic_rl_claims, numbers, reinforce_lite_claims, tinyzero_claims, verdicts
from reinforce_lite.report.claims import Claim, name
from reinforce_lite.report.evidence import Evidence, Run
from reinforce_lite.report.verdicts import Verdict

ARTICLES = (reinforce_lite_claims.ARTICLE, tinyzero_claims.ARTICLE, logic_rl_claims.ARTICLE)
"""Each stands for all claims of an article in the configuration; in the order of the report."""


def chosen(settings: Settings) -> list[Claim]:
    """The claims that an experiment makes, in the order of the report: article by article, then those of nobody's.

    Raises:
        UserError: its configuration names one that there is not.
    """
    wanted = [ARTICLES[0]] if settings.claims is None and makes_the_articles(settings) else settings.claims or []
    known = sorted(claims.CLAIMS, key=lambda one: ARTICLES.index(one.article) if one.article else len(ARTICLES))
    names = (*ARTICLES, *(one.name for one in known))
    if unknown := [name for name in wanted if name not in names]:
        raise UserError(f"claims: '{unknown[0]}' is not one of {', '.join(names)}", "correct the name")
    return [one for one in known if one.name in wanted or one.article in wanted]


def makes_the_articles(settings: Settings) -> bool:
    """Whether an experiment makes Reinforce-Lite's claims: it says so, or it runs one of its models on its task."""
    if settings.claims is None:
        return any(settings.published(model) for model in settings.models)
    return ARTICLES[0] in settings.claims


def judge(evidence: Evidence) -> list[dict[str, Any]]:
    """All claims, in the order in which the report shows them: those about each model come first.

    Returns:
        For each: claim (its name), about (model, or None), said, rule, verdict, why, decides (what would decide it, or
        None), runs (their names), usd (what they cost).
    """
    rows, made = [], chosen(evidence.settings)
    for model in evidence.settings.models:
        reason = evidence.summary.models[model].not_run
        for one in (one for one in made if one.of_each_model and one.applies(evidence, model)):
            judged = (verdicts.untested(reason), []) if reason else one.judge(evidence, model)
            rows.append(_row(evidence, one, model, *judged))
    return rows + [_row(evidence, one, None, *one.judge(evidence)) for one in made if not one.of_each_model]


def _row(evidence: Evidence, one: Claim, model: str | None, verdict: Verdict, runs: list[Run]) -> dict[str, Any]:
    rule = one.rule.format(margin=numbers.plain(100 * evidence.settings.protocol.margin, 6))
    judged = {"verdict": verdict.kind, "why": verdict.why, "decides": verdict.decides}
    cost = {"runs": [name(run) for run in runs], "usd": evidence.usd(runs)}
    return {"claim": one.name, "about": model, "said": one.said, "rule": rule, **judged, **cost}
