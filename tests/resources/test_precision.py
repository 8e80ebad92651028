"""Which scheme is chosen for which policy on which device."""

from pathlib import Path

import pytest

from reinforce_lite.config import Hardware, PolicySettings, Training, load
from reinforce_lite.resources import memory, precision
from reinforce_lite.stages import EVALUATE_AGAIN as AGAIN
from reinforce_lite.stages import Job

ROOT = Path(__file__).parents[2]
TRAINING = Training(steps=1, questions_per_step=1, max_new_tokens=8, learning_rate=1e-6)
LLAMA, PHI = (PolicySettings(repo="a/b", revision="0" * 40, parameters=size) for size in (3.21, 3.82))


def hardware(gib: float) -> Hardware:
    price = {"usd_per_hour": 1.0, "price_source": "a list", "price_date": "2026-11-01"}
    return Hardware(device="cuda", name="a card", count=1, memory_gib=gib, **price)  # type: ignore[arg-type]


def by(name: str) -> Training:
    return TRAINING.model_copy(update={"weights": name})


@pytest.mark.parametrize(
    ("policy", "gib", "expected"),
    [
        # In GB, with 6.4 (Llama) or 6.9 (Phi) for an update of 16,384 tokens; see the test after the next.
        (LLAMA, 80, "master"),  # 51.4 + 6.4 of 84.8
        (PHI, 80, "master"),  # 61.1 + 6.9 of 84.8
        (LLAMA, 48, "stochastic"),  # 38.5 + 6.4 of 50.5; a master copy needs 57.7
        (PHI, 48, "kahan"),  # 38.2 + 6.9 of 50.5; stochastic rounding needs 52.8
        (PHI, 32, "8bit"),  # 23.0 + 6.9 of 33.3; Kahan's sum needs 45.1
        (LLAMA, 24, "offload"),  # 12.8 + 6.4 of 24.7; 8 bits need 25.7
        (PHI, 24, "offload"),  # 15.3 + 6.9 of 24.7
        (LLAMA, 8, "offload"),  # nothing fits: the smallest, and preflight says so
        (LLAMA.model_copy(update={"dtype": "float32"}), 80, "nearest"),
        (LLAMA.model_copy(update={"parameters": None}), 1, "master"),
    ],
)
def test_auto_takes_the_best_that_fits(policy: PolicySettings, gib: float, expected: str) -> None:
    assert precision.scheme(policy, TRAINING, hardware(gib)) == expected


@pytest.mark.parametrize("length", [1024, 4096, 8192])
@pytest.mark.parametrize(
    ("policy", "gib", "way", "gigabytes"),
    [
        # hidden (100 x weights / 12)^(1/3): 2,991 and 3,169. GB of hidden states, 16,384 x hidden^2 / 100 x 2; of one
        # layer, 16,384 x hidden x 53; of the head's gradient, 128,256 x hidden x 2; and 0.075:
        # Llama 2.930 + 2.597 + 0.767 + 0.075 = 6.369, Phi 3.291 + 2.752 + 0.813 + 0.075 = 6.931
        (LLAMA, 24, "offload", 4 * 3.21 + 6.369),
        (PHI, 24, "offload", 4 * 3.82 + 6.931),
        (LLAMA, 48, "stochastic", 12 * 3.21 + 6.369),
        (PHI, 48, "kahan", 10 * 3.82 + 6.931),
        (LLAMA, 80, "master", 16 * 3.21 + 6.369),
        (PHI, 80, "master", 16 * 3.82 + 6.931),
    ],
)
def test_what_auto_takes_on_a_card_reaches_the_length(
    policy: PolicySettings, gib: float, way: str, gigabytes: float, length: int
) -> None:
    training = TRAINING.model_copy(update={"max_new_tokens": length})
    assert precision.scheme(policy, training, hardware(gib)) == way
    taken = training.model_copy(update={"weights": way})
    assert memory.update_gib(policy, taken) * 2**30 / 1e9 == pytest.approx(gigabytes, abs=0.01)
    assert memory.longest_completion(policy, taken, hardware(gib)) >= max(length, 8192)


def test_auto_looks_at_the_forward_pass_and_at_the_completions() -> None:
    """On 24 GiB 24.7 GB can be used, and 8 bits keep 19.36 of Llama.

    4,352 tokens need 0.778 (hidden states) + 2.101 + 0.123 + 0.767 (head) + 0.075: 23.2. 16,640 need 25.8.
    """
    short = {"micro_batch_tokens": 4096, "max_new_tokens": 4096}
    small = TRAINING.model_copy(update=short)
    assert precision.scheme(LLAMA, small, hardware(24)) == "8bit"
    taken = small.model_copy(update={"weights": "8bit"})
    assert memory.update_gib(LLAMA, taken) * 2**30 == pytest.approx(23.2e9, rel=2e-3)
    assert memory.longest_completion(LLAMA, taken, hardware(24)) < 16_384
    longer = small.model_copy(update={"max_new_tokens": 16_384})
    assert precision.scheme(LLAMA, longer, hardware(24)) == "offload"


def test_the_longest_completion_by_hand() -> None:
    """24 GiB, Llama, `offload`: 24.70 - 12.84 - 0.767 - 0.075 = 11.02 GB for tokens of 2 x 89,430 + 53 x 2,991 bytes.

    That are 32,660 tokens, and without a prompt of 256 and in steps of 256 they are 32,256.
    """
    assert memory.longest_completion(LLAMA, by("offload"), hardware(24)) == 32_256
    assert memory.longest_completion(LLAMA, by("8bit"), hardware(24)) == 0


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
    assert 1 <= memory.footprint(LLAMA, by("lora")).device * 2**30 / needed < 1.01
    assert 1 <= memory.footprint(LLAMA, by("lora")).checkpoint * 2**30 / (12 * adapters) < 1.1


@pytest.mark.parametrize("name", [*memory.BYTES, "lora"])
def test_what_is_asked_for_is_taken(name: str) -> None:
    assert precision.scheme(LLAMA, by(name), hardware(8)) == name


def test_the_published_run_needs_25_gb_and_rounds_its_steps_away() -> None:
    # weights, gradients and two AdamW states of Llama-3.2-3B in bfloat16: 4 x 2 x 3.21e9 bytes = 25.7 GB
    assert memory.footprint(LLAMA, by("nearest")).device * 2**30 == pytest.approx(25.7e9, rel=1e-2)
    published = load([ROOT / "config/config.yaml", ROOT / "config/as_published.yaml"])
    assert precision.training_of(published, "llama-3.2-3b-instruct", "as_published").weights == "nearest"
    ours = load([ROOT / "config/config.yaml"])
    assert precision.training_of(ours, "llama-3.2-3b-instruct", "leave_one_out").weights == "stochastic"


@pytest.mark.parametrize(
    ("name", "bytes_each"),
    [("master", 14), ("stochastic", 10), ("kahan", 8), ("8bit", 4.03125), ("offload", 14), ("nearest", 6)],
)
def test_a_checkpoint_holds_all_but_the_gradients(name: str, bytes_each: float) -> None:
    assert memory.footprint(LLAMA, by(name)).checkpoint * 2**30 == pytest.approx(bytes_each * 3.21e9)
    single = LLAMA.model_copy(update={"dtype": "float32"})
    assert memory.footprint(single, by("nearest")).checkpoint * 2**30 == pytest.approx(12 * 3.21e9)


def test_a_critic_takes_as_much_as_the_policy() -> None:
    one, two = (by("offload").model_copy(update={"estimator": name}) for name in ("leave_one_out", "critic"))
    alone, both = memory.footprint(LLAMA, one), memory.footprint(LLAMA, two)
    assert (both.gradients, both.device, both.checkpoint) == (
        2 * alone.gradients,
        2 * alone.device,
        2 * alone.checkpoint,
    )
    assert both.cpu * 2**30 == pytest.approx((2 * 12 + 4) * 3.21e9), "drift is measured of the policy alone"
    auto = TRAINING.model_copy(update={"estimator": "critic"})
    # 2 x 38.5 + 6.4 GB by `stochastic` and 2 x 51.4 by `master`, of 84.8; alone, `master` fits.
    assert precision.scheme(LLAMA, auto, hardware(80)) == "stochastic"


def test_the_estimate_is_what_the_optimiser_keeps() -> None:
    """Bytes of real states of 2**16 weights, beside 2 for the weight and 2 for its gradient."""
    import torch

    from reinforce_lite.optim.adamw import SCHEMES, AdamW

    for name, scheme in SCHEMES.items():
        weight = torch.zeros(2**16, dtype=torch.bfloat16, requires_grad=True)
        weight.grad = torch.ones_like(weight)
        optimizer = AdamW([weight], name, 1e-6)
        optimizer.step()
        kept = sum(value.nbytes for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor))
        expected = memory.CPU_BYTES[name] if scheme.on_cpu else memory.BYTES[name] - 4  # type: ignore[index]
        assert kept == expected * weight.numel(), name


def test_the_engine_is_decided_by_what_is_left_beside_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reinforce_lite.rollout.registry._has_vllm", lambda: True)
    config = load([ROOT / "config/config.yaml"])
    for model, variant in (("llama-3.2-3b-instruct", "leave_one_out"), ("phi-3.5-mini-instruct", "leave_one_out")):
        # Llama: 10 bytes a weight of 48 GiB leave 18.1, and 6.0 + 6 are needed; Phi: 8 bytes, 19.5 and 7.1 + 6
        assert precision.training_of(config, model, variant).engine == "vllm"
        assert precision.evaluation_of(config, model).engine == "vllm"
    model = "phi-3.5-mini-instruct"
    sizes = [precision.evaluation_of_job(config, Job(stage, model)).size for stage in ("evaluate_baseline", AGAIN)]
    assert sizes[1] == sizes[0] // 2, "the second evaluation has other batches"
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
    tiny = load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"])
    assert precision.training_of(tiny, "tiny-llama", "leave_one_out").engine == "generate"
