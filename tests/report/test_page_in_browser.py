"""The page as a person has it: in a browser, without a network."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reinforce_lite.config import Settings
from reinforce_lite.report import plots
from reinforce_lite.report.page import ANSWERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="CHROMIUM names no browser, and none is on PATH")

VIEWS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1400, "height": 900}},
    "narrow": {"viewport": {"width": 390, "height": 844}},
    "dark": {"viewport": {"width": 1400, "height": 900}, "color_scheme": "dark"},
}


@pytest.fixture(scope="module", params=["small", "tiny"])
def report(page: str, ready: Settings, request: pytest.FixtureRequest) -> Path:
    """A finished page: that of the small folder, and that of a real run."""
    if request.param == "small":
        return ready.folder / "report.html"
    if "TINY_RESULTS" not in os.environ:
        pytest.skip("TINY_RESULTS names no folder of a finished `make tiny`")
    return Path(os.environ["TINY_RESULTS"]) / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture
def tab(browser: "Browser", report: Path, request: pytest.FixtureRequest) -> Iterator["Page"]:
    """The page, open; it has logged nothing and asked for nothing but itself."""
    opened = browser.new_page(**VIEWS[getattr(request, "param", "wide")])
    logged: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: logged.append(message.text))
    opened.on("pageerror", lambda error: logged.append(str(error)))
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.goto(report.as_uri())
    yield opened
    opened.close()
    assert logged == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]


def visible(tab: "Page") -> int:
    return tab.locator("#gallery > article:visible").count()


def test_the_gallery_can_be_filtered(tab: "Page") -> None:
    every = tab.locator("#gallery > article")
    assert visible(tab) == ANSWERS < every.count()
    tab.get_by_role("button", name="Show more").click()
    assert visible(tab) == min(2 * ANSWERS, every.count())
    for kind in ("gained", "wrong both times"):
        tab.get_by_label("Outcome").select_option(kind)
        count = tab.locator(f"#gallery > article[data-kind='{kind}']").count()
        assert visible(tab) == min(ANSWERS, count) > 0
        assert tab.locator(f"#gallery > article[data-kind='{kind}']:visible").count() == visible(tab)
        assert tab.locator("#gallery-count").text_content() == f"{visible(tab)} of {count} shown"
    tab.get_by_label("Outcome").select_option("")
    tab.get_by_label("Model").select_option("tiny-phi")
    assert tab.locator("#gallery > article[data-model='tiny-llama']:visible").count() == 0 < visible(tab)


def test_behaviours_and_words_are_found(tab: "Page") -> None:
    side = tab.get_by_label("shown by")
    assert side.is_disabled()
    tab.locator("select[name='behaviour']").select_option("backtracking")
    side.select_option("gained")
    found = tab.locator("#gallery > article:visible")
    fit = "#gallery > article[data-after~='backtracking']:not([data-before~='backtracking'])"
    assert visible(tab) == min(ANSWERS, tab.locator(fit).count())
    assert all("backtracking" in (card.get_attribute("data-after") or "") for card in found.all())
    tab.get_by_label("Words").fill("no such words")
    assert visible(tab) == 0
    assert tab.locator("#gallery-count").text_content() == "0 of 0 shown"


def test_a_keyboard_is_enough(tab: "Page") -> None:
    tab.get_by_role("button", name="Show more").focus()
    tab.keyboard.press("Enter")
    assert visible(tab) > ANSWERS
    assert tab.evaluate("document.activeElement.tagName") == "PRE"


@pytest.mark.parametrize("tab", VIEWS, indirect=True)
def test_axe_finds_nothing_serious(tab: "Page") -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab).response["violations"]
    assert [
        (each["id"], each["nodes"][0]["target"]) for each in found if each["impact"] in ("serious", "critical")
    ] == []


@pytest.mark.parametrize("tab", VIEWS, indirect=True)
def test_nothing_sticks_out(tab: "Page", request: pytest.FixtureRequest) -> None:
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    keep(tab, request.node.callspec.id)


def test_it_prints(tab: "Page", request: pytest.FixtureRequest) -> None:
    tab.emulate_media(media="print")
    assert not tab.locator("nav").is_visible()
    assert not tab.locator("#gallery-filter").is_visible()
    name = f"{request.node.callspec.id}-print"
    keep(tab, name)
    if folder := os.environ.get("SCREENSHOTS"):
        tab.pdf(path=Path(folder) / f"report-{name}.pdf", format="A4")


def test_no_table_is_wider_than_a_printed_page(tab: "Page") -> None:
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 718, "height": 1000})  # A4 less 1 cm on either side, at 96 dots an inch
    too_wide = """() => [...document.querySelectorAll("table")].filter(
        table => table.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    ).map(table => table.querySelector("caption").textContent.slice(0, 60))"""
    assert tab.evaluate(too_wide) == []


def test_the_verdict_fits_on_two_printed_pages(tab: "Page") -> None:
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 718, "height": 1046})  # A4 less 1 cm on every side
    assert tab.evaluate("document.querySelector('.rest').getBoundingClientRect().top + scrollY") <= 2 * 1046
    assert tab.evaluate("getComputedStyle(document.querySelector('.rest')).breakBefore") == "page"
    assert tab.locator("details[open]").count() == 0, "what is folded stays so"


@pytest.mark.parametrize("tab", ["wide", "narrow"], indirect=True)
def test_a_table_that_can_be_scrolled_says_so(tab: "Page") -> None:
    for summary in tab.locator("summary").all():
        summary.click()
    first = tab.viewport_size
    assert first is not None
    for width, scrolling in ((first["width"], first["width"] < 1000), (1000, True)):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.wait_for_timeout(200)  # until the observer was called
        told = tab.evaluate("""() => [...document.querySelectorAll(".scroll")].map(box => [
            box.scrollWidth > box.clientWidth, getComputedStyle(box.previousElementSibling).display !== "none"])""")
        assert all(scrolls == hinted for scrolls, hinted in told)
        assert any(scrolls for scrolls, _ in told) == scrolling


OVERLAPPING = """() => [...document.querySelectorAll("svg[role=img]")].flatMap(svg => {
    const words = [...svg.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
    return words.flatMap(([word, a], at) => words.slice(at + 1).filter(([, b]) =>
        a.left < b.right && b.left < a.right && a.top + 1 < b.bottom && b.top + 1 < a.bottom
    ).map(([other]) => [svg.getAttribute("aria-label").slice(0, 40), word, other]));
})"""


@pytest.mark.parametrize("tab", VIEWS, indirect=True)
def test_no_two_words_of_a_plot_lie_on_each_other(tab: "Page") -> None:
    assert tab.evaluate(OVERLAPPING) == []


def test_words_of_money_and_gains_have_room_whatever_their_range(browser: "Browser", tmp_path: Path) -> None:
    ranges = [digits * 10.0**power for power in range(-5, 3) for digits in (1, 1.5, 2.1, 3.3, 4.7, 6.9, 8.2)]
    drawn = []
    for at, most in enumerate(ranges):
        plan = {"low": most / 2, "expected": most, "high": most}
        drawn.append(plots.planned([("evaluation of baselines", plan, most / 3)] * 3, f"plan-{at}"))
        change = min(most, 0.9)
        drawn.append(plots.gains([("random_reward, seed 1", change, -change, 1.1 * change)] * 2, None, f"gain-{at}"))
    page = tmp_path / "plots.html"
    page.write_text("<!doctype html><body style='font: 16px sans-serif'>" + "".join(map(str, drawn)), encoding="utf-8")
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    tab.goto(page.as_uri())
    assert tab.locator("svg[role=img]").count() == len(drawn)
    assert tab.evaluate(OVERLAPPING) == []
    tab.close()


@pytest.mark.parametrize("tab", VIEWS, indirect=True)
def test_plots_follow_light_and_dark(tab: "Page", request: pytest.FixtureRequest) -> None:
    colours = """() => [...document.querySelectorAll("figure svg[role=img] text")].map(text =>
        [getComputedStyle(text).fill, getComputedStyle(text.closest("figure").parentElement).color])"""
    found = tab.evaluate(colours)
    assert found and all(fill == ink for fill, ink in found)
    ground = tab.evaluate("getComputedStyle(document.querySelector('figure')).backgroundColor")
    assert (ground != "rgb(255, 255, 255)") == ("dark" in request.node.callspec.id)


def test_no_script_but_ours_runs(browser: "Browser", report: Path, tmp_path: Path) -> None:
    planted = tmp_path / "planted.html"
    text = report.read_text(encoding="utf-8").replace("</main>", "<script>document.title = 'planted'</script></main>")
    planted.write_text(text, encoding="utf-8")
    tab = browser.new_page()
    tab.goto(planted.as_uri())
    assert tab.title() != "planted"
    assert visible(tab) == ANSWERS
    tab.close()


def keep(tab: "Page", name: str) -> None:
    """A picture for people, where SCREENSHOTS says."""
    if folder := os.environ.get("SCREENSHOTS"):
        tab.screenshot(path=Path(folder) / f"report-{name}.png", full_page=True)
