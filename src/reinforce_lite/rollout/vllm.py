"""The engine of vLLM, inside this process: the fastest on a GPU, for the price of a second copy of the weights.

It runs with vLLM's CPU build against the tiny models (`tests/rollout/test_engines.py`), and ran on an H200 with vLLM
0.24 (`benchmarks/results/gpu/engines.json`), its draws seeded by one generator or by one for each row.
What one would not expect of vLLM:

- Weights are handed over by `reload_weights`, which packs them for the device again; `load_weights` alone is not enough
  on a CPU, where the packed ones go on being used.
- A head tied to the embedding keeps its old weights then: for vLLM they are two, and it gets both.
- Cached prefixes outlive an update of the weights: they are thrown away after each hand-over.
- Of a group, vLLM seeds the i-th completion with seed + i: prompts need seeds that are further apart than that.
- Its log-probabilities are the policy's own unless `logprobs_mode` asks for those of what was drawn from.
- Once it runs, vLLM for a CPU ignores `torch.set_num_threads`: set threads before.
- It knows only some sizes of attention heads (on a CPU 32, 64, 80, ...; not the 16 of a toy).
- It cannot start in torch's deterministic mode: Inductor refuses to benchmark there. So the mode is off around it.
- Its allocator works once a process on a GPU: a process opens one engine and shares it.
- At its start it wants a share of the whole device to be free, even if the size of its cache is given.
- A generator for each request is a loop over rows in its sampler. `seeded=False` draws a call from one generator.
"""

import gc
import json
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from reinforce_lite.optim import lora
from reinforce_lite.policy import Policy
from reinforce_lite.policy.load import mode_restored
from reinforce_lite.rollout import Completion, Sampling, checked
from reinforce_lite.rollout.registry import GIB

PROMPT_TOKENS = 2048
"""The longest prompt; the questions of GSM8K take a few hundred. Preflight refuses longer ones before any money is
spent (`preflight.prompts`)."""
BLOCK = 128
"""Tokens by which the last block of a row may be rounded up."""


class VllmEngine:
    """Decode with vLLM; `seeded` may be changed between two calls.

    Args:
        policy: whose weights are handed over at each call.
        rows_at_once: completions decoded side by side.
        max_new_tokens: the longest completion that will be requested.
        cache_gib: GiB of a GPU for keys and values; None is room for all rows at their full length.
        seeded: whether each completion is drawn by a generator of its own; otherwise one generator draws for a whole
            call, and what is drawn for a prompt depends on the prompts beside it.
    """

    def __init__(
        self,
        policy: Policy,
        rows_at_once: int,
        max_new_tokens: int,
        cache_gib: float | None = None,
        seeded: bool = True,
    ) -> None:
        self.policy, self.seeded = policy, seeded
        self._on_gpu = policy.device.type == "cuda"
        _prepare_environment()
        import vllm

        config = policy.model.config
        longest = min(PROMPT_TOKENS + max_new_tokens, config.max_position_embeddings)
        cache_bytes = size_of_cache(policy.cache_bytes_per_token, longest, rows_at_once, cache_gib)
        with tempfile.TemporaryDirectory() as folder, _as_vllm_needs_it(policy.device):
            untied = {**config.to_dict(), "architectures": [type(policy.model).__name__], "tie_word_embeddings": False}
            (Path(folder) / "config.json").write_text(json.dumps(untied, default=str), encoding="utf-8")
            self._llm: Any = vllm.LLM(
                folder,
                skip_tokenizer_init=True,
                trust_remote_code=False,
                load_format="dummy",  # weights come with the first call
                generation_config="vllm",  # nothing from the model's own
                dtype=str(policy.model.dtype).removeprefix("torch."),
                max_model_len=longest,
                max_num_seqs=rows_at_once,
                kv_cache_memory_bytes=cache_bytes,
                logprobs_mode="processed_logprobs",
                enforce_eager=not self._on_gpu,
                enable_sleep_mode=self._on_gpu,
                seed=0,  # of what has no seed of its own
                **({"gpu_memory_utilization": _share(policy, cache_bytes)} if self._on_gpu else {}),
            )
        self._sleep()

    def __call__(
        self, prompts: list[list[int]], group: int, sampling: Sampling, seeds: list[int] | None = None
    ) -> list[list[Completion]]:
        """See `Engine`. If the engine is `seeded`, vLLM adds a completion's place in its group to the prompt's seed.

        On a GPU rounding depends on which rows share a batch, and a token may flip.

        Raises:
            ValueError: a prompt is empty, or too long for the engine.
            RuntimeError: a request failed, or the completions are not those that were requested.
        """
        if not all(prompts):
            raise ValueError("a prompt has no tokens")
        if not prompts:
            return []
        # It refuses to draw a group where nothing is drawn: the prompts are repeated instead.
        drawn = group if sampling.temperature > 0 else 1
        requests = [prompt for prompt in prompts for _ in range(group // drawn)]
        seeds = seeds or [0] * len(prompts)
        with _as_vllm_needs_it(self.policy.device):
            self._wake_with_weights()
            if not self.seeded:
                torch.manual_seed(random.Random(str(seeds)).getrandbits(62))
            try:
                outputs = self._llm.generate(
                    [{"prompt_token_ids": prompt} for prompt in requests],
                    [self._parameters(drawn, sampling, seed) for seed in seeds for _ in range(group // drawn)],
                    use_tqdm=False,
                )
            finally:
                self._sleep()
        by_seed = [(output.prompt_token_ids, sorted(output.outputs, key=lambda each: each.index)) for output in outputs]
        flat = [_completion(prompt, each) for prompt, written in by_seed for each in written]
        groups = [flat[begin : begin + group] for begin in range(0, len(flat), group)]
        return checked(groups, prompts, group, sampling, self.policy.stop_ids)

    def close(self) -> None:
        """Give everything back; the engine is not to be called again."""
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        gc.collect()
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        cleanup_dist_env_and_memory()

    def _parameters(self, group: int, sampling: Sampling, seed: int) -> Any:
        import vllm

        return vllm.SamplingParams(
            n=group,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_new_tokens,
            stop_token_ids=sorted(self.policy.stop_ids),
            ignore_eos=True,  # the policy's stop ids are all there are
            logprobs=0,  # of the token itself and no other
            detokenize=False,
            seed=seed % 2**31 if self.seeded and sampling.temperature > 0 else None,
        )

    def _wake_with_weights(self) -> None:
        """Hand the policy's weights over as they are now, and forget what the old ones have cached."""
        if self._on_gpu:
            torch.cuda.empty_cache()  # what gradients have left is torch's, and vLLM allocates by itself
            self._llm.wake_up(tags=["weights"])
        with torch.no_grad():
            weights = lora.merged_state(self.policy.model)  # vLLM knows nothing of adapters in training
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        if self._on_gpu:
            self._llm.wake_up(tags=["kv_cache"])
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM keeps prefixes of the old weights")

    def _sleep(self) -> None:
        """Leave the GPU's memory to the update; weights and cache are made anew."""
        if self._on_gpu:
            self._llm.sleep(level=2)


@contextmanager
def _as_vllm_needs_it(device: torch.device) -> Iterator[None]:
    """Inside, deterministic algorithms are off; afterwards they are as they were, and so are torch's own generators.

    vLLM seeds these, and draws from them what has no seed of its own.
    """
    with mode_restored(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.use_deterministic_algorithms(False)
        yield


def _prepare_environment() -> None:
    """What vLLM reads from the environment when it is imported."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # in this process, or no weights could be handed over
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # the threads are training's too
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    # Its sampler would be compiled by nvcc, which no wheel brings, and takes no generator for each request.
    os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")


def size_of_cache(bytes_per_token: int, longest: int, rows: int, cache_gib: float | None) -> int:
    """Bytes for keys and values: of all rows at their full length, or what there is; at least one such row.

    >>> size_of_cache(112 * 1024, 2048 + 1024, 80, 8.0) / GIB  # 80 rows of Llama-3.2-3B would take 27 GiB
    8.0
    >>> size_of_cache(384 * 1024, 2048 + 1024, 1, 0.5) / GIB  # one row of Phi-3.5 takes more
    1.171875
    """
    row = bytes_per_token * (longest + BLOCK)
    all_rows = rows * row
    return all_rows if cache_gib is None else max(row, min(all_rows, int(cache_gib * GIB)))


def _share(policy: Policy, cache_bytes: int) -> float:
    """Of the device, what vLLM wants to find free when it starts: its weights and its cache."""
    return min(0.95, (policy.bytes + cache_bytes) / torch.cuda.mem_get_info(policy.device)[1])


def _completion(prompt: list[int], written: Any) -> Completion:
    if written.finish_reason not in ("stop", "length"):
        raise RuntimeError(f"vLLM ended a request with {written.finish_reason!r}")
    ids = list(written.token_ids)
    logprobs = [of_token[i].logprob for i, of_token in zip(ids, written.logprobs, strict=True)]
    return Completion(list(prompt), ids, logprobs, written.finish_reason)
