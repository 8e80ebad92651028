"""Load a policy from the hub, a folder, a GGUF file, or what an earlier rule wrote; save one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from reinforce_lite.config import Hardware, PolicySettings
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import atomic_folder, read_json, write_json
from reinforce_lite.policy import Policy, files, turns
from reinforce_lite.stages import POLICY

EXPANDABLE = "expandable_segments:True"
FIX = "check policies.<name> and its files, and the network if it is on the hub"


def prepare_torch(hardware: Hardware, deterministic_update: bool = False) -> None:
    """Fix what makes sums differ between runs on a CPU: threads, and nondeterministic kernels where there is a choice.

    On a GPU a rollout does not repeat bit for bit anyway, and torch's deterministic mode made one 2.6 times slower
    (benchmarks/results/gpu/probe.json). There it is for the update alone, and only with `deterministic_update`.
    """
    if hardware.cpu_threads:
        torch.set_num_threads(hardware.cpu_threads)
    if hardware.device == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        return
    expandable_segments()
    if deterministic_update:  # cuBLAS reads it once, when it starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def mode_restored() -> Iterator[None]:
    """Afterwards torch is in deterministic mode, or not, as it was before."""
    mode = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """If wanted, torch takes deterministic kernels inside where there is a choice; else everything stays as it is."""
    if not wanted:
        yield
        return
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with mode_restored():
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        try:
            yield
        finally:
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def expandable_segments() -> None:
    """Let torch's allocator grow its segments, unless the user has configured it.

    Without, an update with a peak of 23.2 GB was out of memory in 24 (benchmarks/memory.py on an H200, tree 86ae0d2).
    vLLM's sleep mode cannot have such segments (pytorch#147851); from 0.20.1 on it turns them off for that time
    (vllm#40812), but only those of PYTORCH_CUDA_ALLOC_CONF, not of the newer PYTORCH_ALLOC_CONF. torch reads either
    when CUDA begins; the call serves where that has happened.
    """
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ and "PYTORCH_ALLOC_CONF" not in os.environ:
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = EXPANDABLE
        torch._C._accelerator_setAllocatorSettings(EXPANDABLE)


def load(folder: Path, settings: PolicySettings, device: str) -> Policy:
    """Load the policy whose `policy.json` lies in `folder`: it names a hub revision, a local file, or `weights` beside.

    Raises:
        UserError: policy.json or the weights are absent.
    """
    weights = read_json(folder / POLICY)["weights"]
    if "folder" in weights:
        return pretrained(str(folder / weights["folder"]), settings, device)
    if "path" in weights:
        return local(Path(weights["path"]), settings, device)
    return pretrained(weights["repo"], settings, device, revision=weights["revision"], local_files_only=True)


def local(path: Path, settings: PolicySettings, device: str) -> Policy:
    """Load a folder of transformers' format, or one .gguf file (dequantised).

    Raises:
        UserError: the path is absent, or a GGUF file is named and the `gguf` extra is not installed.
    """
    if not path.exists():
        raise UserError(f"policies.*.path: {path} does not exist", "correct the path, or remove the key to use the hub")
    name, source = source_of(path)
    if not source:
        return pretrained(name, settings, device)
    files.gguf(path)
    policy = pretrained(name, settings, device, **source)
    # The weights are plain floats now, but transformers still calls them quantised and would refuse to save them.
    policy.model.hf_quantizer = None
    policy.model.is_quantized = False
    del policy.model.config.quantization_config
    return policy


def source_of(path: Path) -> tuple[str, dict[str, str]]:
    """(name, further arguments) by which transformers loads a folder or a .gguf file.

    >>> source_of(Path("models/small.gguf"))
    ('models', {'gguf_file': 'small.gguf'})
    """
    return (str(path.parent), {"gguf_file": path.name}) if path.suffix == ".gguf" else (str(path), {})


def pretrained(name: str, settings: PolicySettings, device: str, **source: Any) -> Policy:
    """Load weights and tokenizer with transformers.

    Raises:
        UserError: the files are not there or cannot be read, or the model is none that transformers has the code of.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    config(name, **source)
    precision = {"dtype": getattr(torch, settings.dtype), "attn_implementation": settings.attention}
    words = tokenizer(name, **source)
    try:
        model = AutoModelForCausalLM.from_pretrained(name, trust_remote_code=False, **precision, **source)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"cannot load the policy {name}: {_first_line(error)}", "run fetch_policy again") from error
    return assemble(model.to(device), words)


def config(name: str, **source: Any) -> Any:
    """A policy's own configuration. Code that comes with a model is never run, and nobody is asked whether to.

    Raises:
        UserError: it cannot be loaded, or transformers has no code of its own for such a causal language model.
    """
    from transformers import AutoConfig, __version__
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    known, kind = False, "of no known type"
    try:
        found = AutoConfig.from_pretrained(name, trust_remote_code=False, **source)
        known, kind = type(found) in MODEL_FOR_CAUSAL_LM_MAPPING, repr(found.model_type)
    except ValueError as error:
        kind = f"of no known type ({_first_line(error)})"
    except (OSError, KeyError) as error:
        raise UserError(f"cannot load the policy {name}: {_first_line(error)}", FIX) from error
    if not known:
        raise UserError(
            f"the model of {name} is {kind}: transformers {__version__} has no causal language model of this type, and "
            "code that comes with a model is never run",
            "choose a model whose model_type in config.json transformers knows, or update transformers",
        )
    return found


def tokenizer(name: str, **source: Any) -> Any:
    """A policy's tokenizer.

    Raises:
        UserError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **source)
    except Exception as error:  # what is written in Rust raises mere Exceptions
        raise UserError(f"cannot load the tokenizer of {name}: {_first_line(error)}", FIX) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def assemble(model: Any, tokenizer: Any) -> Policy:
    """Put a model and its tokenizer together, and settle the ids that end or pad a row.

    Raises:
        UserError: nothing says what ends an answer (`turns.stops`).
    """
    named, words = model.generation_config.eos_token_id, model.get_input_embeddings().num_embeddings
    stop_ids, added, note = turns.stops(tokenizer, named, words)
    if added:
        print(f"note: {note}", file=sys.stderr)
        model.generation_config.eos_token_id = sorted(stop_ids)  # for whoever reads nothing else
    # Phi-3's window is longer than any completion here, but a window sends attention down a slow path.
    if getattr(model.config, "sliding_window", None) and model.config.model_type == "phi3":
        model.config.sliding_window = None
    candidates = (tokenizer.pad_token_id, tokenizer.unk_token_id, *range(len(stop_ids) + 1))
    pad_id = next(i for i in candidates if i is not None and i not in stop_ids)
    return Policy(model, tokenizer, stop_ids, pad_id)


def save(policy: Policy, folder: Path, provenance: dict[str, Any]) -> None:
    """Write weights and tokenizer to `folder/weights`, then `folder/policy.json`, which makes them count.

    Raises:
        UserError: transformers cannot save them; a training's checkpoints hold its weights.
    """
    policy.model.generation_config = savable(policy.model.generation_config)
    with atomic_folder(folder / "weights") as temporary:
        try:
            policy.model.save_pretrained(temporary)
            policy.tokenizer.save_pretrained(temporary)
        except OSError:  # the disk's, which `atomic_folder` tells
            raise
        except Exception as error:  # whatever transformers raises, nothing that was trained is lost by it
            raise UserError(
                f"{folder / 'weights'} cannot be saved: {type(error).__name__}: {error}",
                "mend the policy's files that this names, and run the same command again: what was trained is kept "
                "in the checkpoints, and no step is taken again",
            ) from error
    write_json(folder / POLICY, {"weights": {"folder": "weights"}, **provenance})


def savable(generation: Any) -> Any:
    """How to generate, as transformers saves it: many models come with `temperature` but without `do_sample`.

    Nothing here reads more of it than the ids that end a row. What sampling alone does not make valid is left out.
    """
    from transformers import GenerationConfig

    sampled = GenerationConfig.from_dict({**generation.to_dict(), "do_sample": True})
    ids = GenerationConfig(bos_token_id=generation.bos_token_id, eos_token_id=generation.eos_token_id)
    return next(config for config in (generation, sampled, ids) if _is_valid(config))


def _is_valid(generation: Any) -> bool:
    try:
        generation.validate(strict=True)
    except ValueError:
        return False
    return True
