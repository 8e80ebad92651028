"""Which engine is taken where."""

import subprocess
import sys
from dataclasses import replace

import pytest

from reinforce_lite.config import EngineName
from reinforce_lite.policy import Policy
from reinforce_lite.rollout.generate import GenerateEngine
from reinforce_lite.rollout.registry import Name, Place, decide, opened, unavailable

CARD = Place("cuda", weights_gib=6.0, free_gib=20.0, vllm=True)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (CARD, "vllm"),
        (replace(CARD, vllm=False), "generate"),
        (replace(CARD, free_gib=11.9), "generate"),  # 6 of weights, 2 of cache, 4 of everything else
        (replace(CARD, free_gib=12.0), "vllm"),
        (replace(CARD, device="cpu"), "generate"),
    ],
)
def test_auto_takes_the_fastest_that_can_be_had(place: Place, expected: Name) -> None:
    assert decide("auto", place) == expected
    assert unavailable(expected, place) is None


@pytest.mark.parametrize("name", ["generate", "vllm"])
def test_what_is_asked_for_is_taken(name: EngineName) -> None:
    assert decide(name, replace(CARD, device="cpu", vllm=False)) == name


@pytest.mark.parametrize(
    ("place", "reason", "fix"),
    [
        (replace(CARD, vllm=False), "not installed", r"pip install 'reinforce-lite\[vllm\]'"),
        (replace(CARD, free_gib=5.0), "needs about 12.0 GiB .* 5.0 GiB are left", "auto"),
    ],
)
def test_what_cannot_be_had_comes_with_a_fix(place: Place, reason: str, fix: str) -> None:
    import re

    missing = unavailable("vllm", place)
    assert missing is not None and re.search(reason, missing[0]) and re.search(fix, missing[1])


def test_auto_on_a_cpu_is_generate_and_says_so(policy: Policy, capsys: pytest.CaptureFixture[str]) -> None:
    with opened("auto", policy, 8, 4) as engine:
        assert engine == GenerateEngine(policy, 8)
    assert capsys.readouterr().err == "engine: generate (auto)\n"


def test_choosing_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "vllm")
    code = f"import reinforce_lite.rollout.registry, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
