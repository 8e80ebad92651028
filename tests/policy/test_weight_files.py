"""The files of a policy, whole and damaged, in a folder, as GGUF and in the hub's cache."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from reinforce_lite.config import PolicySettings, Settings, validate
from reinforce_lite.errors import UserError
from reinforce_lite.policy import fetch, files, hub, load
from reinforce_lite.policy.size import sized
from toys import toy_policy, write_gguf

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ON_HUB = PolicySettings(repo="some/model", revision=COMMIT, dtype="float32")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    load.save(toy_policy("phi3"), tmp_path, {})
    return tmp_path / "weights"


@pytest.fixture
def shards(folder: Path) -> Path:
    policy = toy_policy("phi3")
    policy.model.save_pretrained(folder, max_shard_size="20KB")
    (folder / files.WHOLE).unlink()
    return folder


@pytest.fixture
def snapshot(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pinned revision in the hub's cache; the hub itself cannot be reached."""
    place = tmp_path / "hub/models--some--model/snapshots" / COMMIT
    place.parent.mkdir(parents=True)
    folder.rename(place)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return place


def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def test_whole_files_are_counted(folder: Path, tmp_path: Path) -> None:
    assert files.weights(folder) == sum(w.numel() for w in toy_policy("phi3").model.parameters())
    write_gguf(tmp_path / "toy.gguf")
    assert files.weights(tmp_path / "toy.gguf") == 23_904


def test_shards_are_counted(shards: Path) -> None:
    assert len(list(shards.glob("*.safetensors"))) > 2
    assert files.weights(shards) == sum(w.numel() for w in toy_policy("phi3").model.parameters())


@pytest.mark.parametrize("keep", [0.0, 0.00005, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", [files.WHOLE, "tokenizer.json", "config.json", "toy.gguf"])
def test_a_file_cut_short_is_named(folder: Path, name: str, keep: float) -> None:
    write_gguf(folder / "toy.gguf")
    cut(folder / name, keep)
    with pytest.raises(UserError, match=rf"{name}.* (cut short|bytes).*\n  fix: fetch the file again"):
        files.weights(folder / name if name.endswith(".gguf") else folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda place: (place / "config.json").unlink(), r"cannot read .*config\.json: No such file"),
        (lambda place: (place / "tokenizer.json").unlink(), "has no tokenizer: none of tokenizer.json"),
        (lambda place: next(place.glob("*-00002-*")).unlink(), r"cannot read .*model-00002-of-\d+\.safetensors"),
        (lambda place: (place / files.INDEX).write_text('{"metadata": {}}'), r"index\.json has no weight_map"),
        (lambda place: (place / files.INDEX).unlink(), r"cannot read .*model\.safetensors: No such file"),
        (lambda place: other_shard(place), r"lacks lm_head.weight, which model\.safetensors\.index\.json says"),
        (
            lambda place: next(place.glob("*-00002-*")).write_text("version https://git-lfs.github.com/spec/v1\n"),
            r"00002-of-\d+\.safetensors is empty, cut short, or no file of safetensors .*\n  fix: .*git lfs pull",
        ),
    ],
)
def test_what_an_index_promises_is_looked_for(shards: Path, damage: Callable[[Path], Any], said: str) -> None:
    damage(shards)
    with pytest.raises(UserError, match=said):
        files.weights(shards)


def test_an_index_that_transformers_does_not_read_is_not_looked_at(folder: Path) -> None:
    """A whole file goes before an index, which an earlier save may have left."""
    weights = files.weights(folder)
    (folder / files.INDEX).write_text(
        json.dumps({"weight_map": {"lm_head.weight": "model-00001-of-00009.safetensors"}})
    )
    assert files.weights(folder) == weights
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
    assert [path.name for path in files.weight_files(folder)] == [files.WHOLE]


def other_shard(place: Path) -> None:
    index = json.loads((place / files.INDEX).read_text())
    index["weight_map"]["lm_head.weight"] = min(
        set(index["weight_map"].values()) - {index["weight_map"]["lm_head.weight"]}
    )
    (place / files.INDEX).write_text(json.dumps(index))


def test_offline_a_whole_cache_is_enough(snapshot: Path) -> None:
    assert hub.lacking(ON_HUB, "policies.m.path") == {} and hub.is_here(ON_HUB)
    fetch.download(ON_HUB)


def test_offline_a_cache_with_holes_is_refused_and_counted(snapshot: Path) -> None:
    for path in snapshot.iterdir():
        if path.name != "config.json":
            path.unlink()
    assert not hub.is_here(ON_HUB)
    with pytest.raises(
        UserError, match=r"(?s)offline mode.*In the cache: .* has no tokenizer.*\n  fix: .*policies.m.path"
    ):
        hub.lacking(ON_HUB, "policies.m.path")
    with pytest.raises(UserError, match="has no tokenizer"):  # the client takes what is there for all there is
        fetch.download(ON_HUB)


def test_online_names_and_sizes_are_compared(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {path.name: path.stat().st_size for path in snapshot.iterdir()}
    cut(snapshot / files.WHOLE, 0.5)
    (snapshot / "generation_config.json").unlink()

    class Api:
        def repo_info(self, *_: Any, **__: Any) -> Any:
            sizes = {**listed, "pytorch_model.bin": 10**9}
            siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
            return SimpleNamespace(siblings=siblings, safetensors=SimpleNamespace(total=5_000_000))

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    absent = (files.WHOLE, "generation_config.json")
    assert hub.lacking(ON_HUB, "policies.m.path") == {name: listed[name] for name in absent}
    assert hub.weights(ON_HUB) == 5_000_000


def of(settings: Settings, **policy: Any) -> Settings:
    config = settings.model_dump(mode="json")
    return validate({**config, "policies": {"m": {"dtype": "float32", **policy}}})


def test_a_size_is_counted_where_none_is_configured(settings: Settings, snapshot: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "toy.gguf")
    for policy, weights in (
        ({"repo": "some/model", "revision": COMMIT}, files.weights(snapshot)),
        ({"path": str(snapshot)}, files.weights(snapshot)),
        ({"path": str(tmp_path / "toy.gguf")}, 23_904),
        ({"path": str(snapshot), "parameters": 7.0}, 7e9),
    ):
        configured = of(settings, **policy)
        counted = sized(configured)
        assert counted.policies["m"].billions == pytest.approx(weights / 1e9)
        assert counted.model_dump() == configured.model_dump(), "no key depends on it"


def test_a_size_that_only_the_hub_knows(settings: Settings, snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snapshot / files.WHOLE).unlink()
    configured = of(settings, repo="some/model", revision=COMMIT)
    assert sized(configured).policies["m"].billions is None
    with pytest.raises(UserError, match=r"policies.m.parameters is not set, and cannot reach .*\n  fix: .*in billions"):
        sized(configured, ask_hub=True)
    monkeypatch.setattr(hub, "ask", lambda *_: SimpleNamespace(safetensors=SimpleNamespace(total=3_210_000_000)))
    assert sized(configured, ask_hub=True).policies["m"].billions == 3.21


def test_code_that_comes_with_a_model_is_never_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "alien", "auto_map": {"AutoConfig": "alien.Alien", "AutoModelForCausalLM": "alien.Alien"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "alien.py").write_text("raise SystemExit('it was run')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody is asked"))
    settings = PolicySettings(path=folder, dtype="float32")
    for load_it in (lambda: fetch.config(settings), lambda: load.local(folder, settings, "cpu")):
        with pytest.raises(UserError, match=r"of no known type.*code that comes with a model is never run\n  fix: "):
            load_it()
    words = json.loads((folder / "tokenizer_config.json").read_text())
    words |= {"tokenizer_class": "Alien", "auto_map": {"AutoTokenizer": ["alien.Alien", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    with pytest.raises(UserError, match="cannot load the tokenizer"):
        fetch.tokenizer(settings, ())


def test_a_model_that_writes_no_text_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(UserError, match=r"the model of .* is 't5': transformers .* has no causal language model"):
        fetch.config(PolicySettings(path=folder))
