import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.report.verification.difference import differing

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
)


@given(VALUES)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert list(differing("f", "", value, json.loads(json.dumps(value)))) == []


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), VALUES, min_size=1), st.data())
def test_one_changed_key_is_the_one_that_is_named(value: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    (one,) = differing("f", "p", {**value, key: "another text"}, value)
    assert (one.file, one.place, one.key, one.stated, one.derived) == ("f", "p", key, "another text", value[key])
    lacking = {name: part for name, part in value.items() if name != key}
    assert [found.key for found in differing("f", "", lacking, value)] == [key]


def test_numbers_within_the_tolerance_are_the_same() -> None:
    assert list(differing("f", "", [0.1 + 0.2, 1, 1e12], [0.3, 1.0, 1e12 + 1])) == []
    assert [one.key for one in differing("f", "", [0.3, True, "1"], [0.3 + 1e-8, 1, 1])] == ["[0]", "[1]", "[2]"]
