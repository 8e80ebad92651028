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
    drawn = plots.gains([("default, seed 0", 13.9, 9.1, 18.7), ("random, seed 0", -0.4, -2.0, 1.2)], 2.0, "tiny")
    assert "default, seed 0 +13.9 [+9.1, +18.7]; random, seed 0 -0.4 [-2.0, +1.2]" in label(drawn)
    assert "published gain" in words(drawn)
    assert "published gain" not in words(plots.gains([("a", 1, 0, 2)], None, "tiny"))


def stage(usd: float) -> dict[str, float]:
    return {"usd": usd, "device_hours": 1.0, "attempts": 1}


def test_costs_draw_the_limit_where_it_is_on_the_scale() -> None:
    near = plots.costs({"train": stage(6.0), "evaluate": stage(1.5)}, 10.0)
    assert near is not None
    assert {"limit $10.00", "$7.50", "all stages"} <= set(words(near))
    far = plots.costs({"train": stage(0.003)}, 10.0)
    assert far is not None
    assert "limit $10.00" not in words(far)
    assert any("limit $10.00: off the scale" in text for text in words(far))


def test_costs_of_nothing_are_not_drawn() -> None:
    assert plots.costs({}, 10.0) is None
    assert plots.costs({"train": stage(0.0)}, 10.0) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "$0.00"),
        (0.00213, "$0.0021"),
        (0.1, "$0.10"),
        (0.000499, "$0.00050"),
        (-0.0000012, "-$0.0000012"),
        (1234.5, "$1,234.50"),
        (0.05, "$0.05"),
        (-0.0512, "-$0.0512"),
    ],
)
def test_usd(value: float, text: str) -> None:
    assert plots.usd(value) == text
