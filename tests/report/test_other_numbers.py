"""The report tells what computed each result, and where one went on with something else."""

import pytest

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json, write_json
from reinforce_lite.report.build import build
from reinforce_lite.stages import Layout

pytestmark = pytest.mark.usefixtures("spent")


def test_what_computed_a_result_and_what_the_user_accepted_is_told(fresh: Settings) -> None:
    layout, model = Layout.of(fresh), fresh.models[0]
    for folder, computed, more in (
        (layout.evaluation(model), {"torch": "2.9.0", "CPU capability": "AVX512"}, {}),
        (
            layout.evaluation(model, fresh.variants[0], 0),
            {"torch": "2.11.0", "CPU capability": "AVX2"},
            {"other_numbers": [{"after": 7, "changed": {"torch": ["2.9.0", "2.11.0"]}}]},
        ),
    ):
        path = folder / "evaluation.json"
        write_json(path, {**read_json(path), "computed_with": computed, **more})
    build(fresh, fresh.folder)
    page = (fresh.folder / "report.html").read_text()
    assert "AVX512" in page and "AVX2&#34;" in page
    assert "accepted by the user: it went on after 7 with torch 2.11.0 instead of 2.9.0" in page
    origins = read_json(fresh.folder / "summary.json")["provenance"]["origins"]
    assert [origin["computed_with"]["torch"] for origin in origins if "computed_with" in origin] == ["2.9.0", "2.11.0"]
