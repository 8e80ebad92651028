"""A stand-in for vLLM with its limits on a GPU: one engine a process, and none in torch's deterministic mode.

It has what rollout/vllm.py calls, and decodes with the project's own engine. Tests put this folder on PYTHONPATH.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Sampling
from reinforce_lite.rollout.generate import GenerateEngine

opened = 0


class SamplingParams(SimpleNamespace):
    """The arguments as they are."""


def refuse_deterministic_mode() -> None:
    if torch.are_deterministic_algorithms_enabled():
        raise RuntimeError("In the deterministic mode of Inductor, we will avoid those benchmarkings")


class LLM:
    def __init__(self, folder: str, *, max_num_seqs: int, max_model_len: int, dtype: str, **rest: Any) -> None:
        global opened
        refuse_deterministic_mode()
        opened += 1
        if opened > 1:
            raise AssertionError("CuMem allocator can only be used for one instance per process.")
        config = AutoConfig.for_model(**json.loads(Path(folder, "config.json").read_text()))
        self.model = AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype)).eval()
        self.rows, self.longest = max_num_seqs, max_model_len
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=lambda: None))

    def collective_rpc(self, method: str, kwargs: dict[str, Iterable[tuple[str, torch.Tensor]]]) -> None:
        assert method == "reload_weights"
        self.model.load_state_dict(dict(kwargs["weights_iterator"]))

    def reset_prefix_cache(self) -> bool:
        return True

    def generate(self, prompts: list[dict[str, list[int]]], params: list[SamplingParams], use_tqdm: bool) -> list[Any]:
        refuse_deterministic_mode()
        outputs = []
        for prompt, asked in zip(prompts, params, strict=True):
            ids = prompt["prompt_token_ids"]
            if len(ids) + asked.max_tokens > self.longest:
                raise ValueError(f"prompt of {len(ids)} tokens: longer than the engine was made for")
            engine = GenerateEngine(Policy(self.model, None, frozenset(asked.stop_token_ids), 0), self.rows)
            sampling = Sampling(asked.temperature, asked.top_p, asked.max_tokens)
            (group,) = engine([ids], asked.n, sampling, [asked.seed or 0])
            outputs.append(SimpleNamespace(prompt_token_ids=ids, outputs=[written(i, c) for i, c in enumerate(group)]))
        return outputs


def written(index: int, completion: Any) -> SimpleNamespace:
    pairs = zip(completion.token_ids, completion.logprobs, strict=True)
    return SimpleNamespace(
        index=index, token_ids=completion.token_ids, finish_reason=completion.finish_reason,
        logprobs=[{token: SimpleNamespace(logprob=logprob)} for token, logprob in pairs],
    )  # fmt: skip
