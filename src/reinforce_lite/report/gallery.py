"""Which answers the report shows side by side: chosen by rules, never by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from reinforce_lite.config import Settings
from reinforce_lite.evaluation.behaviours import BEHAVIOURS, behaviours
from reinforce_lite.report.articles import makes_the_articles
from reinforce_lite.report.compare import Item, Pair
from reinforce_lite.tasks import named

KINDS = {
    "gained": (False, True),
    "lost": (True, False),
    "wrong both times": (False, False),
    "right both times": (True, True),
}
"""Kinds of pairs by their strict verdicts before and after."""

EACH_KIND = 30
"""How many pairs of each kind are shown, the first by id."""

EACH_BEHAVIOUR = 10
"""How many pairs that show a behaviour, before or after, are shown beside those, the first by id."""


@dataclass(frozen=True)
class Card:
    """One question, answered before and after training.

    Attributes:
        model: whose answers they are.
        kind: one of `KINDS`.
        before: the item of the baseline.
        after: the item of the trained policy.
        shown_before: behaviours in the answer of the baseline, in the order of the detectors.
        shown_after: those in the answer of the trained policy.
        article: whether it is the question of the article's "aha" trace.
    """

    model: str
    kind: str
    before: Item
    after: Item
    shown_before: Sequence[str]
    shown_after: Sequence[str]
    article: bool


def cards(model: str, pairs: Sequence[Pair], article: str | None = None) -> list[Card]:
    """The pairs of one model that are shown.

    They are the first `EACH_KIND` of each kind, the first `EACH_BEHAVIOUR` with each behaviour, and the article's
    question if it was asked.

    Args:
        model: its name.
        pairs: all of its pairs, in the order of the ids.
        article: id of the article's question, if the task has it.

    Returns:
        In the order of the ids.
    """
    every = [_card(model, pair, article) for pair in pairs]
    chosen = [card for kind in KINDS for card in [card for card in every if card.kind == kind][:EACH_KIND]]
    for name in BEHAVIOURS:
        shows = [card for card in every if name in card.shown_before or name in card.shown_after]
        chosen += shows[:EACH_BEHAVIOUR]
    chosen += [card for card in every if card.article]
    kept = {id(card) for card in chosen}
    return [card for card in every if id(card) in kept]


def mixed(shown: Sequence[Card]) -> list[Card]:
    """The order of the page: the article's question first, then one of each model and kind in turn."""
    first = [card for card in shown if card.article]
    models = dict.fromkeys(card.model for card in shown)
    piles = [
        [card for card in shown if (card.model, card.kind) == (model, kind) and not card.article]
        for kind in KINDS
        for model in models
    ]
    return first + [card for card in chain.from_iterable(zip_longest(*piles)) if card is not None]


def view(settings: Settings, pairs_by_model: Mapping[str, Sequence[Pair]]) -> dict[str, Any]:
    """What the template shows.

    Args:
        settings: the experiment.
        pairs_by_model: the pairs of the result of each model that was evaluated before and after.

    Returns:
        cards (in the order of the page), total (pairs there are), kinds and behaviours (with the number of cards of
        each), models, each (the two numbers of the rule), and article: whether the article's question is `shown`, was
        `not asked`, or None if the task has no such question or the article's claims are not made.
    """
    article = named(settings.task.name).article_question if makes_the_articles(settings) else None
    shown = mixed([card for model, pairs in pairs_by_model.items() for card in cards(model, pairs, article)])
    return {
        "cards": shown,
        "total": sum(map(len, pairs_by_model.values())),
        "models": list(pairs_by_model),
        "kinds": {kind: sum(card.kind == kind for card in shown) for kind in KINDS},
        "behaviours": {
            name: sum(name in card.shown_before or name in card.shown_after for card in shown) for name in BEHAVIOURS
        },
        "each": {"kind": EACH_KIND, "behaviour": EACH_BEHAVIOUR},
        "article": None if article is None else "shown" if any(card.article for card in shown) else "not asked",
    }


def _card(model: str, pair: Pair, article: str | None) -> Card:
    before, after = pair
    verdicts = bool(before["strict"]), bool(after["strict"])
    kind = next(kind for kind, of_kind in KINDS.items() if of_kind == verdicts)
    return Card(model, kind, before, after, _shown(before), _shown(after), before["id"] == article)


def _shown(item: Item) -> list[str]:
    own = behaviours(item["completion"])
    return [name for name in BEHAVIOURS if name in own]
