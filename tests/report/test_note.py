import pytest

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json
from reinforce_lite.report import note
from reinforce_lite.report.build import build

CLAIMS = [{"verdict": "supported"}, {"verdict": "contradicted"}, {"verdict": "supported"}]


@pytest.mark.usefixtures("spent")
def test_the_note_tells_the_result(ready: Settings) -> None:
    build(ready, ready.folder)
    summary = read_json(ready.folder / "summary.json")
    text = note.markdown(summary, CLAIMS)
    assert text.startswith("**3 claims: 2 supported, 1 contradicted.** $0.0062 of $0.01 spent.")
    assert "| tiny-llama | leave_one_out, 0 | 50.0% | 79.2% | +29.2 |" in text
    assert note.figures(summary)["strict_trained/tiny-llama"] == pytest.approx(95 / 120)


def test_what_was_not_run_is_told() -> None:
    run = {"variant": "v", "seed": 0, "not_run": "no money"}
    model = {"runs": [run], "baseline": None, "trained": None}
    summary = {"cost": {"usd": 0.0, "limit_usd": 1.0}, "models": {"m": model}, "description": "A test."}
    assert "| m | v, 0 | not run | | | | |" in note.markdown(summary, CLAIMS)
    assert note.figures(summary) == {}
    assert note.markdown(summary, []).startswith("**No claims.** $0")
