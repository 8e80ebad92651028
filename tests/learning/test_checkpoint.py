import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reinforce_lite.learning import checkpoint
from reinforce_lite.optim.optimizer import adamw
from reinforce_lite.policy import Policy
from toys import toy_policy

FILES = ("weights.pt", "optimizer.pt", "random.pt", "facts.json", "manifest.json")


def trained(policy: Policy, steps: int = 2) -> torch.optim.Optimizer:
    optimizer = adamw(policy.model, learning_rate=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        policy.model(torch.tensor([[1, 5, 9]])).logits.square().sum().backward()
        optimizer.step()
    return optimizer


@pytest.fixture
def saved(policy: Policy, tmp_path: Path) -> Path:
    path, size = checkpoint.write(
        tmp_path, policy.model, trained(policy), checkpoint.random_state(), {"step": 2, "key": {}}
    )
    assert size == sum(file.stat().st_size for file in path.iterdir())
    assert [file.name for file in tmp_path.iterdir()] == ["step-00000002"]
    assert {file.name for file in path.iterdir()} == set(FILES)
    return path


def test_everything_comes_back_bit_for_bit(policy: Policy, saved: Path) -> None:
    expected = [random.random(), np.random.rand(), torch.rand(1).item()]
    other = toy_policy("llama" if "Llama" in type(policy.model).__name__ else "phi3", seed=5)
    optimizer = adamw(other.model, learning_rate=1.0)
    checkpoint.read(saved).restore(other.model, optimizer)
    assert [random.random(), np.random.rand(), torch.rand(1).item()] == expected
    # The next steps are the same ones: weights and optimiser states.
    state = torch.get_rng_state()
    first = trained_on(policy, saved)
    torch.set_rng_state(state)
    assert all(torch.equal(a, b) for a, b in zip(first, trained_on(other, saved), strict=True))


def trained_on(policy: Policy, saved: Path) -> list[torch.Tensor]:
    optimizer = adamw(policy.model, learning_rate=1.0)
    checkpoint.read(saved).restore(policy.model, optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        policy.model(torch.tensor([[1, 7, 3]])).logits.square().sum().backward()
        optimizer.step()
    return [weight.detach().clone() for weight in policy.model.parameters()]


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    policy = toy_policy("llama")
    optimizer = trained(policy)
    path, _ = checkpoint.write(tmp_path, policy.model, optimizer, checkpoint.random_state(), {"step": 1})
    checkpoint.read(path).restore(policy.model, optimizer)
    head, embedding = policy.model.get_output_embeddings().weight, policy.model.get_input_embeddings().weight
    assert head.data_ptr() == embedding.data_ptr()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 0.5, -1])
@pytest.mark.survives("one flipped bit in a checkpoint")
def test_a_flipped_bit_in_any_file_is_found(saved: Path, name: str, place: float) -> None:
    checkpoint.read(saved)
    content = bytearray((saved / name).read_bytes())
    content[int(place * len(content)) if place >= 0 else -1] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(checkpoint.DamagedError, match=name):
        checkpoint.read(saved)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.survives("a checkpoint file cut short or missing")
def test_a_short_or_missing_file_is_found(saved: Path, name: str) -> None:
    os.truncate(saved / name, (saved / name).stat().st_size - 1)
    if name == "manifest.json":
        os.truncate(saved / name, 20)
    told = name if name == "manifest.json" else rf"{name} has \d+ bytes, not \d+"
    with pytest.raises(checkpoint.DamagedError, match=told):
        checkpoint.read(saved)
    (saved / name).unlink()
    with pytest.raises(checkpoint.DamagedError, match=name):
        checkpoint.read(saved)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weights.pt": 3}', "null"])
def test_a_manifest_that_is_none_is_found(saved: Path, content: str) -> None:
    (saved / "manifest.json").write_text(content)
    with pytest.raises(checkpoint.DamagedError, match=r"manifest\.json"):
        checkpoint.read(saved)


@pytest.mark.parametrize("call", ["write", "fsync", "mkdir"])
@pytest.mark.survives("disk full while writing a checkpoint")
def test_a_full_disk_leaves_no_half_checkpoint(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(tmp_path, policy.model, trained(policy), checkpoint.random_state(), {"step": 2})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.survives("disk full while writing a checkpoint")
def test_a_disk_that_fills_up_inside_a_file_is_told_as_such(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.save would make a RuntimeError of it."""
    real, room = os.write, 5000

    def write(handle: int, data: bytes) -> int:
        nonlocal room
        room -= len(data)
        if room < 0:
            raise OSError(28, "No space left on device")
        return real(handle, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(tmp_path, policy.model, trained(policy), checkpoint.random_state(), {"step": 2})
    assert list(tmp_path.iterdir()) == []


def test_float32_states_beside_bfloat16_weights_are_not_rounded(tmp_path: Path) -> None:
    policy = toy_policy("phi3")
    policy.model.to(torch.bfloat16)
    optimizer = trained(policy)
    for weight in policy.model.parameters():
        optimizer.state[weight]["master"] = torch.rand(weight.shape)
    wanted = [optimizer.state[weight]["master"].clone() for weight in policy.model.parameters()]
    path, _ = checkpoint.write(tmp_path, policy.model, optimizer, checkpoint.random_state(), {"step": 2})
    fresh = adamw(policy.model, learning_rate=1.0)
    checkpoint.read(path).restore(policy.model, fresh)
    for weight, master in zip(policy.model.parameters(), wanted, strict=True):
        assert fresh.state[weight]["master"].dtype == torch.float32
        assert torch.equal(fresh.state[weight]["master"], master)


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(policy: Policy, saved: Path) -> None:
    (saved / "weights.pt").unlink()
    facts = {"step": 2}
    path, _ = checkpoint.write(saved.parent, policy.model, trained(policy, 1), checkpoint.random_state(), facts)
    assert path == saved and checkpoint.read(saved).step == 2
