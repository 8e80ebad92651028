from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.experiment.ledger_command import table

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def attempt(stage, start, seconds, outcome="finished", **of):
    of = {"model": None, "variant": None, "seed": None, **of}
    return Attempt(
        id="x", stage=stage, **of, started=NOON + timedelta(seconds=start),
        ended=NOON + timedelta(seconds=start + seconds), outcome=outcome, device="laptop", count=1, usd_per_hour=0.79,
        price_source="a shop", price_date=date(2026, 5, 1), boot="b", clock=float(start),
    )  # fmt: skip


ATTEMPTS = [
    attempt("preflight", 0, 36),
    attempt("train", 72, 3600, "interrupted", model="llama", variant="leave_one_out", seed=0),
    attempt("train", 3672, 18000, model="llama", variant="leave_one_out", seed=0),
]


def test_the_table_by_hand(settings):
    # 0.79 $/h: 36 s 0.0079, 3600 s 0.79, 18000 s 3.95; idle 36 s
    assert table(settings, ATTEMPTS) == (
        "stage      of                         started (UTC)         seconds  outcome         cost    total\n"
        "preflight  -                          2026-05-01 12:00:00      36.0  finished     $0.0079  $0.0079\n"
        "train      llama leave_one_out seed0  2026-05-01 12:01:12   3,600.0  interrupted  $0.7900  $0.7979\n"
        "train      llama leave_one_out seed0  2026-05-01 13:01:12  18,000.0  finished     $3.9500  $4.7479\n"
        "\n"
        "spend                                     hours      cost\n"
        "preflight (1 attempt)                    0.0100   $0.0079\n"
        "train (2 attempts)                       6.0000   $4.7400\n"
        "total                                    6.0100   $4.7479\n"
        "limit                                            $10.0000\n"
        "remains                                           $5.2521\n"
        "idle between attempts, not in the total  0.0100   $0.0079\n"
    )


def test_an_overrun_shows_as_a_negative_rest(settings):
    assert "-$5.8000\n" in table(settings, [attempt("train", 0, 72000)])  # 10 - 15.80


def test_an_empty_ledger_is_said_in_words(settings):
    assert table(settings, []) == "The ledger of small is empty: nothing was spent.\n"


@pytest.mark.parametrize(("changes", "shown"), [({}, "-"), ({"model": "phi"}, "phi"), ({"seed": 3}, "seed3")])
def test_the_subject_leaves_out_what_is_not_said(settings, changes, shown):
    assert table(settings, [replace(ATTEMPTS[0], **changes)]).splitlines()[1].split()[1] == shown
