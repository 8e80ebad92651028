"""Two evaluations of one policy: what differs is the floor under every change."""

from pathlib import Path

import pytest

from conftest import items, write_evaluation
from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.report.build import build
from reinforce_lite.report.noise import noise_floor
from reinforce_lite.report.verify import verify
from reinforce_lite.stages import EVALUATE_AGAIN, Job

pytestmark = pytest.mark.usefixtures("drawn_once")


@pytest.fixture
def twice(fresh: Settings) -> Settings:
    """Each policy answers twice; the second time six texts, four strict and three flexible verdicts differ."""
    settings = fresh.model_copy(update={"evaluation": fresh.evaluation.model_copy(update={"noise_floor": True})})
    write_json(settings.folder / "config.json", settings.model_dump(mode="json"))
    for offset, model in enumerate(settings.models):
        rows = items(60, offset, False)
        wrong = [row for row in rows if not row["flexible"]][:3]
        right = [row for row in rows if row["strict"]][:1]
        for row in wrong:
            row["completion"] = row["completion"].replace(f"> {int(row['answer']) - 3} <", f"> {row['answer']} <")
            row["strict"] = row["flexible"] = True
        for row in right:
            row["completion"], row["strict"] = f"it is {row['answer']}", False
        for row in [row for row in rows if not row["flexible"]][:2]:
            row["completion"] = f"well , {row['completion']}"
        write_evaluation(settings, Job(EVALUATE_AGAIN, model), rows)
    return settings


def test_what_differs_between_two_evaluations_is_counted(twice: Settings) -> None:
    found = noise_floor(twice, twice.folder, "tiny-llama", seed=0)
    assert found is not None and found["n"] == 120
    assert found["texts"]["count"] == 6
    assert found["strict"]["discordant"] == {"gained": 3, "lost": 1}
    assert found["strict"]["changed"]["share"] == pytest.approx(4 / 120)
    assert found["strict"]["changed"]["ci95"] == pytest.approx([0.0092, 0.0831], abs=1e-4)  # Clopper-Pearson, by SciPy
    assert found["strict"]["delta"] == pytest.approx(2 / 120)
    assert found["strict"]["mcnemar_p"] == pytest.approx(0.625)
    assert found["flexible"]["discordant"] == {"gained": 3, "lost": 0}


def test_the_summary_has_it_and_verify_derives_it(twice: Settings) -> None:
    build(twice, twice.folder)
    models = read_json(twice.folder / "summary.json")["models"]
    assert {row["noise_floor"]["strict"]["changed"]["count"] for row in models.values()} == {4}
    assert not differences(twice.folder)
    path = twice.folder / "again/tiny-phi/items.jsonl"
    rows = read_jsonl(path)
    rows[0]["strict"] = not rows[0]["strict"]
    write_jsonl(path, rows)
    assert "again/tiny-phi/items.jsonl" in differences(twice.folder)


def differences(folder: Path) -> str:
    return "\n".join(str(one) for check in verify(folder) for one in check.differences)


@pytest.mark.parametrize("off", ["not asked for", "the first not run", "the second not run"])
def test_without_two_evaluations_there_is_none(twice: Settings, off: str) -> None:
    place = {"the first not run": "baseline", "the second not run": "again"}.get(off)
    if place:
        write_json(twice.folder / place / "tiny-llama/evaluation.json", {"not_run": "no money"})
    evaluation = twice.evaluation.model_copy(update={"noise_floor": place is not None})
    settings = twice.model_copy(update={"evaluation": evaluation})
    assert noise_floor(settings, settings.folder, "tiny-llama", seed=0) is None
