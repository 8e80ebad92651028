import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from reinforce_lite.report import plots

numbers = st.floats(-1e6, 1e6)


def rows(values: list[float | None], key: str = "reward_mean") -> list[dict[str, float | None]]:
    return [{"step": step, key: value} for step, value in enumerate(values)]


def element(svg: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(str(svg))


def label(svg: Markup) -> str:
    return element(svg).attrib["aria-label"]


def words(svg: Markup) -> list[str]:
    return [node.text or "" for node in element(svg).iter() if node.tag.endswith("text")]


def test_moving_average_worked() -> None:
    assert plots.moving_average([2, 4, 6, 8], 3) == [2, 3, 4, 6]


@given(st.lists(numbers, min_size=1, max_size=60), st.integers(1, 70))
def test_moving_average_stays_between_the_extremes(values: list[float], window: int) -> None:
    means = plots.moving_average(values, window)
    assert len(means) == len(values)
    assert all(min(values) - 1e-6 <= mean <= max(values) + 1e-6 for mean in means)


@pytest.mark.parametrize(("steps", "window"), [(0, 1), (5, 1), (40, 4), (558, 50)])
def test_window(steps: int, window: int) -> None:
    assert plots.window_for(steps) == window


def test_no_panel_without_data() -> None:
    drawn = plots.lines([("default", 0, rows([None, None]) + rows([float("nan")]))])
    assert plots.curves("tiny", drawn) == []
    assert plots.curves("tiny", plots.lines([("default", 0, [])])) == []


def test_a_panel_says_what_it_shows() -> None:
    drawn = plots.lines([("default", 0, rows([-0.5, 0.0, 0.5])), ("random_reward", 0, rows([None]))])
    (panel,) = plots.curves("tiny", drawn)
    assert element(panel).attrib["role"] == "img"
    assert "default, seed 0 from -0.5 to 0.5" in label(panel)
    assert "random_reward" not in label(panel)
    assert "Reward" in words(panel)


def test_variants_have_their_own_looks_and_seeds_share_them() -> None:
    first, again, control = plots.lines([("a", 0, []), ("a", 1, []), ("b", 0, [])])
    assert (first.colour, first.dashes) == (again.colour, again.dashes)
    assert first.colour != control.colour
    assert first.dashes != control.dashes


def test_svg_can_stand_in_a_page() -> None:
    drawn = plots.lines([("default", 0, rows([0.1, 0.2]) + rows([0.1, 0.2], "entropy"))])
    panels = plots.curves("tiny<1>", drawn)
    ids = [found for panel in panels for found in re.findall(r'\bid="([^"]*)"', panel)]
    assert len(panels) == 2
    assert len(ids) == len(set(ids))
    for panel in panels:
        assert "<style" not in panel
        assert not {"width", "height"} & element(panel).attrib.keys()
        assert all(name in ids for name in re.findall(r"(?:url\(#|href=\"#)([^)\"]*)", panel))
    assert panels == plots.curves("tiny<1>", drawn)


def test_long_runs_are_thinned() -> None:
    (long,) = plots.curves("tiny", plots.lines([("default", 0, rows([float(i % 7) for i in range(5000)]))]))
    assert len(long) < 60_000


def test_gains_show_every_run_and_the_published_gain() -> None:
    drawn = plots.gains(
        [("default, seed 0", 0.139, 0.091, 0.187), ("random, seed 0", -0.0004, -0.02, 0.012)], 0.02, "tiny"
    )
    assert "default, seed 0 +13.9 [+9.1, +18.7]; random, seed 0 +0.0 [-2.0, +1.2]" in label(drawn)
    assert "published gain" in words(drawn)
    assert "published gain" not in words(plots.gains([("a", 0.1, 0, 0.2)], None, "tiny"))


def test_a_step_that_was_skipped_is_a_gap_and_no_spike() -> None:
    measured = rows([0.1] * 9)
    measured[4] = {"step": 4, "reward_mean": 900.0, "skipped": True}  # type: ignore[dict-item]
    (panel,) = plots.curves("tiny", plots.lines([("default", 0, measured)]))
    assert "from 0.1 to 0.1" in label(panel) and not any(word.startswith("9") for word in words(panel))
    assert len(pieces(panel, plots.COLOURS[0])) == 1 and pieces(panel, plots.COLOURS[0])[0].count("M") == 2


def test_a_step_alone_between_two_gaps_is_a_dot() -> None:
    (panel,) = plots.curves("tiny", plots.lines([("default", 0, rows([0.1, 0.2, None, 0.3, None, 0.4, 0.5]))]))
    assert (
        len(
            [node for node in element(panel).iter() if node.tag.endswith("use") and "--line-0" in node.get("style", "")]
        )
        == 1
    )


def pieces(svg: Markup, colour: str) -> list[str]:
    """The data of the lines of a colour, without their gaps' ends."""
    drawn = (node for node in element(svg).iter() if node.tag.endswith("path") and node.get("clip-path"))
    return [str(node.get("d")) for node in drawn if f"stroke: {plots.css(colour)}" in node.get("style", "")]


def test_what_is_measured_now_and_then_is_one_line() -> None:
    (panel,) = plots.curves("tiny", plots.lines([("default", 0, rows([None, 0.1, None, 0.2], "kl_to_start"))]))
    assert pieces(panel, plots.COLOURS[0])[0].count("M") == 1


def test_the_colours_are_the_pages() -> None:
    drawn = plots.gains([("default, seed 0", 0.139, 0.091, 0.187)], 0.02, "tiny")
    (panel,) = plots.curves("tiny", plots.lines([("a", 0, rows([0.1, 0.2])), ("b", 0, rows([0.1, 0.3]))]))
    for svg in (drawn, panel):
        assert element(svg).attrib["fill"] == "currentColor"
        own = re.sub(r"var\([^()]*\)", "", str(svg))
        assert re.findall(r": #[0-9a-fA-F]{3,6}", own) == [], "legible on light and dark alike"
        assert "--line-0" in svg and "--line-1" in svg


@pytest.mark.parametrize(
    ("key", "values", "axis"),
    [
        ("accuracy", [0.1, 0.2], "% of completions"),
        ("entropy", [0.4, 0.5], "nats"),
        ("length_mean", [100.0, 20_000_000.0], "tokens"),
        ("sampler_gap", [1e-9, 3e-9], "billionths of nats a token"),
        ("sampler_gap", [1e-7, 3e-7], "millionths of nats a token"),
        ("sampler_gap", [1.2e-6, 3e-6], "millionths of nats a token"),
        ("kl_to_start", [0.0, 0.004], "thousandths of nats a token"),
        ("kl_to_start", [0.0, 0.0], "nats a token"),
        ("weights_changed", [1e-6, 1e-6], "% of weights"),
    ],
)
def test_an_axis_has_a_name_a_unit_and_numbers_without_an_exponent(key: str, values: list[float], axis: str) -> None:
    (panel,) = plots.curves("tiny", plots.lines([("default", 0, rows(list(values), key))]))
    shown = words(panel)
    assert {axis, "training step"} <= set(shown)
    assert not any(re.search(r"\de|\+1|10\^", word) for word in shown), shown
    assert len(shown) == len(
        {(node.get("x"), node.get("y")) for node in element(panel).iter() if node.tag.endswith("text")}
    )


def test_the_plan_is_in_dollars() -> None:
    plan = {"low": 0.0001, "expected": 0.0002, "high": 0.0004}
    drawn = plots.planned([("train", plan, 0.0003), ("evaluate", plan, 0.0)])
    assert drawn is not None and "US dollars" in words(drawn)
    assert any(word.startswith("$0.000") for word in words(drawn))
    assert plots.planned([("train", dict.fromkeys(plan, 0.0), 0.1)]) is None
