"""An evaluation asks problems of train and their perturbations beside the test, on a policy that costs milliseconds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reinforce_lite.budget.gate import Allowance, Gate
from reinforce_lite.config import Settings, load, merge, validate
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.memorisation import PERTURBED, figures
from reinforce_lite.experiment import checks, ends, evaluate, questions, rehearsal
from reinforce_lite.experiment.run import Run
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.io.provenance import sums
from reinforce_lite.policy import fetch
from reinforce_lite.policy.load import save
from reinforce_lite.resources import keys
from reinforce_lite.stages import EVALUATE_AGAIN, Job, Layout
from reinforce_lite.tasks import Problem, named
from reinforce_lite.tasks.prepare import prepare

ROOT = Path(__file__).parents[2]
BASE = Job("evaluate_baseline", "tiny-llama")
SMALL: dict[str, Any] = {
    "seeds": [0], "variants": ["leave_one_out"], "hardware": {"cpu_threads": 1},
    "task": {"train_size": 20, "dev_size": 2, "test_size": 6, "demonstrations": 8},
    "policies": {"tiny-llama": {
        "from_scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "key_value_heads": 2, "intermediate_size": 32},
        "start": {"steps": 1, "batch_size": 4},
    }},
    "training": {"steps": 1, "questions_per_step": 4, "group_size": 2, "max_new_tokens": 8},
    "evaluation": {"max_new_tokens": 12, "batch_size": 4, "bootstrap_resamples": 100},
}  # fmt: skip


def island(folder: Path, **evaluation: Any) -> Settings:
    layers = [ROOT / "config/config.yaml", ROOT / "config/tiny_knights.yaml"]
    config = merge(load(layers).model_dump(mode="json"), SMALL)
    return validate(merge(config, {"results": str(folder), "evaluation": evaluation}))


def ready(settings: Settings) -> Run:
    """The data, and the policy before training, which is not trained at all."""
    layout, chosen = Layout.of(settings), settings.policies["tiny-llama"]
    prepare(settings.task, layout.data)
    save(fetch.materialise(chosen, named(settings.task.name).vocabulary, 0, "cpu"), layout.policy("tiny-llama"), {})
    return Run(settings, BASE)


class Watch:
    """A gate that only counts the batches, and may let the process die after one of them."""

    def __init__(self, dies_after: int = 99) -> None:
        self.planned, self.taken, self._dies_after = 0, list[int](), dies_after

    def begin(self, total: int, unit: str) -> None:
        self.planned = total

    def check(self, done: int) -> None:
        self.taken.append(done)
        if done == self._dies_after:
            raise KeyboardInterrupt


def asked(run: Run, **how: int) -> Watch:
    gate = Watch(**how)
    evaluate.run(run, SimpleNamespace(gate=gate, show=lambda done, of: {}))  # type: ignore[arg-type]
    return gate


def test_problems_of_train_are_asked_beside_the_test_which_stays_as_it_is(tmp_path: Path) -> None:
    alone, beside = (ready(island(tmp_path / str(number), memorisation=number)) for number in (0, 5))
    assert asked(alone).taken == [1, 2] and not alone.path("memorisation").exists()
    gate = asked(beside)
    assert gate.taken == [1, 2, 3, 4, 5] and gate.planned == 5, "2 batches of 6 questions, 3 of 10"
    assert beside.path("outcomes").read_bytes() == alone.path("outcomes").read_bytes()
    rows, train = read_jsonl(beside.path("memorisation")), read_jsonl(beside.layout.data / "train.jsonl")
    own = {row["id"]: row["question"] for row in train}
    assert [row["id"] for row in rows[1::2]] == [row["id"] + PERTURBED for row in rows[::2]] and len(rows) == 10
    assert all(own[row["id"]] == row["question"] for row in rows[::2])
    assert rows[0].keys() == read_jsonl(beside.path("outcomes"))[0].keys()
    for row in rows:
        grade = beside.task.grade(row["completion"], Problem(row["id"], row["question"], row["answer"]))
        assert row["strict"] == grade["correct"] and 0 < row["length"] <= 12
    record, plain = read_json(beside.path()), read_json(alone.path())
    assert record["memorisation"] == figures(rows) and record["n"] == plain["n"] == 6
    assert record["sums"] == sums(beside.path("outcomes"), beside.path("memorisation"))
    assert record.keys() - plain.keys() == {"memorisation"}


def test_it_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    whole, killed = (ready(island(tmp_path / name, memorisation=5)) for name in ("whole", "killed"))
    asked(whole)
    with pytest.raises(KeyboardInterrupt):
        asked(killed, dies_after=4)
    assert asked(killed).taken == [5], "no batch was written twice"
    for name in ("outcomes", "memorisation"):
        assert killed.path(name).read_bytes() == whole.path(name).read_bytes()


def test_the_result_is_done_once_all_its_files_are_there_and_lie_under_its_key(tmp_path: Path) -> None:
    run = ready(settings := island(tmp_path, memorisation=5))
    asked(run)
    assert keys.is_done(settings, BASE)
    assert not keys.is_done(island(tmp_path, memorisation=6), BASE) and not keys.is_done(
        island(tmp_path, memorisation=0), BASE
    )
    train = run.layout.data / "train.jsonl"
    content = train.read_bytes()
    train.write_bytes(content + b"\n")
    assert not keys.is_done(settings, BASE), "the problems of train are a part of what was asked"
    train.write_bytes(content)
    run.path("memorisation").unlink()
    assert not keys.is_done(settings, BASE)


def test_without_problems_of_train_nothing_depends_on_them(tmp_path: Path) -> None:
    none, some = island(tmp_path, memorisation=0), island(tmp_path, memorisation=5)
    ready(none)
    before, after = (keys.asked(settings, BASE) for settings in (none, some))
    assert {name for name in before | after if before.get(name) != after.get(name)} == {
        "evaluation.memorisation", "train.jsonl, sha256"
    }  # fmt: skip
    assert not {"evaluation.memorisation", "train.jsonl, sha256"} & before.keys(), "older keys agree"
    again = Job(EVALUATE_AGAIN, "tiny-llama")
    assert keys.asked(none, again) | {"evaluation.memorisation": 0} == keys.asked(some, again) | {
        "evaluation.memorisation": 0
    }
    assert checks.digest(none) != checks.digest(some)


@pytest.mark.parametrize(
    ("changes", "said", "fix"),
    [
        (
            {"evaluation": {"memorisation": 21}},
            "asks for 21 problems, and the task perturbs",
            "set it to [0-9]+ or less, or raise task.train_size",
        ),
        (
            {"task": {"name": "word_world"}, "evaluation": {"memorisation": 2}},
            "asks for 2 problems, and the task perturbs 0 of",
            "set it to 0, or choose another task",
        ),
    ],
)
def test_preflight_refuses_what_cannot_be_had(tmp_path: Path, changes: dict[str, Any], said: str, fix: str) -> None:
    config = island(tmp_path).model_dump(mode="json")
    if "task" in changes:
        config["task"] = {"train_size": 20, "dev_size": 2, "test_size": 6, "demonstrations": 8, "prompt": "bare"}
    with pytest.raises(UserError, match=rf"evaluation.memorisation {said}.*\n  fix: {fix}"):
        questions.prompts(validate(merge({**config, "claims": []}, changes)))


def test_the_rehearsal_asks_a_problem_and_writes_all_that_the_ends_will(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, seen = island(tmp_path, memorisation=5, noise_floor=True), list[list[str]]()
    real = ends.finish

    def look(few: Settings) -> None:
        real(few)
        seen.append(sorted(str(path.relative_to(few.folder)) for path in few.folder.rglob("memorisation.jsonl")))
        seen.append(sorted(read_json(few.folder / "summary.json")["models"]["tiny-llama"]["memorisation"]))

    monkeypatch.setattr(ends, "finish", look)
    purse = SimpleNamespace(spent=lambda: 0.0, own=lambda: 0.0)
    rehearsal.rehearse(settings, lambda model: False, 0.0, Gate(Allowance(1.0, 0.0), purse, 1))
    files = ["baseline/tiny-llama", "trained/tiny-llama/leave_one_out/seed0"]
    assert seen == [[f"{place}/memorisation.jsonl" for place in files], ["baseline", "runs"]]
