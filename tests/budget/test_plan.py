import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.budget import plan
from reinforce_lite.budget.forecast import ZERO, Duration, Interval
from reinforce_lite.budget.plan import Entry, Plan, round_up, share
from reinforce_lite.stages import Job


def entry(
    stage: str, low: float, expected: float, high: float, model: str = "m", state: plan.State = "pending"
) -> Entry:
    run = ("v", 0) if stage in ("train", "evaluate_trained") else (None, None)
    return Entry(Job(stage, model, *run), state, Duration(Interval(low, expected, high)))


def training(around: float, step: tuple[float, float, float], steps: int, model: str = "m") -> Entry:
    return Entry(Job("train", model, "v", 0), "pending", Duration(Interval.exactly(around), Interval(*step), steps))


def worked(limit: float, spent: float = 1.0) -> Plan:
    """At $1 a device-second: fetch 2 (1-3), baseline 4 (3-6), training 5 + 10 steps of 2 (1-3), evaluation 4 (3-6)."""
    entries = [
        entry("fetch_policy", 1, 2, 3), entry("evaluate_baseline", 3, 4, 6), training(5, (1, 2, 3), 10),
        entry("evaluate_trained", 3, 4, 6),
    ]  # fmt: skip
    return plan.make(limit, spent, 1.0, entries, min_steps=3)


def test_a_plan_by_hand() -> None:
    made = worked(100)
    assert made.reserve_usd == 6  # the high end
    assert made.others_usd == 6  # 2 + 4
    assert made.enough_usd == 38  # 1 spent + 6 + 6 + 5 + 10 x 2
    assert made.steps == 10 and made.refused is None
    assert made.shares_usd == {Job("train", "m", "v", 0): 87}  # the only one gets 100 - 1 - 6 - 6
    assert made.reserved_without(Job("evaluate_trained", "m", "v", 0)) == 0
    assert made.reserved_without(Job("train", "m", "v", 0)) == 6


@pytest.mark.parametrize(
    ("limit", "refused", "steps"),
    [
        (38, None, 10),
        (37, None, 9),  # 1 + 6 + 6 + 5 = 18, and 9 x 2 = 18
        (24, None, 3),  # 18 + 3 x 2
        (23.9, "$23.90 cannot be kept: $24.00 is expected for no more than 3 steps of each training", None),
        (22.9, "at least $23.00 would be spent", None),  # 1 + 1 + 3 + (5 + 10 x 1) + 3
    ],
)
def test_what_cannot_fit_is_refused(limit: float, refused: str | None, steps: int | None) -> None:
    made = worked(limit)
    assert made.steps == steps
    assert (made.refused is None) == (refused is None)
    assert refused is None or refused in str(made.refused)


def test_a_training_with_no_step_left_may_still_begin_and_tell_its_results() -> None:
    made = plan.make(30, 20, 1.0, [training(5, (1, 2, 3), 0), training(5, (1, 2, 3), 10, "n")], min_steps=3)
    assert made.shares_usd == {Job("train", "m", "v", 0): 5, Job("train", "n", "v", 0): 5}
    assert plan.make(100, 20, 1.0, [training(5, (1, 2, 3), 0)], 3).shares_usd[Job("train", "m", "v", 0)] == 80


def test_the_refusal_names_what_would_fit() -> None:
    # Here the ends are close together, so that the low one is over the limit though fewer steps would fit.
    entries = [entry("evaluate_trained", 3, 3, 3), training(1, (2, 2, 2), 10)]
    made = plan.make(12.0, 0.0, 1.0, entries, min_steps=1)
    said = str(plan.refused(made))
    assert "at least $24.00 would be spent; budget.limit_usd: 24 would be enough; " in said
    assert said.endswith("at this limit training.steps: 4 would fit")  # 3 + 1 + 4 x 2 = 12
    assert plan.refused(plan.make(24.0, 0.0, 1.0, entries, min_steps=1)) is None
    shorter = [entries[0], training(1, (2, 2, 2), 4)]
    assert plan.refused(plan.make(12.0, 0.0, 1.0, shorter, min_steps=1)) is None
    nothing = plan.refused(plan.make(5.0, 0.0, 1.0, entries, min_steps=1))
    assert str(nothing).endswith("no number of steps fits at this limit")


def test_what_is_done_or_will_not_run_costs_nothing_more() -> None:
    done = [entry("fetch_policy", 1, 2, 3, state="done"), entry("evaluate_trained", 3, 4, 6, state="not run")]
    made = plan.make(10, 5, 1.0, done, 1)
    assert (made.reserve_usd, made.others_usd) == (0, 0)
    assert made.enough_usd == 11, "5 were spent, and 6 are what the evaluation that is not run may take"


def test_shares_by_hand() -> None:
    assert share(30, {"a": 100, "b": 100}, {"a": 1, "b": 2}) == {"a": 10, "b": 20}
    assert share(30, {"a": 4, "b": 100}, {"a": 1, "b": 2}) == {"a": 4, "b": 26}  # b may have what a does not need
    assert share(30, {"a": 4, "b": 5}, {"a": 1, "b": 2}) == {"a": 11, "b": 19}  # 21 over, 7 and 14 of it
    assert share(-1, {"a": 4}, {"a": 1}) == {"a": 0}
    assert share(10, {}, {}) == {}


@pytest.mark.parametrize(("usd", "up"), [(8.231, 8.24), (8.24, 8.24), (0.01234, 0.013), (0.0, 0.0), (120.001, 120.01)])
def test_round_up(usd: float, up: float) -> None:
    assert round_up(usd) == up


def test_the_table_says_it_in_lines() -> None:
    lines = plan.table(worked(22)).splitlines()
    assert lines[3].split() == ["train", "m", "v", "seed0", "15", "-", "25", "-", "35", "$25.00", "$9.00"]
    assert "spent $1.00 of $22.00; kept for evaluations after training $6.00" in lines[-2]
    assert lines[-1].startswith("not run: budget.limit_usd $22.00 cannot be kept")


MONEY = st.floats(0, 1e3)
RUNS = st.lists(st.tuples(MONEY, st.integers(0, 100)), max_size=6)


@given(MONEY, RUNS)
def test_shares_never_exceed_what_is_available(available: float, runs: list[tuple[float, int]]) -> None:
    needs = {i: need for i, (need, _) in enumerate(runs)}
    weights = {i: float(steps) for i, (_, steps) in enumerate(runs)}
    shares = share(available, needs, weights)
    assert sum(shares.values()) <= available * (1 + 1e-9) + 1e-9
    assert all(value >= 0 for value in shares.values())
    if any(weights.values()):
        assert sum(shares.values()) == pytest.approx(available, abs=1e-6)


@given(MONEY, MONEY, RUNS)
def test_more_money_never_makes_a_share_smaller(available: float, more: float, runs: list[tuple[float, int]]) -> None:
    needs = {i: need for i, (need, _) in enumerate(runs)}
    weights = {i: float(steps) for i, (_, steps) in enumerate(runs)}
    before, after = share(available, needs, weights), share(available + more, needs, weights)
    assert all(after[key] >= before[key] - 1e-6 for key in before)


ENDS = st.lists(st.floats(0, 100), min_size=3, max_size=3).map(sorted)
ENTRIES = st.lists(st.tuples(ENDS, ENDS, st.integers(1, 30), ENDS), min_size=1, max_size=3)


def drawn(rows: list[tuple[list[float], list[float], int, list[float]]]) -> list[Entry]:
    entries = []
    for number, (other, step, steps, evaluation) in enumerate(rows):
        model = f"m{number}"
        entries += [
            entry("evaluate_baseline", *other, model=model),
            training(1, (step[0], step[1], step[2]), steps, model),
        ]
        entries.append(entry("evaluate_trained", *evaluation, model=model))
    return entries


@given(ENTRIES, st.floats(0, 500), st.floats(0.01, 5000), st.integers(1, 10))
def test_advice_is_sound(rows: list[tuple[list[float], list[float], int, list[float]]], spent: float, limit: float,
                         min_steps: int) -> None:  # fmt: skip
    entries = drawn(rows)
    made = plan.make(limit, spent, 1.0, entries, min_steps)
    assert plan.make(made.enough_usd, spent, 1.0, entries, min_steps).refused is None
    if made.steps is not None:
        cut = [
            Entry(e.job, e.state, Duration(e.duration.around, e.duration.step, min(e.duration.steps, made.steps)))
            for e in entries
        ]
        assert plan.make(limit, spent, 1.0, cut, min_steps).refused is None
    if made.refused is None:
        assert plan.make(limit + 1, spent, 1.0, entries, min_steps).refused is None, "monotone in the limit"


def test_left_after_some_steps() -> None:
    whole = Duration(Interval.exactly(5), Interval.exactly(2), 10)
    assert plan.left(whole, 4).total.expected == 17 and plan.left(whole, 12).steps == 0
    assert plan.nothing_left().total == ZERO


def three_seeds(limit: float, begun: tuple[int, ...] = (), refused: tuple[int, ...] = ()) -> Plan:
    """At $1 a device-second, $1 spent: fetch 2, and a seed: training of 5 + 10 x 2 (1-3) and evaluation of 4."""
    entries = [entry("fetch_policy", 2, 2, 2)]
    for seed in (0, 1, 2):
        state: plan.State = "not run" if seed in refused else "pending"
        duration = Duration(Interval.exactly(5), Interval(1, 2, 3), 10)
        entries.append(Entry(Job("train", "m", "v", seed), state, duration, begun=seed in begun))
        entries.append(Entry(Job("evaluate_trained", "m", "v", seed), state, Duration(Interval.exactly(4))))
    return plan.make(limit, 1.0, 1.0, entries, min_steps=3)


@pytest.mark.parametrize(
    ("limit", "seeds", "steps"),
    [
        (90, [0, 1, 2], 10),  # 1 + 2 + 3 x (25 + 4)
        (89.9, [0, 1], 10),
        (61, [0, 1], 10),  # 1 + 2 + 2 x 29
        (60.9, [0], 10),
        (31, [0], 9),  # one is never given up, but cut: 1 + 2 + 4 + 5 + 9 x 2 = 30
    ],
)
def test_the_last_seeds_are_given_up_whole(limit: float, seeds: list[int], steps: int) -> None:
    made = three_seeds(limit)
    assert made.seeds == seeds and made.given_up == [seed for seed in (0, 1, 2) if seed not in seeds]
    assert made.steps == steps and made.refused is None and made.enough_usd == 90
    assert {job.seed for job in made.shares_usd} == set(seeds)
    for seed in (0, 1, 2):
        reason = plan.given_up(made, Job("train", "m", "v", seed))
        assert (reason is None) == (seed in seeds)
        assert made.entry(Job("evaluate_trained", "m", "v", seed)).state == ("pending" if reason is None else "not run")
    assert ("given up: " in plan.table(made)) == (len(seeds) < 3)


def test_a_seed_that_was_begun_is_gone_on_with_and_one_that_was_left_out_stays_so() -> None:
    assert three_seeds(61, begun=(0, 2)).seeds == [0, 2]
    assert three_seeds(40, begun=(0, 1, 2)).seeds == [0, 1, 2], "then all of them are cut"
    left_out = three_seeds(90, refused=(1,))
    assert left_out.seeds == [0, 2], "half of a seed is none"
    assert left_out.enough_usd == 90, "what would be enough is enough for what was given up too"


@given(st.floats(1, 100), st.floats(0, 100), st.sets(st.integers(0, 2)))
def test_more_money_never_gives_up_more_seeds(limit: float, more: float, begun: set[int]) -> None:
    less, richer = three_seeds(limit, tuple(begun)), three_seeds(limit + more, tuple(begun))
    assert set(less.seeds) <= set(richer.seeds) and {0, *begun} <= set(less.seeds)
