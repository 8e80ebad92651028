"""The export to Every Eval Ever, against the facts of its schema 0.3.0 (evaleval/every_eval_ever, MIT).

Its own JSON Schemas and its own command were tried on the tiny experiment: no error. They need Python 3.12, so what
they ask for is repeated here as far as this export uses it.
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from planted import TRAINED
from reinforce_lite.cli import main
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, read_jsonl, write_json
from reinforce_lite.report.eee import export

NOW = datetime(2026, 11, 3, tzinfo=UTC)
LOG = {
    "schema_version": str, "evaluation_id": str, "retrieved_timestamp": str, "source_metadata": dict,
    "eval_library": dict, "model_info": dict, "evaluation_results": list,
}  # fmt: skip
ITEM = {
    "schema_version": str, "evaluation_id": str, "model_id": str, "evaluation_name": str, "sample_id": str,
    "interaction_type": str, "input": dict, "answer_attribution": list, "evaluation": dict,
}  # fmt: skip
OPTIONAL = {
    "evaluation_timestamp", "detailed_evaluation_results", "evaluation_result_id", "sample_hash", "output", "messages",
    "token_usage", "performance", "error", "metadata",
}  # fmt: skip
"""Both are closed: any other key is an error."""
PLACE = re.compile(
    r"data/[^/]+/[^/]+/[^/]+/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}_samples\.jsonl"
)


def closed(value: dict[str, Any], required: dict[str, type]) -> bool:
    return (
        all(isinstance(value.get(key), kind) for key, kind in required.items())
        and not value.keys() - required.keys() - OPTIONAL
    )


def strings(value: dict[str, Any]) -> bool:
    """`additional_details` and `metadata` hold strings only."""
    return all(isinstance(one, str) for one in value.values())


@pytest.fixture(scope="module")
def made(ready: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    target = tmp_path_factory.mktemp("eee")
    return target, export(ready, target, NOW)


def test_each_evaluation_is_a_record_of_the_schema(made: tuple[Path, list[Path]]) -> None:
    paths = made[1]
    assert len(paths) == 6
    for path in paths:
        log = read_json(path)
        assert closed(log, LOG) and log["schema_version"] == "0.3.0"
        assert log["source_metadata"].keys() >= {"source_type", "source_organization_name", "evaluator_relationship"}
        assert log["source_metadata"]["source_type"] in ("documentation", "evaluation_run")
        assert log["eval_library"]["name"] == "lm_eval" and log["eval_library"]["version"] == "0.4.13"
        info = log["model_info"]
        assert info["id"].count("/") == 1 and {"name", "id", "additional_details"} <= info.keys()
        details = info["additional_details"]
        assert strings(details) and details["deployment_type"] == "self_deployed"
        assert details["model_availability"] in ("open_weights", "closed_weights", "unknown")
        assert [one["evaluation_result_id"] for one in log["evaluation_results"]] == [
            "word_world-strict", "word_world-flexible",
        ]  # fmt: skip
        for one in log["evaluation_results"]:
            assert one.keys() >= {"evaluation_name", "source_data", "metric_config", "score_details"}
            assert one["source_data"]["source_type"] == "other" and strings(one["source_data"]["additional_details"])
            assert one["metric_config"]["lower_is_better"] is False
            assert 0 <= one["score_details"]["score"] <= 1


def test_items_are_beside_it_with_their_checksum(made: tuple[Path, list[Path]], ready: Settings) -> None:
    target, paths = made
    log = next(
        log for log in map(read_json, paths) if log["model_info"]["id"].endswith("tiny-llama-leave_one_out-seed0")
    )
    details, own = log["detailed_evaluation_results"], read_jsonl(ready.folder / TRAINED / "items.jsonl")
    assert PLACE.fullmatch(details["file_path"])
    content = (target / details["file_path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == details["checksum"]
    rows = [json.loads(line) for line in content.decode().split("\n")[:-1]]
    assert details["total_rows"] == len(rows) == 2 * len(own)
    for row in rows:
        assert closed(row, ITEM) and row["interaction_type"] == "single_turn" and "messages" not in row
        assert row["evaluation_id"] == log["evaluation_id"] and row["model_id"] == log["model_info"]["id"]
        assert row["output"]["raw"] and strings(row["metadata"])
        assert isinstance(row["evaluation"]["score"], float) and isinstance(row["evaluation"]["is_correct"], bool)
    for parser, result in zip(("strict", "flexible"), log["evaluation_results"], strict=True):
        of_parser = [row for row in rows if row["evaluation_result_id"] == result["evaluation_result_id"]]
        assert [row["evaluation"]["is_correct"] for row in of_parser] == [one[parser] for one in own]
        assert sum(row["evaluation"]["score"] for row in of_parser) / len(own) == pytest.approx(
            result["score_details"]["score"]
        )
    asked = {"raw": own[0]["question"], "reference": [own[0]["answer"]]}
    recipe = json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()
    assert rows[0]["input"] == asked and rows[0]["sample_hash"] == hashlib.sha256(recipe).hexdigest()


def test_what_was_not_run_is_left_out(fresh: Settings, tmp_path: Path) -> None:
    for path in fresh.folder.rglob("evaluation.json"):
        write_json(path, {"not_run": "no money"})
    with pytest.raises(UserError, match="holds no evaluation"):
        export(fresh, tmp_path / "out", NOW)


def test_the_command_and_the_page_name_it(
    fresh: Settings, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-eee", "--config", str(fresh.folder / "config.json"), "--out", str(tmp_path / "out")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert "reinforce-lite export-eee --config results/small/config.json" in (finished / "report.html").read_text()
