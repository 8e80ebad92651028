"""Toy policies that cost milliseconds."""

from pathlib import Path
from typing import Any

from reinforce_lite.config import Scratch
from reinforce_lite.policy import Policy, scratch
from reinforce_lite.tasks import named

WORLD = named("word_world")


def toy_policy(architecture: str, seed: int = 0, device: str = "cpu") -> Policy:
    shape = Scratch(
        architecture=architecture, hidden_size=32, layers=2, heads=2, key_value_heads=2, intermediate_size=48
    )
    return scratch.build(shape, WORLD.vocabulary, seed, device)


CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def chat_tokenizer(template: str | None, eos: str | None, special: tuple[str, ...] = ()) -> Any:
    """A tokenizer of a few words with these special tokens, and the chat template of one family of models."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(("<unk>", "user", "assistant", "tom"))}, "<unk>")
    )
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token=eos, bos_token="<s>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.chat_template = template
    return tokenizer


def write_gguf(path: Path, end: str = "<|im_end|>") -> None:
    """A llama of some thousand weights as a GGUF file: its metadata name `<|endoftext|>`, its template writes `end`."""
    import gguf
    import numpy as np
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    width, special = 32, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = [*bytes_to_unicode().values(), "ab"]
    kinds = [gguf.TokenType.NORMAL] * len(words) + [gguf.TokenType.CONTROL] * len(special)
    words += special
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(words.index("<|endoftext|>"))
    writer.add_chat_template(CHATML.replace("<|im_end|>", end))
    shapes = {"token_embd": (len(words), width), "output": (len(words), width), "output_norm": (width,)}
    shapes |= {f"blk.0.{name}_norm": (width,) for name in ("attn", "ffn")}
    layers = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    shapes |= {f"blk.0.{name}": (width, width) for name in layers}
    draws = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draws.normal(0, 0.02, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
