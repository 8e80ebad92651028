"""What stages do at their ends is done once before anything else is paid for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import torch
from safetensors.torch import load_file, save_file

import reinforce_lite.report
from reinforce_lite.budget.gate import Allowance, Gate
from reinforce_lite.config import Settings, load, validate
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import preflight, rehearsal
from reinforce_lite.io.files import read_json
from reinforce_lite.policy.load import local, save
from reinforce_lite.stages import Job, Layout
from toys import toy_policy

ROOT = Path(__file__).parents[2]


class Purse:
    """Nothing costs anything."""

    def spent(self) -> float:
        return 0.0

    own = spent


@pytest.fixture
def small(tmp_path: Path) -> Settings:
    layers = [ROOT / "config/config.yaml", ROOT / "config/tiny.yaml", ROOT / "tests/workflow/mini.yaml"]
    config = load(layers).model_dump(mode="json")
    variants = {"variants": ["leave_one_out", "random_reward", "prompt_only"], "seeds": [0, 1], "control_seeds": [0]}
    evaluation = {**config["evaluation"], "noise_floor": True}
    return validate({**config, **variants, "evaluation": evaluation, "results": str(tmp_path)})


def rehearse(settings: Settings) -> None:
    rehearsal.rehearse(settings, lambda model: False, 0.0, Gate(Allowance(1.0, 0.0), Purse(), 1))


def refusal(settings: Settings) -> str:
    with pytest.raises(UserError) as caught:
        rehearse(settings)
    assert not (settings.folder / ".rehearsal").exists(), "nothing is left of it"
    return str(caught.value)


def after_saving(monkeypatch: pytest.MonkeyPatch, kind: str, change: Callable[[Path], None]) -> None:
    """Let something happen to the folder once model or tokenizer has been saved there."""
    policy = toy_policy("llama")
    saver = type(policy.model if kind == "model" else policy.tokenizer)
    real = saver.save_pretrained

    def saved(self: Any, folder: Any, *arguments: Any, **more: Any) -> Any:
        done = real(self, folder, *arguments, **more)
        change(Path(folder))
        return done

    monkeypatch.setattr(saver, "save_pretrained", saved)


def unsavable(folder: Path) -> None:
    raise RuntimeError("some tensors share memory")


def with_another_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text("tom " + path.read_text())


def with_other_ids(folder: Path) -> None:
    content = read_json(folder / "tokenizer.json")
    words = content["model"]["vocab"]
    last = max(words.values())
    content["model"]["vocab"] = {word: number if number < 5 else 5 + last - number for word, number in words.items()}
    (folder / "tokenizer.json").write_text(json.dumps(content))


def with_other_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("q_proj.weight"))
    save_file({**weights, name: torch.zeros_like(weights[name])}, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("model", unsavable, "saving the policy tiny-llama"),
        ("tokenizer", with_another_template, "does not survive saving: the ids of a prompt"),
        ("tokenizer", with_other_ids, "does not survive saving: the ids of a prompt"),
        ("model", with_other_weights, "its weights do not survive saving"),
    ],
)
def test_a_policy_that_cannot_be_saved_is_refused(
    small: Settings, monkeypatch: pytest.MonkeyPatch, kind: str, change: Callable[[Path], None], said: str
) -> None:
    after_saving(monkeypatch, kind, change)
    told = refusal(small)
    assert said in told and "before it is paid for" in told and "fix:" in told


@pytest.mark.parametrize("template", ["results", "seeds", "provenance"])
def test_an_error_in_a_template_of_the_page_is_named(
    small: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, template: str
) -> None:
    copy = tmp_path / "templates"
    shutil.copytree(Path(reinforce_lite.report.__path__[0]) / "templates", copy)
    planted = copy / f"{template}.html.j2"
    planted.write_text("{{ nobody.knows }}\n" + planted.read_text())
    monkeypatch.setattr(jinja2, "PackageLoader", lambda package: jinja2.FileSystemLoader(copy))
    told = refusal(small)
    assert f"{template}.html.j2, line 1: UndefinedError: 'nobody' is undefined" in told and "the report" in told


def test_an_error_of_the_crate_is_told(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reinforce_lite.report.crate._add_licence", lambda graph: 1 / 0)
    assert "failed at the crate: ZeroDivisionError" in refusal(small)


@pytest.mark.parametrize("where", ["train", "trained/tiny-llama", "compare", "checkpoints", "budget"])
def test_where_a_stage_cannot_write_nothing_is_spent(small: Settings, where: str) -> None:
    blocked = small.folder / where
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("no folder")
    with pytest.raises(UserError, match="cannot be written") as caught:
        preflight.plan_experiment(small)
    assert str(blocked) in caught.value.problem
    assert not Layout.of(small).ledger.exists()


def test_a_stage_of_each_kind_has_written_in_small(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    real = rehearsal.ends.finish

    def finish(few: Settings) -> None:
        real(few)
        seen.append({str(path.relative_to(few.folder)) for path in few.folder.rglob("*") if path.is_file()})

    monkeypatch.setattr(rehearsal.ends, "finish", finish)
    rehearse(small)
    made = seen[0]
    layout = Layout(Path())
    for job in (Job("report"), Job("crate"), Job("prepare_dataset"), Job("evaluate_baseline", "tiny-llama")):
        assert {str(path) for path in layout.outputs(job).values()} <= made
    for variant, seed in small.runs:
        for stage in ("train", "evaluate_trained", "compare"):
            assert {str(path) for path in layout.outputs(Job(stage, "tiny-llama", variant, seed)).values()} <= made
    assert not list(small.folder.iterdir())


@pytest.fixture
def vicuna(tmp_path: Path) -> Path:
    """A policy as it is often published: how to sample is said, but not that it is to be done."""
    place = tmp_path / "vicuna"
    policy = toy_policy("llama")
    policy.model.save_pretrained(place)
    policy.tokenizer.save_pretrained(place)
    path = place / "generation_config.json"
    path.write_text(json.dumps({**read_json(path), "temperature": 0.9, "top_p": 0.6}))
    return place


@pytest.mark.parametrize("more", [{}, {"pad_token_id": -1}])
def test_a_policy_with_settings_of_no_sampling_is_saved(
    vicuna: Path, small: Settings, tmp_path: Path, more: dict[str, int]
) -> None:
    path = vicuna / "generation_config.json"
    path.write_text(json.dumps({**read_json(path), **more}))
    chosen = small.policies["tiny-llama"].model_copy(update={"path": vicuna, "from_scratch": None})
    policy = local(vicuna, chosen, "cpu")
    save(policy, tmp_path / "made", {})
    again = local(tmp_path / "made/weights", chosen, "cpu")
    assert again.stop_ids == policy.stop_ids
    assert all(
        torch.equal(weight, again.model.state_dict()[name]) for name, weight in policy.model.state_dict().items()
    )
    kept = read_json(tmp_path / "made/weights/generation_config.json")
    assert kept.get("temperature") == (None if more else 0.9)


def test_preflight_passes_such_a_policy(vicuna: Path, small: Settings) -> None:
    config = small.model_dump(mode="json")
    policy = {**config["policies"]["tiny-llama"], "from_scratch": None, "path": str(vicuna), "start": None}
    rehearse(validate({**config, "policies": {**config["policies"], "tiny-llama": policy}}))


def test_an_error_of_saving_says_that_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = toy_policy("llama")
    after_saving(monkeypatch, "tokenizer", unsavable)
    with pytest.raises(UserError, match="some tensors share memory") as caught:
        save(policy, tmp_path, {})
    assert "kept in the checkpoints" in caught.value.fix
    assert not list(tmp_path.iterdir())
