"""Whether two machines compute the same: a short training in float32 of two small models, to the last bit.

    python benchmarks/arithmetic.py
    ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=COMPATIBLE python benchmarks/arithmetic.py

It needs torch and transformers alone, so that it runs on a machine without this package. For each architecture, and for
torch's AdamW as it is by default on a CPU and fused, it prints the start of the SHA-256 of the first weights, of the
first gradient, of six losses, and of the last weights. What two machines printed stands in
benchmarks/results/arithmetic.json.
"""

import hashlib
import json
import os
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

SHAPE = {
    "vocab_size": 64, "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 384, "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def digest(*tensors: torch.Tensor) -> str:
    """The start of the SHA-256 of their bits."""
    every = (tensor.detach().contiguous().numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(b"".join(every)).hexdigest()[:8]


def trained(model: Any, fused: bool) -> dict[str, str]:
    """Train a model for six steps."""
    found, losses = {"first weights": digest(*model.parameters())}, []
    draws = torch.Generator().manual_seed(2)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.0, fused=fused)
    for step in range(6):
        tokens_BT = torch.randint(3, 64, (32, 40), generator=draws)
        logprobs_BTV = model(input_ids=tokens_BT).logits[:, :-1].log_softmax(-1)
        loss = -logprobs_BTV.gather(-1, tokens_BT[:, 1:, None]).mean()
        loss.backward()
        if step == 0:
            found["gradient"] = digest(*[weight.grad for weight in model.parameters()])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)
    return {**found, "losses": digest(*losses), "last weights": digest(*model.parameters())}


def main() -> None:
    """Print the sums as one JSON object."""
    torch.set_num_threads(1)
    rows = {}
    for name, config, kind in (("llama", LlamaConfig, LlamaForCausalLM), ("phi3", Phi3Config, Phi3ForCausalLM)):
        for fused in (False, True):
            torch.manual_seed(1)
            model = kind(config(**SHAPE, tie_word_embeddings=name == "llama"))
            rows[f"{name}, {'fused' if fused else 'as it is'}"] = trained(model, fused)
    given = {name: os.environ.get(name) for name in ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA")}
    uses = torch.backends.cpu.get_cpu_capability()
    print(json.dumps({"torch": torch.__version__, "torch_uses": uses, "set": given, "rows": rows}))


if __name__ == "__main__":
    main()
