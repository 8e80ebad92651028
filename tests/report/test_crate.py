import hashlib
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Settings, validate
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, write_json, write_jsonl
from reinforce_lite.report import build as report
from reinforce_lite.report import crate
from reinforce_lite.report.crate_entities import Graph, add_image, add_package, add_parameters
from reinforce_lite.report.crate_steps import flow
from reinforce_lite.stages import Job

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 3, 8, tzinfo=UTC)
COMMIT = "c0ffee" * 6 + "c0ff"
IMAGE = "docker://ghcr.io/lab/reinforce-lite@sha256:" + "ab" * 32 + " contents sha256:" + "cd" * 32


Entity = dict[str, Any]

VALIDATOR = Path(os.environ.get("CRATE_PYTHON") or f"{sys.prefix}/crate/bin/python")
validates = pytest.mark.skipif(not VALIDATOR.exists(), reason="the validator is not installed; make test installs it")


def events(attempts: list[Attempt]) -> list[Entity]:
    """The attempts as lines of a ledger, with the stage under its present name."""
    lines = []
    for attempt in attempts:
        stage = attempt.stage.replace("start_policy", "fetch_policy")
        who = {"id": attempt.id, "boot": "b"}
        price = {"usd_per_hour": 0.05, "price_source": "a cloud's price list", "price_date": "2026-11-01"}
        run = {"stage": stage, "model": attempt.model, "variant": attempt.variant, "seed": attempt.seed}
        process = {"host": "elsewhere", "pid": 1, "born": 0.0, "age": 0.0}
        start = (attempt.started - datetime(2026, 11, 2, tzinfo=UTC)).total_seconds()
        opened = {"event": "open", **who, "time": attempt.started.isoformat(), "clock": start}
        lines.append({**opened, **run, "device": attempt.device, "count": 1, **price, **process})
        kind = (
            {"event": "touch"}
            if attempt.outcome == "killed"
            else {"event": "close", "outcome": "finished", "error": None}
        )
        lines.append({**kind, **who, "time": attempt.ended.isoformat(), "clock": start + attempt.seconds})
    return lines


def finish(settings: Settings, attempts: list[Attempt]) -> Path:
    """The results of a finished experiment, with a ledger, origins and tokens, and its crate."""
    folder = settings.folder
    write_jsonl(folder / "ledger.jsonl", events(attempts))
    for model in settings.models:
        told = read_json(folder / "policies" / model / "policy.json")
        made_with = {"git_commit": COMMIT, "image": IMAGE}
        write_json(folder / "policies" / model / "policy.json", {**told, "made_with": made_with})
    for path in folder.glob("train/*/*/*/training.json"):
        write_json(path, {**read_json(path), "tokens": 1000})
    for name in ("budget/preflight.json", "checkpoints/train/x.pt", ".plan.lock", "config.json.7.tmp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("state, no result")
    report.build(settings, folder)
    crate.build(settings, folder, ROOT / "workflow", NOW)
    return folder


@pytest.fixture(scope="module")
def folder(ready: Settings, tried: list[Attempt]) -> Path:
    return finish(ready, tried)


@pytest.fixture(scope="module")
def entities(folder: Path) -> dict[str, Entity]:
    """What the crate says, by `@id`."""
    graph: list[Entity] = read_json(folder / crate.METADATA)["@graph"]
    found = {entity["@id"]: entity for entity in graph}
    assert len(found) == len(graph), "every entity once"
    return found


def kinds(entity: Entity) -> list[str]:
    kind = entity["@type"]
    return kind if isinstance(kind, list) else [kind]


def path(entity: Entity) -> str:
    """Where a file is in the folder."""
    return unquote(entity["@id"])


def ids(value: Any) -> list[str]:
    """What a property refers to."""
    return [part["@id"] for part in (value if isinstance(value, list) else [value])]


def usage(entities: dict[str, Entity], owner: str) -> dict[str, Any]:
    """What an execution used, by name."""
    own = (entities[identifier] for identifier in ids(entities[owner]["resourceUsage"]))
    return {entity["name"]: entity["value"] for entity in own}


def values(entities: dict[str, Entity]) -> dict[str, Any]:
    """The parameters of the run, by key."""
    own = (entities[identifier] for identifier in ids(entities["#run"]["object"]))
    return {entity["name"]: entity["value"] for entity in own if "exampleOfWork" in entity}


def validated(folder: Path, level: str) -> subprocess.CompletedProcess[str]:
    """What the official validator says of a crate."""
    script = Path(__file__).with_name("crate_validator.py")
    return subprocess.run([VALIDATOR, script, folder, level], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def issues(folder: Path) -> list[str]:
    """What it finds in this one, be it required or only recommended; it never finds nothing."""
    done = validated(folder, "RECOMMENDED")
    found = done.stdout.splitlines()
    assert found and all(issue.startswith(("REQUIRED ", "RECOMMENDED ")) for issue in found), done.stderr[-2000:]
    return found


@validates
def test_the_official_validator_finds_nothing_that_is_required(issues: list[str]) -> None:
    assert [issue for issue in issues if issue.startswith("REQUIRED")] == []


@validates
def test_what_is_recommended_is_there_but_for_what_is_not_known(issues: list[str]) -> None:
    """Who ran it, when a job without a device ended, what a killed attempt would have made.

    Beside that, the validator wants a README.md in every crate, and a web address of every command.
    """
    left = (
        "SHOULD have an agent", "SHOULD have an endTime", "#execution/2: The Action SHOULD have a result", "README.md",
        "id SHOULD be an absolute URI", "Bioschemas ComputationalWorkflow profile",
        "#run/tokens%20generated%20in%20training: A PropertyValue used to represent resourceUsage SHOULD have a unit",
        "#run/tokens%20generated%20in%20evaluation: A PropertyValue used to represent resourceUsage SHOULD have a unit",
    )  # fmt: skip
    assert [issue for issue in issues if not any(part in issue for part in left)] == []


@validates
def test_the_validator_would_find_a_fault(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    described = read_json(copy / crate.METADATA)
    graph = {entity["@id"]: entity for entity in described["@graph"]}
    del graph[crate.SNAKEFILE]["programmingLanguage"]
    del graph["#step/train"]["workExample"]
    graph["#run"]["dollars"] = 3
    write_json(copy / crate.METADATA, described)
    (copy / "summary.json").unlink()
    done = validated(copy, "REQUIRED")
    assert done.returncode == 1
    for said in (
        "must refer to its language", "must refer to its corresponding tool", "dollars",
        "does not include the Data Entity 'summary.json'",
    ):  # fmt: skip
        assert said in done.stdout, done.stdout + done.stderr[-2000:]


def test_every_file_is_there_with_its_size_and_sum(folder: Path, entities: dict[str, Entity]) -> None:
    files = [entity for entity in entities.values() if "File" in kinds(entity)]
    assert sorted(ids(entities["./"]["hasPart"])) == sorted(entity["@id"] for entity in files)
    for entity in files:
        content = (folder / path(entity)).read_bytes()
        assert int(entity["contentSize"]) == len(content), entity["@id"]
        assert entity["sha256"] == hashlib.sha256(content).hexdigest(), entity["@id"]


def test_all_results_are_files_of_the_crate_and_no_state_is(folder: Path, entities: dict[str, Entity]) -> None:
    names = {path(entity) for entity in entities.values() if "File" in kinds(entity)}
    for pattern in ("**/items.jsonl", "**/metrics.jsonl", "**/policy.json", "compare/**/*.json", "data/*", "*.html"):
        found = {path.relative_to(folder).as_posix() for path in folder.glob(pattern)}
        assert found and found <= names, pattern
    assert {"summary.json", "ledger.jsonl", "preflight.json", "workflow/Snakefile", "workflow/config.json"} <= names
    assert not any(name.startswith(("budget/", "checkpoints/", ".", "config.json")) for name in names)


def test_the_workflow_is_a_copy_that_is_whole(folder: Path) -> None:
    own = {path.relative_to(ROOT / "workflow") for path in (ROOT / "workflow").rglob("*") if path.is_file()}
    for path in own:
        assert (folder / "workflow" / path).read_bytes() == (ROOT / "workflow" / path).read_bytes()
    assert (folder / "workflow/config.json").read_bytes() == (folder / "config.json").read_bytes()
    newest = (folder / "report.html").stat().st_mtime
    assert (folder / crate.SNAKEFILE).stat().st_mtime >= newest, "else Snakemake would make it again"


def test_every_reference_has_an_entity(entities: dict[str, Entity]) -> None:
    elsewhere = ("https://w3id.org/ro/crate/1.1", "https://w3id.org/ro/terms/workflow-run#")
    for entity in entities.values():
        for key, value in entity.items():
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, dict):
                    assert part["@id"] in entities or part["@id"].startswith(elsewhere), (entity["@id"], key)
                else:
                    assert part not in (None, ""), (entity["@id"], key)


def test_which_commit_and_which_image(entities: dict[str, Entity]) -> None:
    assert entities[crate.SNAKEFILE]["version"] == COMMIT
    (image,) = ids(entities["#run"]["containerImage"])
    assert entities[image]["sha256"] == "ab" * 32
    assert (entities[image]["registry"], entities[image]["name"]) == ("ghcr.io", "lab/reinforce-lite")
    assert entities[entities[image]["identifier"]["@id"]]["value"] == "cd" * 32
    assert f"commit {COMMIT}" in entities["#execution/0"]["description"]
    assert ids(entities["#execution/0"]["containerImage"]) == [image]


def test_which_data_and_which_models(entities: dict[str, Entity]) -> None:
    assert entities["#data-source"]["name"] == "word_world"
    assert ids(entities["#execution/prepare_dataset"]["object"])[-1] == "#data-source"
    assert values(entities)["policies.tiny-phi.from_scratch.architecture"] == "phi3"


def test_which_price_and_what_it_cost(entities: dict[str, Entity]) -> None:
    # 140 + 20 + 17 + 130 + 120 + 21 s = 448 s, at $0.05 an hour
    total = usage(entities, "#run")
    assert total["device-hours"] == pytest.approx(448 / 3600)
    assert total["cost"] == pytest.approx(0.05 * 448 / 3600)
    killed = usage(entities, "#execution/2")
    assert killed == {"device-seconds": pytest.approx(17), "cost": pytest.approx(0.05 * 17 / 3600)}
    price = entities[entities["#execution/2/cost"]["valueReference"]["@id"]]
    assert price["value"] == 0.05 and "a cloud's price list, 2026-11-01" in price["description"]
    spent = [usage(entities, name)["cost"] for name in entities if name.removeprefix("#execution/").isdigit()]
    assert len(spent) == 6 and sum(spent) == pytest.approx(total["cost"])


def test_how_many_seeds_steps_and_tokens(folder: Path, entities: dict[str, Entity]) -> None:
    said = values(entities)
    assert said["seeds"] == 0 and said["training.steps"] == 40 and said["models"] == ["tiny-llama", "tiny-phi"]
    assert said["training_variants.random_reward.reward"] == "random"
    assert entities["#bootstrap-seed"]["value"] == 0
    tokens = usage(entities, "#run")
    assert tokens["tokens generated in training"] == 4000  # 2 models x 2 variants
    lengths = [json.loads(line)["length"] for path in folder.rglob("items.jsonl") for line in path.open()]
    assert len(lengths) == 720 and tokens["tokens generated in evaluation"] == sum(lengths)


def test_attempts_are_executions_and_the_last_has_the_results(entities: dict[str, Entity]) -> None:
    name = "train/tiny-llama/leave_one_out/seed0"
    killed, finished = entities["#execution/2"], entities["#execution/3"]
    assert ids(entities[f"#job/{name}"]["object"]) == ["#execution/2", "#execution/3"]
    assert killed["actionStatus"].endswith("/FailedActionStatus") and killed["error"] == "killed"
    assert finished["actionStatus"].endswith("/CompletedActionStatus") and "error" not in finished
    assert "result" not in killed
    made = ("completions.jsonl", "metrics.jsonl", "policy.json", "training.json", "weights/model.safetensors")
    assert set(ids(finished["result"])) >= {f"{name}/{file}" for file in made}
    assert "policies/tiny-llama/policy.json" in ids(finished["object"])
    seconds = datetime.fromisoformat(finished["endTime"]) - datetime.fromisoformat(finished["startTime"])
    assert seconds == timedelta(seconds=130)
    assert entities["#run"]["startTime"] == "2026-11-02T09:30:00.000+00:00"


def test_what_was_not_executed_is_no_step(entities: dict[str, Entity]) -> None:
    steps = [entities[step]["name"] for step in ids(entities[crate.SNAKEFILE]["step"])]
    assert "preflight" not in steps, "this ledger has none"
    assert steps == [
        "prepare_dataset", "fetch_policy", "evaluate_baseline", "train", "evaluate_trained", "compare", "report",
    ]  # fmt: skip
    executed = {entity["instrument"]["@id"] for entity in entities.values() if "CreateAction" in kinds(entity)}
    assert set(ids(entities[crate.SNAKEFILE]["hasPart"])) == executed - {crate.SNAKEFILE}


def test_the_same_files_give_the_same_crate(folder: Path, ready: Settings) -> None:
    first = (folder / crate.METADATA).read_bytes()
    crate.build(ready, folder, ROOT / "workflow", NOW)
    assert (folder / crate.METADATA).read_bytes() == first


def test_what_was_not_run_does_not_break_it(
    fresh: Settings, tried: list[Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(fresh, tried)
    folder, reason = fresh.folder, {"not_run": "no money left"}
    run = "tiny-phi/leave_one_out/seed0"
    write_json(folder / f"trained/{run}/evaluation.json", reason)
    write_jsonl(folder / f"trained/{run}/items.jsonl", [])
    write_json(folder / f"train/{run}/training.json", reason)
    write_jsonl(folder / f"train/{run}/metrics.jsonl", [])
    monkeypatch.setattr(crate, "attempts", lambda path: [])
    crate.build(fresh, folder, ROOT / "workflow", NOW)
    found = {entity["@id"]: entity for entity in read_json(folder / crate.METADATA)["@graph"]}
    assert "startTime" not in found["#run"] and "#job/train/" + run not in found
    assert usage(found, "#run")["tokens generated in training"] == 3000


def test_a_folder_without_a_snakefile_is_named(fresh: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--workflow: .*nowhere holds no Snakefile"):
        crate.build(fresh, fresh.folder, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"summary\.json does not exist"):
        crate.build(fresh, fresh.folder, ROOT / "workflow")
    assert not (fresh.folder / "workflow").exists()


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("docker://a/b@sha256:" + "1" * 64, {"registry": "docker.io", "name": "a/b", "sha256": "1" * 64}),
        ("docker://a/b:0.1.0-cpu", {"registry": "docker.io", "name": "a/b", "tag": "0.1.0-cpu"}),
        ("docker://localhost:5000/a/b:2", {"registry": "localhost:5000", "name": "a/b", "tag": "2"}),
        ("reinforce-lite:0.1.0-cpu", {"name": "reinforce-lite", "tag": "0.1.0-cpu"}),
        ("/images/reinforce-lite-cpu.sif", {"name": "reinforce-lite-cpu.sif"}),
        ("unnamed contents sha256:" + "2" * 64, {"name": "unnamed"}),
    ],
)
def test_images(image: str, told: Entity) -> None:
    graph = Graph()
    reference = add_image(graph, image)
    (entity,) = (part for part in graph.entities() if part["@id"] == reference["@id"])
    assert {key: entity.get(key) for key in ("registry", "name", "tag", "sha256")} == {
        "registry": None, "tag": None, "sha256": None, **told,
    }  # fmt: skip
    assert entity["additionalType"]["@id"].endswith("SIFImage" if ".sif" in image else "DockerImage")


def test_sources_on_the_hub_have_their_revision(
    fresh: Settings, tried: list[Attempt], raw_config: dict[str, Any]
) -> None:
    folder = finish(fresh, tried)
    repo, revision = "meta-llama/Llama-3.2-3B-Instruct", "0" * 40
    raw_config["policies"]["tiny-llama"] = {"repo": repo, "revision": revision}
    summary = read_json(folder / "summary.json")
    summary["provenance"]["revisions"] = {
        "data": {"dataset": "gsm8k", "repo": "openai/gsm8k", "revision": "1" * 40},
        "models": {"tiny-llama": {"source": repo, "revision": revision}},
    }
    write_json(folder / "summary.json", summary)
    crate.build(validate(raw_config), folder, ROOT / "workflow", NOW)
    found = {entity["@id"]: entity for entity in read_json(folder / crate.METADATA)["@graph"]}
    data = f"https://huggingface.co/datasets/openai/gsm8k/tree/{'1' * 40}"
    model = f"https://huggingface.co/{repo}/tree/{revision}"
    assert found[data]["version"] == "1" * 40 and data in ids(found["#execution/prepare_dataset"]["object"])
    assert found[model]["version"] == revision and {data, model} <= set(ids(found["#run"]["object"]))
    assert model in ids(found["#execution/0"]["object"]), "of tiny-llama's fetch_policy"


def test_parameters_are_the_keys_that_are_used(fresh: Settings) -> None:
    graph = Graph()
    slots, own = add_parameters(graph, fresh)
    found = {entity["@id"]: entity for entity in graph.entities()}
    assert [found[value["@id"]]["exampleOfWork"] for value in own] == slots
    told = {found[slot["@id"]]["name"]: found[slot["@id"]] for slot in slots}
    assert told["training.steps"] == {
        "@id": "#parameter/training.steps", "@type": "FormalParameter", "name": "training.steps",
        "additionalType": "Integer",
        "description": "Policy-gradient steps; 0 trains nothing, for a control by the prompt alone.",
    }  # fmt: skip
    assert told["training.shuffle"]["additionalType"] == "Boolean" and told["seeds"]["additionalType"] == "Integer"
    assert told["hardware.price_date"]["additionalType"] == "Text"
    assert not {"results", "description", "tracking.uri", "container.image"} & told.keys()


def test_a_package_is_named_as_the_index_names_it() -> None:
    graph = Graph()
    assert add_package(graph, "torch", "2.13.0+cpu") == {"@id": "https://pypi.org/project/torch/2.13.0/"}
    assert graph.entities()[0]["softwareVersion"] == "2.13.0+cpu"


def test_the_flow_of_a_run_stays_within_its_own_folders() -> None:
    reads, writes = flow(Job("train", "m", "v", 1))
    assert reads == ["workflow/config.json", "policies/m/policy.json", "data/train.jsonl"]
    assert "train/m/v/seed1/metrics.jsonl" in writes
    assert all(path.startswith("train/m/v/seed1/") for path in writes)
    assert flow(Job("of_a_later_version", "m")) == (["workflow/config.json"], [])
