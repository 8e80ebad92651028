import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.evaluation.sums import corrected, sums, taken_back

numbers = st.integers(0, 999)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("48 / 2 = 24 clips", [(("48", "/", "2"), 24)]),
        ("12 / 60 = $0.20 a minute", [(("12", "/", "60"), 0.2)]),
        ("3 boxes * 6 = 18", [(("3", "*", "6"), 18)]),
        ("$1,200 + $300 = $1,500.", [(("1200", "+", "300"), 1500)]),
        ("3 x 14 = 42 and 6 \u00d7 7 = 42", [(("3", "*", "14"), 42), (("6", "*", "7"), 42)]),
        (r"$8 \div 2 = 4$", [(("8", "/", "2"), 4)]),
        ("3 + 2 * 4 = 11", [(("3", "+", "2", "*", "4"), 11)]),
        ("2 * 6 = 12 - 3 = 9", [(("12", "-", "3"), 9)]),  # 2 * 6 = 12 - 3 is not true
        ("(3 + 2) * 4 + 2 = 22", []),
        ("x + 4 + 2 = 10", []),
        ("x - 4 + 2 = 10", []),
        ("- 4 + 2 = 6\n- 6 - 1 = 5", [(("4", "+", "2"), 6), (("6", "-", "1"), 5)]),
        ("(1/2) x 2 x 2 = 2", []),
        ("12 x 1 and 1/4 = 15, 1 1/4 = 1.25, 3 / 2 = 1 1/2, 3 / 2 = 1 and 1/2", []),
        ("12 = 12", []),
    ],
)
def test_sums_worked(text: str, found: list[tuple[tuple[str, ...], float]]) -> None:
    assert sums(text) == found


@given(numbers, st.sampled_from("+-*/"), numbers, numbers)
def test_a_sum_is_read_as_it_is_written(left: int, operator: str, right: int, result: int) -> None:
    assert sums(f"{left} {operator} {right} = {result} .") == [((str(left), operator, str(right)), result)]


@given(numbers, numbers, numbers, numbers)
def test_the_same_sum_is_corrected_by_another_result_only(left: int, right: int, first: int, second: int) -> None:
    text = f"{left} + {right} = {first} . {left} + {right} = {second} ."
    assert corrected(text) == (abs(first - second) > 0.01 * max(first, second))


@pytest.mark.parametrize(
    ("text", "rejected"),
    [
        ("4 + 9 = 14 wait <answer> 13 </answer>", True),
        ("4 + 9 = 13 wait <answer> 13 </answer>", False),
        ("4 + 9 = 14 wait 4 + 9 = 13 .", True),
        ("4 + 9 = 13 wait 4 + 9 = 13 .", False),
        ("4 - 9 = 5 wait 4 + 9 = 13 .", True),  # another sum in its place
        ("4 + 9 = 13 wait", False),  # nothing is put in its place
        ("he has 13 wait 4 + 9 = 13 .", False),  # nothing was computed
        ("9 + 4 = 13 . 13 - 4 = 9 . <answer> 13 </answer>", False),
        ("", False),
    ],
)
def test_an_attempt_that_is_computed_and_rejected(text: str, rejected: bool) -> None:
    assert taken_back(text) == rejected


OPERATORS = [
    "+",
    "- ",
    "*",
    "/",
    "\u00d7",
    "\u00b7",
    "\u00f7",
    "\u2212 ",
    "\\times ",
    "\\cdot ",
    "\\div ",
    " x ",
    "\t*  ",
    " - ",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_chain_without_an_end_is_read_in_time_linear_in_it(operator: str) -> None:
    """A quadratic reading of so many terms would take hours."""
    chain = f"3{operator}" * 60_000
    assert sums(chain) == []
    assert not taken_back(chain)
    assert sums(f"{chain}3.\n2 + 2 = 4 .") == [(("2", "+", "2"), 4.0)]


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_joins_a_chain(operator: str) -> None:
    (only,) = sums(f"3{operator}4{operator}5 = 60")
    assert only.terms[::2] == ("3", "4", "5") and only.terms[1] == only.terms[3] and only.terms[1] in "+-*/"
