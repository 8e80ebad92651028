"""Real pretrained weights: SmolLM2-135M-Instruct from the GGUF file that SMOLLM_GGUF names."""

import os
from pathlib import Path

import pytest
import torch

from reinforce_lite.config import PolicySettings
from reinforce_lite.policy import Policy, load
from reinforce_lite.rollout import Sampling
from reinforce_lite.rollout.generate import GenerateEngine
from toys import WORLD

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("SMOLLM_GGUF" not in os.environ, reason="SMOLLM_GGUF names no SmolLM2-135M-Instruct .gguf file"),
]


@pytest.fixture(scope="module")
def smollm() -> Policy:
    path = Path(os.environ["SMOLLM_GGUF"])
    return load.local(path, PolicySettings(path=path, dtype="float32"), "cpu")


def test_a_gguf_policy_can_be_saved_and_loaded(smollm: Policy, tmp_path: Path) -> None:
    load.save(smollm, tmp_path, {"model": "smollm"})
    loaded = load.load(tmp_path, PolicySettings(path=tmp_path, dtype="float32"), "cpu")
    for (name, a), (_, b) in zip(smollm.model.named_parameters(), loaded.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    question = WORLD.messages("tagged", "What is 2 + 3?")
    assert loaded.prompt_ids(question) == smollm.prompt_ids(question)
    assert loaded.stop_ids == smollm.stop_ids


@pytest.mark.parametrize("prompt", ["tagged", "released", "bare"])
def test_its_chat_prompt_is_tokenised_once_and_survives_a_round_trip(smollm: Policy, prompt: str) -> None:
    ids = smollm.prompt_ids(WORLD.messages(prompt, "What is 2 + 3?"))
    assert smollm.tokenizer.convert_ids_to_tokens(ids).count("<|im_start|>") == 3
    assert "What is 2 + 3?" in smollm.tokenizer.decode(ids)


def test_it_talks_and_stops(smollm: Policy) -> None:
    ids = smollm.prompt_ids(WORLD.messages("bare", "What is the capital of France? Answer in one word."))
    ((completion,),) = GenerateEngine(smollm, 4)([ids], 1, Sampling(0, 1, 48), None)
    assert "Paris" in smollm.text(completion.token_ids)
    assert completion.finish_reason == "stop"
