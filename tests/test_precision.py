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


def by(name: str) -> Training:
    return TRAINING.model_copy(update={"weights": name})


@pytest.mark.parametrize(
    ("policy", "gib", "expected"),
    [
        (LLAMA, 80, "master"),  # 51.4 GB of 0.75 x 85.9
        (LLAMA, 48, "stochastic"),  # 38.5 GB of 0.75 x 51.5
        (PHI, 48, "kahan"),  # 38.2 GB; stochastic rounding needs 45.8
        (PHI, 32, "8bit"),  # 23.0 of 25.8 GB; Kahan's sum needs 38.2
        (LLAMA, 24, "offload"),  # 12.8 GB; 8 bits need 19.4 of 19.3
        (LLAMA, 8, "offload"),  # nothing fits: the smallest, and preflight says so
        (LLAMA.model_copy(update={"dtype": "float32"}), 80, "nearest"),
        (LLAMA.model_copy(update={"parameters": None}), 1, "master"),
    ],
)
def test_auto_takes_the_best_that_fits(policy: PolicySettings, gib: float, expected: str) -> None:
    assert precision.scheme(policy, TRAINING, hardware(gib)) == expected


def test_beside_a_cpu_there_is_no_other_memory() -> None:
    assert precision.scheme(LLAMA, TRAINING, hardware(8).model_copy(update={"device": "cpu"})) == "8bit"


def test_adapters_are_for_weights_of_any_precision() -> None:
    for dtype in ("bfloat16", "float32"):
        policy = LLAMA.model_copy(update={"dtype": dtype})
        assert precision.scheme(policy, by("lora"), hardware(8)) == "lora"


def test_memory_for_adapters_is_that_of_the_real_ones() -> None:
    """Of Llama-3.2-3B, by its shapes: what a rank adds is (in + out) of each linear layer."""
    hidden, keys, wide = 3072, 1024, 8192
    pairs = [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden), *[(hidden, wide)] * 2, (wide, hidden)]
    adapters = 16 * 28 * sum(map(sum, pairs))
    needed = 2 * 3.21e9 + 16 * adapters
    assert 1 <= precision.training_gib(LLAMA, by("lora")) * 2**30 / needed < 1.01
    assert 1 <= precision.checkpoint_gib(LLAMA, by("lora")) * 2**30 / (12 * adapters) < 1.1


@pytest.mark.parametrize("name", [*precision.BYTES, "lora"])
def test_what_is_asked_for_is_taken(name: str) -> None:
    assert precision.scheme(LLAMA, by(name), hardware(8)) == name


def test_the_published_run_needs_25_gb_and_rounds_its_steps_away() -> None:
    # weights, gradients and two AdamW states of Llama-3.2-3B in bfloat16: 4 x 2 x 3.21e9 bytes = 25.7 GB
    assert precision.training_gib(LLAMA, by("nearest")) * 2**30 == pytest.approx(25.7e9, rel=1e-2)
    published = settings.load([ROOT / "config/config.yaml", ROOT / "config/as_published.yaml"])
    assert precision.training_of(published, "llama-3.2-3b-instruct", "as_published").weights == "nearest"
    ours = settings.load([ROOT / "config/config.yaml"])
    assert precision.training_of(ours, "llama-3.2-3b-instruct", "leave_one_out").weights == "stochastic"


@pytest.mark.parametrize(
    ("name", "bytes_each"),
    [("master", 14), ("stochastic", 10), ("kahan", 8), ("8bit", 4.03125), ("offload", 14), ("nearest", 6)],
)
def test_a_checkpoint_holds_all_but_the_gradients(name: str, bytes_each: float) -> None:
    assert precision.checkpoint_gib(LLAMA, by(name)) * 2**30 == pytest.approx(bytes_each * 3.21e9)
    single = LLAMA.model_copy(update={"dtype": "float32"})
    assert precision.checkpoint_gib(single, by("nearest")) * 2**30 == pytest.approx(12 * 3.21e9)


def test_the_estimate_is_what_the_optimiser_keeps() -> None:
    """Bytes of real states of 2**16 weights, beside 2 for the weight and 2 for its gradient."""
    import torch

    from reinforce_lite.policy.adamw import SCHEMES, AdamW

    for name, scheme in SCHEMES.items():
        weight = torch.zeros(2**16, dtype=torch.bfloat16, requires_grad=True)
        weight.grad = torch.ones_like(weight)
        optimizer = AdamW([weight], name, 1e-6)
        optimizer.step()
        kept = sum(value.nbytes for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor))
        expected = precision.CPU_BYTES[name] if scheme.on_cpu else precision.BYTES[name] - 4  # type: ignore[index]
        assert kept == expected * weight.numel(), name


def test_the_engine_is_decided_by_what_is_left_beside_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reinforce_lite.rollout.choose._has_vllm", lambda: True)
    config = settings.load([ROOT / "config/config.yaml"])
    for model, variant in (("llama-3.2-3b-instruct", "leave_one_out"), ("phi-3.5-mini-instruct", "leave_one_out")):
        # Llama: 10 bytes a weight of 48 GiB leave 18.1, and 6.0 + 6 are needed; Phi: 8 bytes, 19.5 and 7.1 + 6
        assert precision.training_of(config, model, variant).engine == "vllm"
        assert precision.evaluation_of(config, model).engine == "vllm"
    place = precision.training_place(
        config.policies["llama-3.2-3b-instruct"],
        precision.training_of(config, "llama-3.2-3b-instruct", "leave_one_out"),
        config.hardware,
    )
    assert (place.free_gib, place.weights_gib) == (pytest.approx(18.1, abs=0.05), pytest.approx(5.98, abs=0.01))
    small = config.model_copy(update={"hardware": hardware(40)})  # Kahan's sum then: 8 bytes leave 16.1
    assert precision.training_of(small, "llama-3.2-3b-instruct", "leave_one_out").engine == "vllm"
    smaller = config.model_copy(update={"hardware": hardware(16)})  # states on the CPU: 2 bytes leave 10.0
    assert precision.training_of(smaller, "llama-3.2-3b-instruct", "leave_one_out").engine != "vllm"
    tiny = settings.load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"])
    assert precision.training_of(tiny, "tiny-llama", "leave_one_out").engine == "generate"
