"""What torch's allocator is told."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from reinforce_lite.config import Hardware
from reinforce_lite.policy.load import EXPANDABLE, prepare_torch

OLD, NEW = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"
PRICE: dict[str, Any] = {"usd_per_hour": 1, "price_source": "a list", "price_date": "2026-11-01"}


@pytest.mark.parametrize(
    ("device", "told", "expected"),
    [
        ("cuda", {}, [EXPANDABLE]),
        ("cuda", {OLD: "max_split_size_mb:64"}, []),
        ("cuda", {NEW: "max_split_size_mb:64"}, []),
        ("cpu", {}, []),
    ],
)
def test_segments_grow_on_a_gpu_unless_the_user_has_said_otherwise(
    device: Any, told: dict[str, str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", heard.append)
    monkeypatch.setattr(os, "environ", dict(told))
    prepare_torch(Hardware(device=device, name="a card", memory_gib=1, **PRICE))
    assert heard == expected
    assert {name: os.environ[name] for name in (OLD, NEW) if name in os.environ} == (
        {OLD: EXPANDABLE} if expected else told
    )


def test_torch_hears_it_from_the_environment_after_its_import_too() -> None:
    code = (
        f"import os, torch; os.environ['{OLD}'] = '{EXPANDABLE}'; print(torch._C._accelerator_getAllocatorSettings())"
    )
    usual = {name: value for name, value in os.environ.items() if name not in (OLD, NEW)}
    done = subprocess.run([sys.executable, "-c", code], env=usual, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == EXPANDABLE
