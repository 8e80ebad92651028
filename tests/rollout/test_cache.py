"""How much of a card vLLM gets for keys and values, against numbers worked by hand."""

from pathlib import Path

import pytest

from reinforce_lite.config import Evaluation, Settings, load
from reinforce_lite.policy import Policy
from reinforce_lite.resources import precision
from reinforce_lite.rollout.generate import GenerateEngine
from reinforce_lite.rollout.registry import GIB, OTHER_GIB, opened, rows_at_once, rows_that_fit
from reinforce_lite.rollout.vllm import BLOCK, size_of_cache
from toys import toy_policy

ROOT = Path(__file__).parents[2]
LLAMA, PHI = "llama-3.2-3b-instruct", "phi-3.5-mini-instruct"
CARDS = {"RTX 4090": 24, "RTX A6000": 48, "L40S": 48, "A100": 80, "H100": 80}
# Llama has 3.21e9 weights = 2.990 GiB a byte, Phi 3.82e9 = 3.558 GiB. Kept in a rollout, bytes a weight without
# gradients: offload 2, stochastic 10, kahan 8, master 14. vLLM has 2 bytes a weight of its own; 4 GiB are for others.
TRAINING = [
    ("RTX 4090", LLAMA, "offload", 24 - 4 * 2.990 - 4),  # 8.0
    ("RTX 4090", PHI, "offload", 24 - 4 * 3.558 - 4),  # 5.8
    ("RTX A6000", LLAMA, "stochastic", 48 - 12 * 2.990 - 4),  # 8.1
    ("RTX A6000", PHI, "kahan", 48 - 10 * 3.558 - 4),  # 8.4
    ("L40S", LLAMA, "offload", 48 - 4 * 2.990 - 4),  # 32.0
    ("L40S", PHI, "offload", 48 - 4 * 3.558 - 4),  # 29.8
    ("A100", LLAMA, "master", 80 - 16 * 2.990 - 4),  # 28.2
    ("A100", PHI, "stochastic", 80 - 12 * 3.558 - 4),  # 33.3
    ("H100", LLAMA, "stochastic", 80 - 12 * 2.990 - 4),  # 40.1
    ("H100", PHI, "master", 80 - 16 * 3.558 - 4),  # 19.1
]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reinforce_lite.rollout.registry._has_vllm", lambda: True)


def on(card: str, **training: object) -> Settings:
    config = load([ROOT / "config/config.yaml"])
    hardware = config.hardware.model_copy(update={"memory_gib": CARDS[card]})
    return config.model_copy(
        update={"hardware": hardware, "training": config.training.model_copy(update=training)}
    )  # fmt: skip


@pytest.mark.parametrize(("card", "model", "weights", "gib"), TRAINING)
def test_training_leaves_what_is_free_beside_its_state(
    installed: None, card: str, model: str, weights: str, gib: float
) -> None:
    training = precision.training_of(on(card, weights=weights), model, "leave_one_out")
    assert training.engine == "vllm" and training.kv_cache_gib == pytest.approx(gib, abs=0.01)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(("model", "copies"), [(LLAMA, 4 * 2.990), (PHI, 4 * 3.558)])
def test_an_evaluation_leaves_what_is_free_beside_two_copies(
    installed: None, card: str, model: str, copies: float
) -> None:
    evaluation = precision.evaluation_of(on(card), model)
    assert (evaluation.engine, evaluation.size) == ("vllm", 512)
    assert evaluation.kv_cache_gib == pytest.approx(CARDS[card] - copies - OTHER_GIB, abs=0.01)


def test_what_is_asked_for_is_taken(installed: None) -> None:
    asked = on("RTX A6000", kv_cache_gib=3.5, rollout_batch=40)
    training = precision.training_of(asked, PHI, "leave_one_out")
    assert (training.kv_cache_gib, training.rollout_batch) == (3.5, 40)


def test_phi_has_many_rows_where_four_gib_held_nine() -> None:
    """Phi-3.5 keeps 384 KiB a token: 1,024 of answer and 200 of question are 459 MiB a row."""
    row = 384 * 1024 * (1024 + 200)
    assert int(4 * GIB / row) == 8 and int(8.4 * GIB / row) == 18
    longest = 2048 + 1024
    assert size_of_cache(384 * 1024, longest, 80, 8.4) == int(8.4 * GIB), "rows that find no room wait"
    assert size_of_cache(384 * 1024, longest, 4, 8.4) == 4 * 384 * 1024 * (longest + BLOCK), "no more than all need"
    assert size_of_cache(384 * 1024, longest, 80, None) == 80 * 384 * 1024 * (longest + BLOCK)


def test_rows_of_generate_fit_beside_the_training() -> None:
    policy = toy_policy("llama")  # 2 layers x 2 heads of 16 x keys and values x 4 bytes = 512 bytes a token
    assert policy.cache_bytes_per_token == 512
    row = 512 * (512 + 1024)
    assert rows_that_fit(256, policy, 1024, 30.5 * row / GIB) == 30
    assert rows_that_fit(8, policy, 1024, 30.5 * row / GIB) == 8
    assert rows_that_fit(256, policy, 1024, 0.0) == 1 and rows_that_fit(256, policy, 1024, None) == 256
    with opened("generate", policy, "auto", 1024, 30.5 * row / GIB) as engine:
        assert engine == GenerateEngine(policy, 30)


def test_auto_takes_all_rows_up_to_what_an_engine_is_good_for(policy: Policy) -> None:
    tiny = load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"])
    assert precision.training_of(tiny, "tiny-llama", "leave_one_out").rollout_batch == 160
    auto = tiny.model_copy(
        update={
            "training": tiny.training.model_copy(update={"rollout_batch": "auto"}),
            "evaluation": tiny.evaluation.model_copy(update={"batch_size": "auto"}),
        }
    )
    assert precision.training_of(auto, "tiny-llama", "leave_one_out").rollout_batch == 160  # 16 questions x 10
    assert precision.evaluation_of(auto, "tiny-llama").size == 64
    assert rows_at_once("auto", 256, 1280) == 256
    with opened("auto", policy, "auto", 4) as engine:
        assert engine == GenerateEngine(policy, 256)


def test_a_size_that_is_not_decided_is_no_size() -> None:
    with pytest.raises(ValueError, match="batch_size is auto"):
        _ = Evaluation(max_new_tokens=8).size
