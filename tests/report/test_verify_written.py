"""Frauds in what the report wrote, and what looks like one and is none."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from planted import TRAIN, TRAINED, change_line, change_row, found, named
from reinforce_lite.cli import main
from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.report import build as build_module
from reinforce_lite.report import traces
from reinforce_lite.report import verify as module
from reinforce_lite.report.build import build
from reinforce_lite.report.verification import page
from reinforce_lite.report.verification.difference import Check
from reinforce_lite.report.verify import agree, verified, verify


def test_a_page_that_shows_the_derived_point_is_not_accused(folder: Path) -> None:
    change_row(folder / TRAIN / "metrics.jsonl", 12, lambda row: {"reward_mean": 1.0})
    assert {one.file for one in found(folder)} == {f"{TRAIN}/metrics.jsonl"}


def test_a_point_that_cannot_be_derived_is_in_the_page_too(folder: Path) -> None:
    change_row(folder / TRAIN / "metrics.jsonl", 12, lambda row: {"entropy": 0.9})
    told = [one for one in found(folder) if one.file == "report.html"]
    assert told and all(one.place.startswith("line ") for one in told), "the page itself is as it was written"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["models", "tiny-llama", "trained", "strict"], 0.99),
        (["models", "tiny-phi", "runs", 1, "ci95", 0], -0.5),
        (["models", "tiny-llama", "discordant", "gained"], 36),
        (["cost", "usd"], 0.001),
        (["cost", "by_stage", "train", "attempts"], 2),
        (["cost", "idle_hours"], 0.5),
        (["cost", "attempts", 3, "seconds"], 1.0),
        (["cost", "per_point", 0, "usd_per_point"], 0.0),
        (["cost", "reconciliation", 2, "snakemake"], 1.0),
        (["provenance", "seeds", "task"], 7),
        (["provenance", "sums", "test.jsonl"], "0" * 64),
        (["experiment"], "another"),
    ],
)
def test_a_number_of_the_summary(folder: Path, path: list[Any], value: Any) -> None:
    summary = read_json(folder / "summary.json")
    place = summary
    for key in path[:-1]:
        place = place[key]
    assert place[path[-1]] != value
    place[path[-1]] = value
    write_json(folder / "summary.json", summary)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    assert named(folder) == {("summary.json", "", key)}


def test_a_digit_of_the_page(folder: Path) -> None:
    path = folder / "report.html"
    text = path.read_text(encoding="utf-8")
    number = next(n for n, line in enumerate(text.split("\n")) if "79.2%" in line)
    change_line(path, number, "79.2%", "89.2%")
    assert named(folder) >= {("report.html", "", "SHA-256")}
    line = next(one for one in found(folder) if one.place)
    assert line.place == f"line {number + 1}" and "89.2%" in line.stated and "79.2%" in line.derived
    assert {one.file for one in found(folder)} == {"report.html"}


def test_a_point_of_a_plot_in_the_page(folder: Path) -> None:
    path = folder / "report.html"
    lines = path.read_text(encoding="utf-8").split("\n")
    number = next(n for n, line in enumerate(lines) if line.startswith("L ") and "." in line)
    change_line(path, number, lines[number], "L 100.5 20.25 ")
    assert {(one.file, one.place) for one in found(folder)} == {
        ("report.html", ""),
        ("report.html", f"line {number + 1}"),
    }


def of_page(folder: Path) -> Check:
    return next(check for check in verify(folder) if check.name == "page")


def test_a_page_of_another_version_is_not_called_a_fraud(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "page_of", lambda *arguments: "<p>another page</p>")
    assert not agree(verify(folder)), "the same version must make the same page"
    monkeypatch.setattr(page, "origin", lambda: {"git_commit": "f" * 40, "image": None})
    checks = verify(folder)
    assert agree(checks) and not verified(checks)
    assert any("made by commit" in why and "could not be compared" in why for why in of_page(folder).unverified)
    monkeypatch.undo()
    monkeypatch.setattr(build_module, "page_of", lambda *arguments: "<p>another page</p>")
    monkeypatch.setattr(page, "version_of", lambda package: "99")
    assert agree(verify(folder)) and "this is 99" in of_page(folder).unverified[-1]
    change_line(folder / "report.html", 0, "<!doctype html>", "<!doctype HTML>")
    assert named(folder) == {("report.html", "", "SHA-256")}, "but a changed one is"


def test_plots_of_another_machine_are_not_called_a_fraud(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = build_module.page_of
    monkeypatch.setattr(build_module, "page_of", lambda *arguments: made(*arguments).replace("L 1", "L 2"))
    checks = verify(folder)
    assert agree(checks) and verified(checks)
    assert any("on this machine" in note for note in of_page(folder).notes)


def test_words_in_a_plot_are_no_matter_of_the_machine(folder: Path) -> None:
    """The sum of the page is made anew with it, so that only the lines can tell."""
    path = folder / "report.html"
    page = path.read_text(encoding="utf-8")
    path.write_text(page.replace("</svg>", '<text x="9" y="9">+20 points</text></svg>', 1), encoding="utf-8")
    summary = read_json(folder / "summary.json")
    summary["provenance"]["files"]["report.html"] = sha256_file(path)
    write_json(folder / "summary.json", summary)
    assert any(one.file == "report.html" and "+20 points" in str(one.stated) for one in found(folder))


def test_results_of_an_earlier_version_are_not_accused(folder: Path, ready: Settings) -> None:
    for path in (*folder.rglob("evaluation.json"), *folder.rglob("training.json")):
        write_json(path, {key: value for key, value in read_json(path).items() if key != "sums"})
    for path in folder.rglob("completions.jsonl"):
        write_jsonl(path, [{k: v for k, v in row.items() if k != "truncated"} for row in read_jsonl(path)])
    build(ready, folder)
    summary = read_json(folder / "summary.json")
    del summary["provenance"]["manifest"]
    (folder / "manifest.sha256").unlink()
    for section, keys in module._SINCE.items():
        for key in keys:
            del summary[section][key]
    write_json(folder / "summary.json", summary)
    assert {one.file for one in found(folder) if one.key == "sums"} >= {"summary.json", "report.html"}, (
        "of this version"
    )
    summary["provenance"]["versions"]["reinforce-lite"] = "0.0.1"
    write_json(folder / "summary.json", summary)
    checks = verify(folder)
    assert [str(one) for check in checks for one in check.differences] == []
    assert not verified(checks)
    with pytest.raises(SystemExit) as exit:
        main(["verify", str(folder)])
    assert exit.value.code == 3
    lacking = {check.name for check in checks if any("no sums" in why for why in check.unverified)}
    assert lacking == {"evaluations", "trainings", "files", "page"}
    # What can be derived is looked at all the same.
    change_row(folder / TRAINED / "items.jsonl", 17, lambda row: {"strict": not row["strict"]})
    assert (f"{TRAINED}/items.jsonl", "line 18 (test-17)", "strict") in named(folder)


def test_traces_of_an_earlier_version_are_not_accused(folder: Path) -> None:
    traces = read_json(folder / "traces.json")
    runs = [{**run, "within_question": {"completions": 320}} for run in traces["runs"]]
    write_json(folder / "traces.json", {**traces, "runs": runs})
    assert found(folder) == []
    runs[0]["contrast"]["n"] = 121
    write_json(folder / "traces.json", {**traces, "runs": runs})
    assert named(folder) == {("traces.json", "", "runs[0].contrast.n")}


def test_sums_that_were_taken_out_of_the_summary(folder: Path) -> None:
    summary = read_json(folder / "summary.json")
    del summary["provenance"]["ledger"]
    write_json(folder / "summary.json", summary)
    assert ("summary.json", "", "provenance.ledger") in named(folder)


def test_from_another_folder_the_page_is_the_same(
    folder: Path, ready: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A written configuration says `results: results`, and so does the page, wherever verify is called."""
    written, place = ready.model_copy(update={"results": Path("results")}), tmp_path / "home/results/small"
    shutil.copytree(folder, place)
    write_json(place / "config.json", written.model_dump(mode="json"))
    build(written, place)
    monkeypatch.chdir("/")
    assert [str(one) for one in found(place)] == []


def test_behaviours_by_other_detectors_come_with_the_version_that_counted_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "behaviours", lambda text: frozenset({"tables"} if "8" in text else ()))
    (claims,) = (check for check in verify(folder) if check.name == "claims")
    assert claims.differences and not claims.notes, "the same version must count the same"
    monkeypatch.setattr(page, "origin", lambda: {"git_commit": "f" * 40, "image": None})
    (claims,) = (check for check in verify(folder) if check.name == "claims")
    assert claims.differences and "made by commit" in claims.notes[0] and "detectors" in claims.notes[0]
