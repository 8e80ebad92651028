import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from reinforce_lite.config import Settings, validate
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, write_json, write_jsonl
from reinforce_lite.report import build as build_module
from reinforce_lite.report.build import build
from reinforce_lite.report.page import machines, notice
from reinforce_lite.report.runs import runs
from reinforce_lite.report.summary_model import Summary

pytestmark = pytest.mark.usefixtures("spent")

ATTACK = "<script>alert('no')</script> & <b>"
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Outline(HTMLParser):
    """Checks nesting, and collects headings, ids, addresses and captions."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tables = self.captions = 0
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        given = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        self.ids += [str(given["id"])] if "id" in given else []
        self.addresses += [str(given[key]) for key in ("href", "src", "xlink:href", "srcset") if key in given]
        self.tables += tag == "table"
        self.captions += tag == "caption"
        if given.get("role") == "img":
            self.images.append(given)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_page_is_sound(outline: Outline) -> None:
    assert outline.levels[0] == 1
    assert outline.levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(outline.levels, outline.levels[1:], strict=False))
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.captions == outline.tables >= 8
    assert all(image.get("aria-label") for image in outline.images)
    assert len(outline.images) >= 2 * 9 + 2 + 1


def test_the_page_needs_nothing_else(page: str, outline: Outline) -> None:
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)
    assert {address[1:] for address in outline.addresses if address.startswith("#")} <= set(outline.ids)
    assert "@import" not in page
    assert page.count("<script") == 1  # ours; no other would run
    assert "Content-Security-Policy" in page
    assert len(page.encode()) < 5_000_000


def test_texts_of_policies_are_escaped(page: str) -> None:
    assert ATTACK not in page
    assert "&lt;script&gt;alert(&#39;no&#39;)&lt;/script&gt; &amp; &lt;b&gt;" in page


def test_the_verdict_comes_first_and_follows_from_the_items(page: str) -> None:
    assert page.index('id="verdict"') < page.index('id="results"')
    llama, phi = re.findall(r'<article class="verdict.*?</article>', page, re.DOTALL)
    assert "50.0% → 79.2% <small>+29.2 points</small>" in llama and "Rose: 95% interval [+" in llama
    assert "50.0% → 54.2% <small>+4.2 points</small>" in phi and "No significant change: 95% interval [" in phi
    row = re.search(r'<th scope="row">random_reward, seed 0</th>.*?</tr>', page[page.index('id="results"') :])
    assert row is not None and "48.3%" in row[0] and "<td>no significant change</td>" in row[0]
    assert (
        "70.5% before and 72.5% after (+2.0 points, without an interval); that gain lies outside our interval" in page
    )


def test_the_description_and_the_notice_are_shown(page: str, ready: Settings) -> None:
    assert ready.description.replace("'", "&#39;") in page
    assert "No Llama-3.2-3B or Phi-3.5-mini weights were run for this report." in page


def test_the_first_screen_says_what_it_is_and_what_each_gain_cost(page: str, ready: Settings) -> None:
    header = page[page.index("<header>") : page.index("</header>")]
    said = (
        "tiny-llama and tiny-phi before and after reinforcement learning (leave_one_out) on word_world: greedy answers "
        "to 120 test questions, 2026-11-02."
    )
    assert said in header and f'<meta name="description" content="{said}">' in page
    llama, phi = re.findall(r'<p class="price">(.*?)</p>', page)
    # 140 + 20 + 147 + 21 s, of which 17 + 130 s of training, the killed attempt included, at $0.05 an hour
    assert "<strong>$0.0046, 5 min 28 s</strong> with start and evaluations" in llama
    assert "training alone $0.0020, 2 min 27 s." in llama and "training alone $0.0017, 2 min." in phi


def test_each_result_stands_once(page: str) -> None:
    visible = re.sub(r"<svg.*?</svg>|<details>.*?</details>", "", page, flags=re.DOTALL)
    verdict = visible[: visible.index('id="claims"')]
    for result in ("+29.2", "[+20.8, +38.3]", "+4.2", "50.0% → 79.2%"):
        assert verdict.count(result) == 1, result
    rest = re.sub(r'<table class="claims">.*?</table>', "", visible, flags=re.DOTALL)  # what each claim's runs cost
    assert rest.count("$0.0062") == 1 and rest.count("$0.0038") == 1
    assert page.count('aria-label="Change in strict accuracy') == 2, "a plot a model"


def test_an_own_experiment_speaks_of_no_article(fresh: Settings) -> None:
    written = fresh.model_dump(mode="json")
    policies = {name: {**policy, "published": None} for name, policy in written["policies"].items()}
    own = validate({**written, "policies": policies, "claims": [], "description": ""})
    build(own, fresh.folder)
    page = (fresh.folder / "report.html").read_text(encoding="utf-8")
    shown = re.sub(r"<details>.*?</details>|<script>.*?</script>|<style>.*?</style>", "", page, flags=re.DOTALL)
    assert re.findall(r"Llama|Phi-|[Aa]rticle", re.sub(r"<[^>]*>", " ", shown)) == []
    assert "What this experiment is" not in page


def test_no_zero_has_a_sign_and_no_number_an_exponent(page: str) -> None:
    shown = re.sub(
        r"<details>.*?</details>|<script>.*?</script>|<style>.*?</style>|<pre.*?</pre>", "", page, flags=re.DOTALL
    )
    shown = re.sub(r"<[^>]*>", " ", shown)
    assert re.findall(r"(?<!\w)-\$?0(?:\.0+)?(?![\d.-])", shown) == []
    assert re.findall(r"(?<![\w.])\d(?:\.\d+)?e[-+]\d+", shown) == []


def test_money_and_seconds_are_shown(page: str) -> None:
    # 140 + 20 + 17 + 130 + 120 + 21 = 448 s at $0.05 an hour: $0.00622 of $0.01
    assert "<strong>$0.0062</strong> of $0.01 spent in <strong>7 min 28 s</strong> (0.124 device hours)" in page
    assert "$0.0038 of the limit remain." in page
    assert re.search(r"train</th>.*267\.0.*250\.0.*131\.0.*-119\.0.*266\.0.*-1\.0", page)
    assert "killed" in page


def test_the_cost_of_checkpoints_is_shown(page: str) -> None:
    assert re.search(r"Of them for checkpoints.*31\.4</td><td class=\"number\">2\.6 \(7\)</td>", page, re.DOTALL)


def test_the_summary_fits_its_schema_and_comes_with_the_page(page: str, ready: Settings) -> None:
    summary = read_json(ready.folder / "summary.json")
    Summary.model_validate(summary)
    model = summary["models"]["tiny-llama"]
    assert model["discordant"]["gained"] - model["discordant"]["lost"] == 35
    assert [run["variant"] for run in model["runs"]] == ["leave_one_out", "random_reward"]
    assert not list(ready.folder.glob(".*.tmp"))


def test_answers_of_all_kinds_are_shown(page: str) -> None:
    section = page[page.index('id="completions"') :]
    found = re.findall(r'data-model="([^"]+)" data-kind="([^"]+)"', section)
    assert {model for model, _ in found} == {"tiny-llama", "tiny-phi"}
    assert {kind for _, kind in found} == {"gained", "wrong both times", "right both times"}  # none was lost here


def test_building_twice_gives_the_same_bytes(ready: Settings) -> None:
    results = []
    for _ in range(2):
        build(ready, ready.folder)
        results.append((ready.folder / "report.html").read_bytes() + (ready.folder / "summary.json").read_bytes())
    assert results[0] == results[1]


def test_nothing_spent_and_nothing_logged(fresh: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in runs(fresh, fresh.folder):
        write_jsonl(run.trained / "metrics.jsonl", [])
    monkeypatch.setattr(build_module, "attempts", lambda path: [])
    build(fresh, fresh.folder)
    text = (fresh.folder / "report.html").read_text(encoding="utf-8")
    assert "The ledger is empty" in text
    assert "No metrics were recorded." in text
    assert "not measured" in text
    assert "US dollars by stage" not in text


def test_an_evaluation_that_contradicts_its_items(fresh: Settings) -> None:
    path = fresh.folder / "baseline/tiny-phi/evaluation.json"
    write_json(path, {**read_json(path), "strict": 0.99})
    with pytest.raises(UserError, match=r"tiny-phi/evaluation.json states another strict accuracy"):
        build(fresh, fresh.folder)
    assert not (fresh.folder / "report.html").exists()


def test_an_absent_input_is_named(fresh: Settings) -> None:
    (fresh.folder / "trained/tiny-llama/leave_one_out/seed0/items.jsonl").unlink()
    with pytest.raises(UserError, match=r"leave_one_out/seed0/items.jsonl does not exist"):
        build(fresh, fresh.folder)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"repo": "meta-llama/Llama-3.2-3B-Instruct", "revision": "a" * 40}, False),
        ({"repo": "microsoft/Phi-3.5-mini-instruct", "revision": "a" * 40}, False),
        ({"repo": "meta-llama/Llama-3.2-3B-Instruct", "revision": "a" * 40, "path": "copy"}, True),
        ({"repo": "HuggingFaceTB/SmolLM2-135M-Instruct", "revision": "a" * 40}, True),
    ],
)
def test_the_notice_follows_from_the_weights(raw_config: dict[str, Any], source: dict[str, str], said: bool) -> None:
    raw_config["policies"]["tiny-llama"] = source
    assert (notice(validate(raw_config)) is not None) == said


def test_the_configuration_is_in_the_page(page: str, ready: Settings) -> None:
    assert "<summary>Configuration</summary>" in page
    shown = json.dumps(ready.model_dump(mode="json")["training"], indent=2)[1:20].strip()
    assert shown.replace('"', "&#34;") in page


def test_the_page_contradicts_itself_nowhere(page: str) -> None:
    text = " ".join(page.split())
    assert "No correction" not in text and "adjusted by Holm over the models" in text
    assert "How the answers reason" not in text
    assert 'image</th><td class="mono">unknown' not in text, "that there is no container is known"


def test_the_page_says_what_an_interval_covers_and_what_computed(page: str) -> None:
    text = " ".join(page.split())
    assert "It does not cover other training seeds, another seed of the supervised start, another machine" in text
    assert "Computed on: A CPU, as preflight saw it; instruction set not recorded." in text
    one = {"device": "AMD EPYC", "CPU capability": "AVX2"}
    origins = [{"computed_with": row} for row in (one, one, {"device": "NVIDIA H100"})]
    assert machines({"origins": origins, "machine": {}}) == ["AMD EPYC, instruction set AVX2", "NVIDIA H100"]


def test_what_another_machine_gives_depends_on_the_instructions(fresh: Settings) -> None:
    config = fresh.model_dump(mode="json")
    for chosen, said in (("native", "on the same machine; another"), ("common", "on every x86 CPU with AVX2.")):
        config["hardware"]["cpu_instructions"] = chosen
        build(validate(config), fresh.folder)
        page = (fresh.folder / "report.html").read_text(encoding="utf-8")
        assert f"The same seeds give the same numbers {said}" in page


def test_a_behaviour_that_no_answer_shows_is_no_row(page: str) -> None:
    section = page[page.index('id="traces"') : page.index('id="completions"')]
    assert re.search(r'<th scope="row">backtracking</th>', section)
    assert '0.0%</td><td class="number">0.0%</td>' not in section
    assert "Shown by no answer: verification" in " ".join(section.split())
    assert ">Precision</th>" in section
