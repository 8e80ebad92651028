"""Base against trained, question by question."""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.statistics import discordance, mcnemar_exact, paired_bootstrap, share_interval
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.stages import EVALUATED
from reinforce_lite.tasks import Task

Item = dict[str, Any]
Pair = tuple[Item, Item]

_KEYS = ("id", "question", "answer", "completion", "strict", "flexible", "truncated", "length")
_AGAIN = "evaluate both policies again on the same data"


def compare(baseline_items: Path, trained_items: Path, *, resamples: int, seed: int) -> dict[str, Any]:
    """Compare two evaluations of the same questions.

    Args:
        baseline_items: items.jsonl of the policy before training.
        trained_items: items.jsonl of the policy after training.
        resamples: resamples of the paired bootstrap.
        seed: seed of the bootstrap.

    Returns:
        n; baseline and trained (strict, flexible, truncated as fractions, length in tokens); delta, ci95, discordant
        and mcnemar_p of the strict parser; the same four under flexible.

    Raises:
        UserError: a file is absent, empty or lacks a key, or the two do not hold the same questions.
    """
    pairs = paired(baseline_items, trained_items)
    before, after = zip(*pairs, strict=True)

    def by(parser: str) -> dict[str, Any]:
        sides = ([bool(item[parser]) for item in side] for side in (before, after))
        return _change(*sides, resamples=resamples, seed=seed)

    return {
        "n": len(pairs),
        "baseline": _figures(before),
        "trained": _figures(after),
        **by("strict"),
        "flexible": by("flexible"),
    }


def compare_evaluations(baseline: Path, trained: Path, *, resamples: int, seed: int) -> dict[str, Any]:
    """Compare two folders of evaluations; either may hold only the reason why it was not run.

    Raises:
        UserError: as `compare`.
    """
    reasons = [read_json(folder / EVALUATED["summary"]).get("not_run") for folder in (baseline, trained)]
    reason = next(filter(None, reasons), None)
    if reason is not None:
        return nothing(baseline / EVALUATED["outcomes"], str(reason))
    return compare(baseline / EVALUATED["outcomes"], trained / EVALUATED["outcomes"], resamples=resamples, seed=seed)


def nothing(baseline_items: Path, reason: str) -> dict[str, Any]:
    """What `compare` returns when a policy was not evaluated: the figures of the baseline, if it was, and the reason.

    Raises:
        UserError: the items of the baseline are absent.
    """
    rows = tuple(read_jsonl(baseline_items))
    absent = dict.fromkeys(("trained", "delta", "ci95", "discordant", "mcnemar_p", "flexible"))
    return {"n": len(rows), "baseline": _figures(rows) if rows else None, **absent, "not_run": reason}


def paired(baseline_items: Path, trained_items: Path) -> list[Pair]:
    """Pair the items of two evaluations by id, in the order of the ids (numbers in them compare as numbers).

    Raises:
        UserError: a file is absent, empty or lacks a key, or the two do not hold the same questions.
    """
    before, after = _by_id(baseline_items), _by_id(trained_items)
    for path, own, other in ((baseline_items, before, after), (trained_items, after, before)):
        missing = sorted(other.keys() - own.keys(), key=natural_key)
        if missing:
            raise UserError(f"{path} lacks {len(missing)} question(s), first {missing[0]}", _AGAIN)
    for key, item in before.items():
        for field in ("question", "answer"):
            if item[field] != after[key][field]:
                raise UserError(f"{trained_items}: {key} has another {field} than in {baseline_items}", _AGAIN)
    return [(before[key], after[key]) for key in sorted(before, key=natural_key)]


def under_read(pairs: Sequence[Pair], task: Task[Any], *, resamples: int, seed: int) -> dict[str, Any] | None:
    """What the flexible parser misses: the gold answer stands in the last sentence, but is not what was read.

    Args:
        pairs: the items of two evaluations.
        task: it knows where an answer stands.
        resamples: resamples of the paired bootstrap.
        seed: seed of the bootstrap.

    Returns:
        For baseline and trained count, share and its exact 95% interval; change, what `compare` says of one parser, if
        such answers counted as right too. None if the task has no such rule.

    Raises:
        ValueError: a gold answer is none of the task.
    """
    missed = [[task.under_read(item["completion"], item["answer"]) for item in pair] for pair in pairs]
    if None in missed[0]:
        return None
    before, after = ([bool(own) for own in side] for side in zip(*missed, strict=True))
    lenient = [
        [item["flexible"] or own for item, own in zip(side, shown, strict=True)]
        for side, shown in zip(zip(*pairs, strict=True), (before, after), strict=True)
    ]
    return {
        "baseline": counted(before),
        "trained": counted(after),
        "change": _change(*lenient, resamples=resamples, seed=seed),
    }


def counted(shown: Sequence[bool]) -> dict[str, Any]:
    """How many show something: count, share, and the exact 95% interval of the share, ci95."""
    count, n = sum(shown), len(shown)
    return {"count": count, "share": count / n, "ci95": list(share_interval(count, n))}


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key under which `test-2` comes before `test-10`.

    >>> sorted(["test-10", "test-2"], key=natural_key)
    ['test-2', 'test-10']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)]


def _figures(items: tuple[Item, ...]) -> dict[str, float]:
    return {key: fmean(item[key] for item in items) for key in ("strict", "flexible", "truncated", "length")}


def _change(before: Sequence[bool], after: Sequence[bool], *, resamples: int, seed: int) -> dict[str, Any]:
    gained, lost = discordance(before, after)
    return {
        "delta": (gained - lost) / len(before),
        "ci95": list(paired_bootstrap(before, after, resamples=resamples, seed=seed)),
        "discordant": {"gained": gained, "lost": lost},
        "mcnemar_p": mcnemar_exact(gained, lost),
    }


def _by_id(path: Path) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for number, row in enumerate(read_jsonl(path), 1):
        lacking = [key for key in _KEYS if key not in row]
        if lacking:
            raise UserError(f"{path}, line {number}: no key {lacking[0]!r}", _AGAIN)
        if row["id"] in items:
            raise UserError(f"{path}, line {number}: the id {row['id']} stands twice", _AGAIN)
        items[row["id"]] = row
    if not items:
        raise UserError(f"{path} holds no items", _AGAIN)
    return items
