"""Models of real shapes with random weights: what a step costs does not depend on what the weights know.

No weights and no tokenizer are downloaded. A word names the id of its token, so random ids make a prompt, and the
end-of-sequence token lies outside what the model can write, so that completions have the length that is asked for.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from reinforce_lite.policy import Policy

END = "<end>"
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@dataclass(frozen=True)
class Shape:
    """The measures of a model."""

    architecture: Literal["llama", "phi3"]
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    mlp: int


SHAPES: dict[str, dict[str, Shape]] = {
    # meta-llama/Llama-3.2-3B-Instruct and microsoft/Phi-3.5-mini-instruct.
    "3b": {
        "llama-3.2-3b": Shape("llama", 128_256, 3072, 28, 24, 8, 8192),
        "phi-3.5-mini": Shape("phi3", 32_064, 3072, 32, 32, 32, 8192),
    },
    # To see on a CPU that a benchmark runs; its figures say nothing about 3B models.
    "small": {
        "small-llama": Shape("llama", 2048, 64, 4, 4, 2, 128),
        "small-phi": Shape("phi3", 1024, 64, 4, 4, 4, 128),
    },
}


def build(shape: Shape, device: str, dtype: torch.dtype = torch.bfloat16) -> Policy:
    """A policy of this shape, its random weights made on the device; it never ends a completion by itself."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(_config(shape), dtype=dtype, attn_implementation="sdpa")
    model.generation_config.eos_token_id = None
    return Policy(model, number_tokenizer(shape.vocabulary), frozenset(), 0)


def word(token_id: int) -> str:
    """The word of a token. With a letter before the number: the padding's word must not be found inside another one."""
    return f"t{token_id}"


def number_tokenizer(vocabulary: int) -> Any:
    """Reads and writes the words of token ids.

    >>> number_tokenizer(101)("t7 t100 t3", add_special_tokens=False)["input_ids"]
    [7, 100, 3]
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {**{word(i): i for i in range(vocabulary)}, END: vocabulary}
    core = Tokenizer(models.WordLevel(words, unk_token=word(0)))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, pad_token=word(0), unk_token=word(0))
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _config(shape: Shape) -> Any:
    """What transformers calls this shape, with the rotary embeddings of the real models."""
    from transformers import LlamaConfig, Phi3Config

    common: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "max_position_embeddings": 131_072,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    if shape.architecture == "llama":
        stretch = {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        rope = {"rope_type": "llama3", "rope_theta": 500_000.0, "original_max_position_embeddings": 8192, **stretch}
        return LlamaConfig(**common, tie_word_embeddings=True, rope_parameters=rope)
    # Ones instead of Phi's own factors: they cost the same.
    ones = [1.0] * (shape.hidden // shape.heads // 2)
    rope = {"rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": ones, "long_factor": ones, "factor": 32.0}
    return Phi3Config(
        **common, tie_word_embeddings=False, sliding_window=None, rope_parameters=rope,
        original_max_position_embeddings=4096,
    )  # fmt: skip
