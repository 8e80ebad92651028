"""Every fraud that somebody has thought of, in one table: each is named, or listed as undetectable with the reason.

A row plants one fraud in a finished folder, with its crate and its manifest. `rebuilt` rows make report, crate and
manifest again afterwards, as a forger would who has this program.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import config, write_folder
from planted import COMPARE, TRAIN, TRAINED, change_row
from reinforce_lite.budget import chain
from reinforce_lite.config import validate
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.io.provenance import sha256_file, sums
from reinforce_lite.report import crate, manifest
from reinforce_lite.report.build import build
from reinforce_lite.report.compare import compare
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.report.verify import verify

BASE = "baseline/tiny-llama"
START = "policies/tiny-llama"
WEIGHTS = f"{TRAIN}/weights/model.safetensors"
PROBE = f"{TRAINED}/items.jsonl"


def chained(path: Path) -> None:
    """Write a ledger's rows with their chain, as its writer does, and the head beside it."""
    before, lines = b"", []
    for row in read_jsonl(path):
        row.pop("chain", None)
        line, last = chain.chained(before, json.dumps(row).encode())
        lines.append(line)
        before = last.encode()
    path.write_bytes(b"".join(lines))
    chain.write_head(path, chain.Head(path.stat().st_size, before.decode()))


def heads(folder: Path) -> None:
    """Give every result the head of the ledger."""
    known = chain.head(folder / "ledger.jsonl")
    assert known is not None
    for name in ("evaluation.json", "training.json", "policy.json"):
        for path in folder.rglob(name):
            write_json(path, {**read_json(path), "ledger": known._asdict()})


def rebuilt(folder: Path, mlflow_train: float = 266.0) -> None:
    """Make report, crate and manifest of what is there."""
    settings = validate(read_json(folder / "config.json"))
    build(settings, folder, {"train": mlflow_train})
    crate.build(settings, folder, folder.parent / "workflow")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, drawn_once: None) -> Path:
    place = tmp_path_factory.mktemp("frauds")
    settings = validate(config(place))
    write_folder(settings, settings.folder)
    chained(settings.folder / "ledger.jsonl")
    heads(settings.folder)
    (place / "workflow").mkdir()
    (place / "workflow/Snakefile").write_text("rule all\n")
    rebuilt(settings.folder)
    return settings.folder


@pytest.fixture
def folder(honest: Path, tmp_path: Path, drawn_once: None) -> Path:
    shutil.copytree(honest.parent / "workflow", tmp_path / "workflow")
    return Path(shutil.copytree(honest, tmp_path / "small"))


Plant = Callable[[Path], Any]


def record(name: str, *path: str | int, value: Any) -> Plant:
    """Set one value of a JSON file."""

    def plant(folder: Path) -> None:
        content = place = read_json(folder / name)
        for key in path[:-1]:
            place = place[key]
        assert place.get(path[-1]) != value if isinstance(place, dict) else place[path[-1]] != value
        place[path[-1]] = value
        write_json(folder / name, content)

    return plant


def lacking(name: str, *path: str) -> Plant:
    """Take a key out of a JSON file."""

    def plant(folder: Path) -> None:
        content = place = read_json(folder / name)
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        write_json(folder / name, content)

    return plant


def row(name: str, number: int, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Plant:
    return lambda folder: change_row(folder / name, number, change)


def rows(name: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Plant:
    return lambda folder: write_jsonl(folder / name, change(read_jsonl(folder / name)))


def text(name: str, old: str, new: str) -> Plant:
    def plant(folder: Path) -> None:
        content = (folder / name).read_text(encoding="utf-8")
        assert old in content
        (folder / name).write_text(content.replace(old, new, 1), encoding="utf-8")

    return plant


def resummed(folder: Path) -> None:
    """Make the sums anew that stand beside results."""
    for path in folder.rglob("evaluation.json"):
        write_json(path, {**read_json(path), "sums": sums(path.parent / "items.jsonl")})
    for path in folder.rglob("training.json"):
        own = sums(path.parent / "metrics.jsonl", path.parent / "completions.jsonl")
        write_json(path, {**read_json(path), "sums": own})
    data = folder / "data"
    told = read_json(data / "manifest.json")
    write_json(data / "manifest.json", {**told, "sha256": sums(*(data / name for name in told["sha256"]))})
    for path in (folder / "policies").rglob("policy.json"):
        write_json(path, {**read_json(path), "sums": sums(path.parent / "start.jsonl")})


def recompared(folder: Path) -> None:
    sides = (folder / BASE / "items.jsonl", folder / TRAINED / "items.jsonl")
    figures = compare(*sides, resamples=500, seed=BOOTSTRAP_SEED)
    write_json(folder / COMPARE, {**read_json(folder / COMPARE), **figures})


def then(*steps: Plant) -> Plant:
    def plant(folder: Path) -> None:
        for step in steps:
            step(folder)

    return plant


def again(*steps: Plant) -> Plant:
    """Plant, make all sums anew, and rebuild report, crate and manifest."""
    return then(*steps, resummed, rebuilt)


def configured(*path: str, value: Any) -> Plant:
    """Change config.json, and rebuild."""
    return then(record("config.json", *path, value=value), rebuilt)


def copied(source: str, target: str) -> Plant:
    return lambda folder: shutil.copyfile(folder / source, folder / target)


def deleted(name: str) -> Plant:
    def plant(folder: Path) -> None:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()

    return plant


def one_byte(name: str) -> Plant:
    def plant(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[3] ^= 1
        (folder / name).write_bytes(content)

    return plant


def doubled(folder: Path) -> None:
    """Advantages and the sums over them."""
    rows(f"{TRAIN}/completions.jsonl", lambda own: [{**one, "advantage": 2 * one["advantage"]} for one in own])(folder)


def silenced(own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Nothing that was right has been said, as far as the texts go."""
    return [{**one, "completion": "?" if one["reward"] > 0 else one["completion"]} for one in own]


def priced(folder: Path) -> None:
    """The price of every attempt halved, with the chain made anew."""
    path = folder / "ledger.jsonl"
    own = read_jsonl(path)
    write_jsonl(path, [{**r, **({"usd_per_hour": 0.025} if "usd_per_hour" in r else {})} for r in own])
    chained(path)


def fewer(folder: Path) -> None:
    """The killed attempt dropped, with the chain made anew."""
    path = folder / "ledger.jsonl"
    write_jsonl(path, [r for r in read_jsonl(path) if r["id"] != "2"])
    chained(path)


def page_resummed(folder: Path) -> None:
    summary = read_json(folder / "summary.json")
    summary["provenance"]["files"]["report.html"] = sha256_file(folder / "report.html")
    write_json(folder / "summary.json", summary)
    manifest.seal(folder)


def seen(one: dict[str, Any]) -> dict[str, Any]:
    return {"strict": not one["strict"]}


@dataclass(frozen=True)
class Fraud:
    """What is planted, and a file or a key that has to be named (or the message of a refusal)."""

    name: str
    plant: Plant
    names: str


FRAUDS = [
    # Answers.
    Fraud("a verdict flipped", row(PROBE, 17, seen), "line 18"),
    Fraud("a flexible verdict flipped", row(PROBE, 17, lambda one: {"flexible": not one["flexible"]}), "flexible"),
    Fraud("a verdict flipped, all rebuilt", again(row(PROBE, 17, seen)), "line 18"),
    Fraud("a text changed under its verdict", row(PROBE, 110, lambda one: {"completion": "?"}), "items.jsonl"),
    Fraud("a gold answer changed in the items", again(row(PROBE, 5, lambda one: {"answer": "77"})), "test-5"),
    Fraud("an item dropped", again(rows(PROBE, lambda own: own[:-1])), "test-119"),
    Fraud("an item twice", again(rows(PROBE, lambda own: [*own, own[0]])), "test-0"),
    Fraud("items of another model", copied("trained/tiny-phi/leave_one_out/seed0/items.jsonl", PROBE), "items.jsonl"),
    Fraud("baseline as trained, rebuilt", again(copied(f"{BASE}/items.jsonl", PROBE)), "evaluation.json"),
    Fraud("an answer longer than the limit", again(row(PROBE, 3, lambda one: {"length": 49})), "length"),
    Fraud("an answer called cut", again(row(PROBE, 3, lambda one: {"truncated": True})), "truncated"),
    Fraud("a length within the limit", row(PROBE, 3, lambda one: {"length": one["length"] + 1}), "items.jsonl"),
    # Evaluations and comparisons.
    Fraud("an accuracy", record(f"{TRAINED}/evaluation.json", "strict", value=0.99), "strict"),
    Fraud("an accuracy, with the comparison's", record(COMPARE, "trained", "strict", value=0.99), "trained.strict"),
    Fraud("a number of answers", record(f"{TRAINED}/evaluation.json", "n", value=121), "n is 121"),
    Fraud("seconds of an evaluation", record(f"{TRAINED}/evaluation.json", "seconds", value=1.0), "evaluation.json"),
    Fraud("whose evaluation it is", again(record(f"{TRAINED}/evaluation.json", "variant", value="random_reward")),
          "variant"),
    Fraud("the policy that was evaluated",
          again(record(f"{TRAINED}/evaluation.json", "policy", "training", "learning_rate", value=1.0)),
          "policy.training.learning_rate"),
    Fraud("the key of an evaluation", again(record(f"{TRAINED}/evaluation.json", "key", value="0" * 64)),
          "evaluation.json"),
    Fraud("the key of an evaluation removed", again(lacking(f"{TRAINED}/evaluation.json", "key")), "key"),
    Fraud("what the key was made of",
          again(record(f"{TRAINED}/evaluation.json", "asked", "evaluation.max_new_tokens", value=9)), "asked"),
    Fraud("sums removed", then(lacking(f"{TRAINED}/evaluation.json", "sums"), rebuilt), "sums"),
    Fraud("a sum outside", record(f"{TRAINED}/evaluation.json", "sums", "../../../../../x", value="0" * 64), "outside"),
    Fraud("a gain", record(COMPARE, "delta", value=0.5), "delta"),
    Fraud("a p-value, rebuilt", then(record(COMPARE, "mcnemar_p", value=0.01), rebuilt), "mcnemar_p"),
    Fraud("an interval", record(COMPARE, "ci95", value=[0.4, 0.5]), "ci95"),
    # Data.
    Fraud("a gold answer of the test split", row("data/test.jsonl", 5, lambda one: {"answer": "77"}), "line 6"),
    Fraud("a gold answer, rebuilt", again(row("data/test.jsonl", 5, lambda one: {"answer": "77"})), "data/test.jsonl"),
    Fraud("a training question, rebuilt", again(row("data/train.jsonl", 29, lambda one: {"question": "?"})),
          "data/train.jsonl"),
    Fraud("demonstrations, rebuilt", again(rows("data/demonstrations.jsonl", lambda own: [{"text": "?"}])),
          "data/demonstrations.jsonl"),
    Fraud("a count of the data", record("data/manifest.json", "counts", "test", value=9), "counts.test"),
    # Training.
    Fraud("a reward flipped", again(row(f"{TRAIN}/completions.jsonl", 20, lambda one: {"reward": -one["reward"]})),
          "reward"),
    Fraud("a coin's reward", again(row("train/tiny-phi/random_reward/seed0/completions.jsonl", 20,
                                       lambda one: {"reward": -one["reward"]})), "reward"),
    Fraud("one advantage", again(row(f"{TRAIN}/completions.jsonl", 2, lambda one: {"advantage": 3.5})), "advantage"),
    Fraud("advantages doubled, with the sums", again(doubled), "advantage"),
    Fraud("a sampled text", again(rows(f"{TRAIN}/completions.jsonl", silenced)), "reward"),
    Fraud("a question never asked", again(row(f"{TRAIN}/completions.jsonl", 9, lambda one: {"question": "?"})),
          "question"),
    Fraud("completions dropped", again(rows(f"{TRAIN}/completions.jsonl", lambda own: own[:-1])), "step 39"),
    Fraud("a point of a curve", again(row(f"{TRAIN}/metrics.jsonl", 12, lambda one: {"reward_mean": 1.0})),
          "reward_mean"),
    Fraud("a point that cannot be derived", row(f"{TRAIN}/metrics.jsonl", 12, lambda one: {"entropy": 0.1}),
          "metrics.jsonl"),
    Fraud("steps of a training", again(record(f"{TRAIN}/training.json", "steps", value=41)), "steps"),
    Fraud("tokens of a training", again(record(f"{TRAIN}/training.json", "tokens", value=1)), "tokens"),
    Fraud("seconds of a checkpoint", record(f"{TRAIN}/training.json", "checkpoint", "seconds", value=0.1),
          "training.json"),
    Fraud("a training called stopped", again(record(f"{TRAIN}/training.json", "stopped", value="no money")),
          "budget/train"),
    # Weights.
    Fraud("trained weights replaced by the start's", copied(f"{START}/weights/model.safetensors", WEIGHTS), WEIGHTS),
    Fraud("trained weights replaced, rebuilt", again(copied(f"{START}/weights/model.safetensors", WEIGHTS)), WEIGHTS),
    Fraud("one byte of the trained weights, rebuilt", again(one_byte(WEIGHTS)), WEIGHTS),
    Fraud("one byte of the start's weights, rebuilt", again(one_byte(f"{START}/weights/model.safetensors")),
          f"{START}/weights/model.safetensors"),
    Fraud("trained weights deleted, rebuilt", again(deleted(WEIGHTS)), f"{TRAIN}/weights"),
    Fraud("the folder of the weights deleted, rebuilt", again(deleted(f"{TRAIN}/weights")), f"{TRAIN}/weights"),
    Fraud("a tokenizer, rebuilt", again(one_byte(f"{TRAIN}/weights/tokenizer.json")),
          f"{TRAIN}/weights/tokenizer.json"),
    Fraud("a model's configuration, rebuilt", again(record(f"{TRAIN}/weights/config.json", "hidden_size", value=64)),
          "hidden_size"),
    Fraud("an adapter beside the weights, rebuilt",
          again(copied(WEIGHTS, f"{TRAIN}/weights/adapter_model.safetensors")), "adapter_model.safetensors"),
    Fraud("weights that are elsewhere", record(f"{TRAIN}/policy.json", "weights", "folder", value="../../../../.."),
          "outside"),
    # What a policy.json says.
    Fraud("the learning rate of a policy, rebuilt",
          again(record(f"{TRAIN}/policy.json", "training", "learning_rate", value=1.0)), "training.learning_rate"),
    Fraud("the size of a policy, rebuilt", again(record(f"{TRAIN}/policy.json", "parameters", value=3)), "parameters"),
    Fraud("the start of a policy, rebuilt", again(record(f"{TRAIN}/policy.json", "start", "steps", value=1)),
          "start.steps"),
    Fraud("the seed of a policy, rebuilt", again(record(f"{TRAIN}/policy.json", "seed", value=1)), "seed"),
    Fraud("the commit of a policy", record(f"{TRAIN}/policy.json", "made_with", value={"git_commit": "0" * 40}),
          f"{TRAIN}/policy.json"),
    Fraud("the start's own settings, rebuilt", again(record(f"{START}/policy.json", "start", "learning_rate",
          value=1.0)),
          "start.learning_rate"),
    Fraud("the start's curve", row(f"{START}/start.jsonl", 1, lambda one: {"loss": 0.1}), "start.jsonl"),
    Fraud("the start's curve, rebuilt", then(row(f"{START}/start.jsonl", 1, lambda one: {"loss": 0.1}), rebuilt),
          "start.jsonl"),
    # The configuration, and the report rebuilt.
    Fraud("learning rate", configured("training", "learning_rate", value=1.0), "training.learning_rate"),
    Fraud("temperature", configured("training", "temperature", value=0.5), "training.temperature"),
    Fraud("group size", configured("training", "kl_coefficient", value=0.5), "training.kl_coefficient"),
    Fraud("estimator scale", configured("training", "scale_by_std", value=True), "scale_by_std"),
    Fraud("name of the hardware", configured("hardware", "name", value="a phone"), "hardware.name"),
    Fraud("threads of the hardware", configured("hardware", "cpu_threads", value=64), "hardware.cpu_threads"),
    Fraud("price of the hardware", configured("hardware", "usd_per_hour", value=0.01), "hardware.usd_per_hour"),
    Fraud("seed of the task", configured("task", "seed", value=7), "task.seed"),
    Fraud("level of the tests", configured("protocol", "alpha", value=0.2), "protocol.alpha"),
    Fraud("margin of the claims", configured("protocol", "margin", value=0.4), "protocol.margin"),
    Fraud("the published figures", configured("policies", "tiny-llama", "published", "trained", value=0.71),
          "policies.tiny-llama.published.trained"),
    Fraud("steps of the start", configured("policies", "tiny-llama", "start", "steps", value=9), "start.steps"),
    Fraud("a control dropped", configured("variants", value=["leave_one_out"]), "variants"),
    Fraud("the prompt", configured("task", "prompt", value="worked_example"), "prompt"),
    Fraud("config.json alone", record("config.json", "training", "learning_rate", value=1.0), "training.learning_rate"),
    # Money.
    Fraud("a price in the ledger", text("ledger.jsonl", '"usd_per_hour": 0.05', '"usd_per_hour": 0.02'),
          "ledger.jsonl"),
    Fraud("all prices halved, chain and report anew", then(priced, rebuilt), "ledger"),
    Fraud("an attempt dropped, chain and report anew", then(fewer, rebuilt), "ledger"),
    Fraud("rows cut off", lambda folder: write_jsonl(folder / "ledger.jsonl", read_jsonl(folder / "ledger.jsonl")[:-2]),
          "ledger.jsonl"),
    Fraud("seconds of Snakemake", then(text("benchmarks/train/tiny-llama/leave_one_out/seed0.jsonl", "131.0", "200.0"),
                                       rebuilt), "seconds"),
    Fraud("seconds of MLflow, rebuilt", lambda folder: rebuilt(folder, 9000.0), "mlflow"),
    Fraud("the budget's decision, rebuilt", then(record("budget/preflight.json", "under", "training", "steps", value=1),
                                                 rebuilt), "training.steps"),
    # What the report wrote.
    Fraud("a number of the summary", record("summary.json", "models", "tiny-llama", "trained", "strict", value=0.99),
          "trained.strict"),
    Fraud("cost in the summary", record("summary.json", "cost", "usd", value=0.001), "cost.usd"),
    Fraud("a digit of the page", then(text("report.html", "79.2%", "89.2%"), page_resummed), "report.html"),
    Fraud("words in a plot", then(text("report.html", "</svg>", '<text x="9" y="9">+20</text></svg>'), page_resummed),
          "report.html"),
    Fraud("a changed page of another version", then(
        text("report.html", "79.2%", "89.2%"),
        record("summary.json", "provenance", "versions", "reinforce-lite", value="0.0.1")), "report.html"),
    Fraud("a verdict", text("verdicts.json", '"verdict": "', '"verdict": "not '), "verdicts.json"),
    Fraud("a behaviour", record("traces.json", "runs", 0, "model", value="x"), "traces.json"),
    Fraud("the root in the summary", record("summary.json", "provenance", "manifest", "root", value="0" * 64),
          "provenance.manifest.root"),
    # What is for machines.
    Fraud("a sum of the crate", text("ro-crate-metadata.json", '"sha256": "', '"sha256": "0'), "SHA-256"),
    Fraud("the cost in the crate", text("ro-crate-metadata.json", "of a limit of 0.01", "of a limit of 9"), "ro-crate"),
    Fraud("the cost in the crate, resealed", then(
        text("ro-crate-metadata.json", "of a limit of 0.01", "of a limit of 9"), manifest.seal), "ro-crate"),
    Fraud("the crate deleted", deleted("ro-crate-metadata.json"), "ro-crate-metadata.json"),
    Fraud("the copied workflow", text("workflow/Snakefile", "all", "none"), "workflow/Snakefile"),
    Fraud("the copied workflow, resealed", then(text("workflow/Snakefile", "all", "none"), manifest.seal),
          "workflow/Snakefile: SHA-256"),
    Fraud("the copied configuration, resealed",
          then(record("workflow/config.json", "protocol", "alpha", value=0.01), manifest.seal), "protocol.alpha"),
    Fraud("a line of the manifest", text("manifest.sha256", f"  {WEIGHTS}", "  weights"), "provenance.manifest.root"),
    Fraud("the manifest deleted", deleted("manifest.sha256"), "manifest.sha256"),
    Fraud("the manifest is no list", lambda folder: (folder / "manifest.sha256").write_text("nothing\n"), "line 1"),
    Fraud("the manifest leads out", lambda folder: (folder / "manifest.sha256").write_text(
        "0" * 64 + "  ../../etc/hostname\n"), "../../etc/hostname"),
]  # fmt: skip


def test_the_honest_folder_agrees(folder: Path) -> None:
    checks = verify(folder)
    assert [str(one) for check in checks for one in check.differences] == []
    assert [why for check in checks for why in check.unverified] == []
    assert next(check for check in checks if check.name == "crate").looked_at.endswith("entities described again")


def test_what_changes_no_result_is_no_fraud(folder: Path) -> None:
    """The workflow writes config.json whenever it starts; for another image nothing is run again."""
    record("config.json", "container", "image", value="docker://other/image")(folder)
    record("config.json", "checkpoint", "every_seconds", value=61.0)(folder)
    published = manifest.Manifest.read(folder)
    assert published is not None
    differing = [one for check in verify(folder, published=published.root) for one in check.differences]
    assert {one.file for one in differing} <= {"report.html"}, "which shows the configuration"


@pytest.mark.parametrize("fraud", FRAUDS, ids=lambda fraud: fraud.name)
def test_a_fraud_is_named(folder: Path, fraud: Fraud) -> None:
    try:
        fraud.plant(folder)
    except UserError as error:  # the report cannot even be made of it
        assert fraud.names in str(error)
        return
    try:
        said = [str(one) for check in verify(folder) for one in check.differences]
    except UserError as error:
        said = [str(error)]
    assert any(fraud.names in one for one in said), said


def test_a_downgrade_is_not_verified(folder: Path) -> None:
    """All that this version has added is taken out: then it is no result of this version, and that is said."""
    deleted("manifest.sha256")(folder)
    lacking("summary.json", "provenance", "manifest")(folder)
    deleted("ro-crate-metadata.json")(folder)
    why = [one for check in verify(folder) for one in check.unverified]
    assert any("no manifest" in one for one in why)


def forged_answers(folder: Path) -> None:
    """Twenty wrong answers are written right, and everything that follows is made anew."""
    own = read_jsonl(folder / PROBE)
    wrong = [one for one in own if not one["flexible"]][:20]
    for one in wrong:
        one |= {"completion": f"<answer> {one['answer']} </answer>", "strict": True, "flexible": True, "length": 3}
    rewritten(folder, own)


def longer(folder: Path) -> None:
    """An answer has one token more."""
    own = read_jsonl(folder / PROBE)
    own[3]["length"] += 1
    rewritten(folder, own)


def rewritten(folder: Path, own: list[dict[str, Any]]) -> None:
    """Other answers, and all that follows from them."""
    write_jsonl(folder / PROBE, own)
    evaluation = read_json(folder / TRAINED / "evaluation.json")
    for key in ("strict", "flexible", "truncated"):
        evaluation[key] = sum(one[key] for one in own) / len(own)
    evaluation["length_mean"] = sum(one["length"] for one in own) / len(own)
    write_json(folder / TRAINED / "evaluation.json", evaluation)
    resummed(folder)
    recompared(folder)
    rebuilt(folder)


UNDETECTABLE = [
    Fraud("answers forged, everything rebuilt", forged_answers, "--replay writes answers again from the bound weights"),
    Fraud("lengths within the limit, rebuilt", longer, "--replay counts tokens again"),
    Fraud("a loss or an entropy, rebuilt", again(row(f"{TRAIN}/metrics.jsonl", 12, lambda one: {"entropy": 0.1})),
          "--replay takes a training step again"),
    Fraud("seconds of an evaluation, rebuilt", again(record(f"{TRAINED}/evaluation.json", "seconds", value=1.0)),
          "nobody else has measured them, but for Snakemake's clock over the job"),
    Fraud("the limit of the budget, rebuilt", configured("budget", "limit_usd", value=9.0),
          "it may be raised at any time; budget/ has the one that each stage ran under"),
    Fraud("a price halved, heads and all rebuilt", then(priced, heads, rebuilt), "the provider's bill knows"),
    Fraud("an attempt dropped, heads and all rebuilt", then(fewer, heads, lambda folder: rebuilt(folder, 240.0)),
          "the provider's bill knows"),
    Fraud("the start's curve and its sum, rebuilt", again(row(f"{START}/start.jsonl", 1, lambda one: {"loss": 0.1})),
          "a start trained again shows it"),
    Fraud("the commit of a policy, rebuilt",
          again(record(f"{TRAIN}/policy.json", "made_with", value={"git_commit": "0" * 40, "image": None})),
          "only running that commit again shows it"),
]  # fmt: skip
"""An author can do these before anything is published: `names` is why nothing in the folder contradicts them."""


@pytest.mark.parametrize("fraud", UNDETECTABLE, ids=lambda fraud: fraud.name)
def test_a_consistent_forgery_contradicts_what_was_published_before(folder: Path, fraud: Fraud) -> None:
    published = manifest.Manifest.read(folder)
    fraud.plant(folder)
    assert [str(one) for check in verify(folder) for one in check.differences] == [], fraud.names
    forged = manifest.Manifest.read(folder)
    assert published is not None and forged is not None and published.root != forged.root
    assert any(one.key == "root" for check in verify(folder, published=published.root) for one in check.differences)
