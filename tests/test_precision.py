"""Which scheme is chosen for which policy on which device."""

from pathlib import Path

import pytest

from reinforce_lite import precision, settings
from reinforce_lite.settings import Hardware, PolicySettings, Training

ROOT = Path(__file__).parents[1]
TRAINING = Training(steps=1, questions_per_step=1, max_new_tokens=8, learning_rate=1e-6)
LLAMA, PHI = (PolicySettings(repo="a/b", revision="c", parameters=size) for size in (3.21, 3.82))


def hardware(gib: float) -> Hardware:
    price = {"usd_per_hour": 1.0, "price_source": "a list", "price_date": "2026-11-01"}
    return Hardware(device="cuda", name="a card", count=1, memory_gib=gib, **price)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "gib", "expected"),
    [
        (LLAMA, 80, "master"),  # 51.4 GB of 0.75 x 85.9
        (LLAMA, 48, "stochastic"),  # 38.5 GB of 0.75 x 51.5
        (PHI, 48, "kahan"),  # 38.2 GB; stochastic rounding needs 45.8
        (LLAMA, 24, "kahan"),  # nothing fits: the smallest, and preflight says so
        (LLAMA.model_copy(update={"dtype": "float32"}), 80, "nearest"),
        (LLAMA.model_copy(update={"parameters": None}), 1, "master"),
    ],
)
def test_auto_takes_the_best_that_fits(policy: PolicySettings, gib: float, expected: str) -> None:
    assert precision.scheme(policy, TRAINING, hardware(gib)) == expected


@pytest.mark.parametrize("name", ["nearest", "master", "stochastic", "kahan"])
def test_what_is_asked_for_is_taken(name: str) -> None:
    asked = TRAINING.model_copy(update={"weights": name})
    assert precision.scheme(LLAMA, asked, hardware(8)) == name


def test_the_published_run_needs_25_gb_and_rounds_its_steps_away() -> None:
    # weights, gradients and two AdamW states of Llama-3.2-3B in bfloat16: 4 x 2 x 3.21e9 bytes = 25.7 GB
    assert precision.training_gib(LLAMA, "nearest") * 2**30 == pytest.approx(25.7e9, rel=1e-2)
    published = settings.load([ROOT / "config/config.yaml", ROOT / "config/as_published.yaml"])
    assert precision.training_of(published, "llama-3.2-3b-instruct", "as_published").weights == "nearest"
    ours = settings.load([ROOT / "config/config.yaml"])
    assert precision.training_of(ours, "llama-3.2-3b-instruct", "leave_one_out").weights == "stochastic"


@pytest.mark.parametrize(("name", "bytes_each"), [("master", 14), ("stochastic", 10), ("kahan", 8), ("nearest", 6)])
def test_a_checkpoint_holds_all_but_the_gradients(name: precision.Scheme, bytes_each: int) -> None:
    assert precision.checkpoint_gib(LLAMA, name) * 2**30 == pytest.approx(bytes_each * 3.21e9)
    single = LLAMA.model_copy(update={"dtype": "float32"})
    assert precision.checkpoint_gib(single, "nearest") * 2**30 == pytest.approx(12 * 3.21e9)
