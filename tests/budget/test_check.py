import pytest

from ledger_lines import close, opened, touch, write
from reinforce_lite.budget.ledger import attempts
from reinforce_lite.budget.reader import check
from reinforce_lite.errors import UserError


def told(path):
    return [problem.removeprefix(f"{path}, ") for problem in check(path)]


def test_check_finds_what_an_honest_writer_never_writes(tmp_path):
    lines = touch(1), opened(), opened(), close(5), close(6), touch(7), close(1, id="ghost")
    path = write(tmp_path / "l", *lines)
    assert told(path) == [
        "line 1: touch of attempt a, which was never opened",
        "line 3: attempt a is opened twice",
        "line 5: close of attempt a after its close",
        "line 6: touch of attempt a after its close",
        "line 7: close of attempt ghost, which was never opened",
    ]
    with pytest.raises(UserError, match="line 1: touch of attempt a, which was never opened"):
        attempts(path)


def test_check_finds_torn_lines(tmp_path):
    path = write(tmp_path / "l", opened(), '{"event":"tou', close(5))
    (problem,) = told(path)
    assert problem.startswith("line 2: torn")


def test_check_finds_a_clock_that_runs_backwards_within_a_boot(tmp_path):
    path = write(tmp_path / "l", opened(), touch(20), touch(12.5), touch(25), close(24))
    assert told(path) == [
        "line 3: touch of attempt a: the clock ran backwards by 7.500 s",
        "line 5: close of attempt a: the clock ran backwards by 1.000 s",
    ]


@pytest.mark.parametrize(
    "lines",
    [
        (opened(), touch(20), {**touch(1), "boot": "b2"}, {**close(2), "boot": "b2"}),  # another boot's clock
        (opened(), touch(20), opened(id="z"), touch(10, id="z"), close(30)),  # another process's turn came later
        (opened(), touch(5, wall=-900), close(6)),  # the wall clock was set back
    ],
)
def test_a_sound_ledger_has_no_problem(tmp_path, lines):
    assert told(write(tmp_path / "l", *lines)) == []
