"""The page as a person has it: in a browser, without a network."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reinforce_lite.config import Settings
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
