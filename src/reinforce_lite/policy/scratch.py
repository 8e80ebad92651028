"""Tiny models from nothing, over the few words of a task."""

from collections.abc import Sequence
from typing import Any

import torch

from reinforce_lite.config import Scratch
from reinforce_lite.policy import Policy
from reinforce_lite.policy.load import assemble
from reinforce_lite.policy.size import SPECIAL

PAD, BOS, EOS, UNKNOWN, REPLY = SPECIAL
POSITIONS = 256
CHAT_TEMPLATE = (
    "{{ bos_token }} {% for message in messages %}{{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<reply>{% endif %}"
)


def word_tokenizer(vocabulary: Sequence[str]) -> Any:
    """A tokenizer with one token a word, and a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = (*SPECIAL, *vocabulary)
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, bos_token=BOS, eos_token=EOS, unk_token=UNKNOWN,
        additional_special_tokens=[REPLY], clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build(settings: Scratch, vocabulary: Sequence[str], seed: int, device: str) -> Policy:
    """Build a randomly initialised `LlamaForCausalLM` or `Phi3ForCausalLM` over these words, in float32."""
    from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

    tokenizer = word_tokenizer(vocabulary)
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": settings.hidden_size,
        "intermediate_size": settings.intermediate_size,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": settings.key_value_heads,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(seed)
    model: Any
    if settings.architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True))
    else:
        model = Phi3ForCausalLM(Phi3Config(**shape, tie_word_embeddings=False, sliding_window=None))
    return assemble(model.float().to(device), tokenizer)
