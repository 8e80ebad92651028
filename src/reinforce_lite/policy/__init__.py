"""Policies: a causal language model, its tokenizer, and the token ids that matter."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Policy:
    """A language model that writes completions.

    Attributes:
        model: any causal language model of transformers.
        tokenizer: its tokenizer, with a chat template.
        stop_ids: every end-of-sequence id of the model's generation_config, and the one that its chat template writes
            after an answer.
        pad_id: fills rows of unequal length; never a stop id, and always masked by position, never by value.
    """

    model: Any
    tokenizer: Any
    stop_ids: frozenset[int]
    pad_id: int

    @property
    def device(self) -> "torch.device":
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def bytes(self) -> int:
        """Bytes of one copy of the weights."""
        return sum(weight.numel() * weight.element_size() for weight in self.model.parameters())

    @property
    def cache_bytes_per_token(self) -> int:
        """Bytes of the keys and values of one token in all layers."""
        config = self.model.config
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * config.num_key_value_heads * head * self.model.dtype.itemsize)

    def prompt_ids(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a chat prompt; training and evaluation both come through here.

        The chat template writes every special token itself, so the tokenizer must add none (no second BOS).
        """
        return encode_prompt(self.tokenizer, render_prompt(self.tokenizer, messages))

    def text(self, token_ids: list[int]) -> str:
        """The text of a completion, without special tokens."""
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True))


PROMPT_DATE = "26 Jul 2024"
"""Some templates (Llama 3.2's) write today's date unless they are given one: the prompt would change overnight."""


def render_prompt(tokenizer: Any, messages: list[dict[str, str]], whole: bool = False) -> str:
    """The text of a chat prompt; a last message by the assistant is to be continued, unless the dialogue is `whole`."""
    prefilled = messages[-1]["role"] == "assistant"
    return str(
        tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=not prefilled,
            continue_final_message=prefilled and not whole,
            date_string=PROMPT_DATE,
        )
    )


def encode_prompt(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a rendered chat prompt."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
