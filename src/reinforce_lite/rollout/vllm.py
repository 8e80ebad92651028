"""The engine of vLLM, inside this process: the fastest on a GPU, for the price of a second copy of the weights.

It runs with vLLM's CPU build against the tiny models (`tests/rollout/test_engines.py`). Not run on a GPU yet: what is
written here for one (waking, sleeping, the size of its cache) follows vLLM's documentation. Found while making it work:

- Weights are handed over by `reload_weights`, which packs them for the device again; `load_weights` alone is not enough
  on a CPU, where the packed ones go on being used.
- A head tied to the embedding keeps its old weights then: vLLM is told that they are two, and gets both.
- Cached prefixes outlive an update of the weights: they are thrown away after each hand-over.
- Of a group, vLLM seeds the i-th completion with seed + i: prompts need seeds that are further apart than that.
- Its log-probabilities are the policy's own unless `logprobs_mode` asks for those of what was drawn from.
- Once it runs, vLLM for a CPU ignores `torch.set_num_threads`: set threads before.
- It knows only some sizes of attention heads (on a CPU 32, 64, 80, ...; not the 16 of a toy).
"""

import gc
import json
import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Sampling, checked

CACHE_GIB = 4.0
"""The most that keys and values may take on the device; rows that do not fit wait for those before them."""
PROMPT_TOKENS = 2048
"""The longest prompt; the questions of GSM8K take a few hundred."""
GIB = 2**30


class VllmEngine:
    """Decode with vLLM.

    Args:
        policy: whose weights are handed over at each call.
        rows_at_once: completions decoded side by side.
        max_new_tokens: the longest completion that will be asked for.
    """

    def __init__(self, policy: Policy, rows_at_once: int, max_new_tokens: int) -> None:
        self.policy = policy
        self._on_gpu = policy.device.type == "cuda"
        _prepare_environment()
        import vllm

        config = policy.model.config
        longest = min(PROMPT_TOKENS + max_new_tokens, config.max_position_embeddings)
        with tempfile.TemporaryDirectory() as folder, _own_generators(policy.device):
            told = {**config.to_dict(), "architectures": [type(policy.model).__name__], "tie_word_embeddings": False}
            (Path(folder) / "config.json").write_text(json.dumps(told, default=str), encoding="utf-8")
            self._llm: Any = vllm.LLM(
                folder,
                skip_tokenizer_init=True,
                load_format="dummy",  # weights come with the first call
                generation_config="vllm",  # nothing from the model's own
                dtype=str(policy.model.dtype).removeprefix("torch."),
                max_model_len=longest,
                max_num_seqs=rows_at_once,
                kv_cache_memory_bytes=_cache_bytes(policy, longest, rows_at_once),
                logprobs_mode="processed_logprobs",
                enforce_eager=not self._on_gpu,
                enable_sleep_mode=self._on_gpu,
                seed=0,  # of what has no seed of its own; here everything has
            )
        self._sleep()

    def __call__(
        self, prompts: list[list[int]], group: int, sampling: Sampling, seeds: list[int] | None = None
    ) -> list[list[Completion]]:
        """Write `group` completions for every prompt, in the order of the prompts; one seed a prompt.

        Each completion is drawn with a seed of its own that derives from its prompt's (vLLM adds its place in the
        group). On a GPU rounding depends on which rows share a batch, and a token may flip.

        Raises:
            ValueError: a prompt is empty, or longer than the engine was made for.
            RuntimeError: a request failed, or what was written is not what was asked for.
        """
        if not all(prompts):
            raise ValueError("a prompt has no tokens")
        if not prompts:
            return []
        # It refuses to draw a group where nothing is drawn: the prompts are repeated instead.
        drawn = group if sampling.temperature > 0 else 1
        requests = [prompt for prompt in prompts for _ in range(group // drawn)]
        seeds = seeds or [0] * len(prompts)
        with _own_generators(self.policy.device):
            self._wake_with_weights()
            try:
                outputs = self._llm.generate(
                    [{"prompt_token_ids": prompt} for prompt in requests],
                    [self._parameters(drawn, sampling, seed) for seed in seeds for _ in range(group // drawn)],
                    use_tqdm=False,
                )
            finally:
                self._sleep()
        flat = [_completion(output.prompt_token_ids, each) for output in outputs for each in _in_order(output)]
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
        """How the completions of a prompt are drawn."""
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
            seed=seed % 2**31 if sampling.temperature > 0 else None,
        )

    def _wake_with_weights(self) -> None:
        """Hand the policy's weights over as they are now, and forget what the old ones have cached.

        Raises:
            RuntimeError: the cache could not be emptied.
        """
        if self._on_gpu:
            torch.cuda.empty_cache()  # what gradients have left is torch's, and vLLM allocates by itself
            self._llm.wake_up(tags=["weights"])
        weights = self.policy.model.state_dict().items()
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
        if self._on_gpu:
            self._llm.wake_up(tags=["kv_cache"])
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM keeps prefixes of the old weights")

    def _sleep(self) -> None:
        """Leave the GPU's memory to the update; weights and cache are made anew."""
        if self._on_gpu:
            self._llm.sleep(level=2)


def _own_generators(device: torch.device) -> AbstractContextManager[None]:
    """Put torch's own generators back afterwards: vLLM seeds them, and draws from them what it does not use."""
    generators: AbstractContextManager[None] = torch.random.fork_rng([device] if device.type == "cuda" else [])
    return generators


def _prepare_environment() -> None:
    """What vLLM reads from the environment when it is imported."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # in this process, or no weights could be handed over
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # the threads are training's too
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")


def _cache_bytes(policy: Policy, longest: int, rows: int) -> int:
    """Keys and values of so many rows of `longest` tokens, at most CACHE_GIB, at least one row of them."""
    config = policy.model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * head * policy.model.dtype.itemsize
    row = token * (longest + 128)  # its last block is rounded up
    return max(row, min(rows * row, int(CACHE_GIB * GIB)))


def _in_order(output: Any) -> list[Any]:
    """The completions of one prompt, by their seeds."""
    return sorted(output.outputs, key=lambda written: written.index)


def _completion(prompt: list[int], written: Any) -> Completion:
    """One completion.

    Raises:
        RuntimeError: vLLM has ended it in another way than by a stop id or the limit.
    """
    if written.finish_reason not in ("stop", "length"):
        raise RuntimeError(f"vLLM ended a request with {written.finish_reason!r}")
    ids = list(written.token_ids)
    logprobs = [of_token[i].logprob for i, of_token in zip(ids, written.logprobs, strict=True)]
    return Completion(list(prompt), ids, logprobs, written.finish_reason)
