"""The typed configuration: what every key means, its type and its bounds.

`config/*.yaml` are checked against these models before anything runs, and `workflow/schemas/config.schema.json`
is generated from them (`python -m reinforce_lite.config`).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from reinforce_lite import tasks
from reinforce_lite.errors import UserError
from reinforce_lite.io import layers, secrets
from reinforce_lite.io.explained import explained
from reinforce_lite.learning import ESTIMATORS
from reinforce_lite.tasks.own import is_own

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$", max_length=64)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _no_tilde(path: Path) -> Path:
    if path.parts[:1] and path.parts[0].startswith("~"):
        raise ValueError("~ is not followed here; write the folder out")
    return path


Place = Annotated[Path, AfterValidator(_no_tilde), Field(json_schema_extra={"pattern": "^[^~]"})]
Auto = Literal["auto"]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, strict=True)]
"""Its text is part of the names of files, so that 1.0 is another one than 1."""
Positive = Annotated[float, Field(gt=0)]
EngineName = Literal["auto", "generate", "vllm"]

USUAL_IMPORTANCE_CAP = 3.0
"""TRL's default for the mismatch between sampler and trainer."""


def _decided(key: str, value: int | Auto) -> int:
    if value == "auto":
        raise ValueError(f"{key} is auto; it is not decided yet")
    return value


class Section(BaseModel):
    """A section of the configuration: unknown keys are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class Hardware(Section):
    """The device that is rented and what it costs."""

    device: Literal["cuda", "cpu"] = Field(
        description="Where tensors live. `cuda` stops at preflight on a machine without a GPU."
    )
    name: str = Field(description="The device as it is rented, for ledger and report, e.g. `NVIDIA RTX A6000`.")
    count: int = Field(
        1,
        ge=1,
        strict=True,
        description="How many are rented; the price is for one. A training uses them all, other stages one of them.",
    )
    memory_gib: float = Field(
        gt=0, description="Memory of one device in GiB; preflight compares its estimate with this."
    )
    usd_per_hour: float = Field(ge=0, description="Price of one device for one hour, in US dollars.")
    price_source: str = Field(min_length=1, description="Who asks this price.")
    price_date: date = Field(description="The day the price was read (YYYY-MM-DD). Prices move.")
    cpu_threads: int | None = Field(
        None,
        ge=1,
        description="Threads of torch on the CPU; fixed so that sums are taken in the same order. Null: torch decides.",
    )
    cpu_instructions: Literal["native", "common"] = Field(
        "native",
        description="What torch computes with on an x86 CPU. `common`: instructions and code that every one with AVX2 "
        "has, so that a float32 training gives the same numbers on all of them; it took 1.7 times the CPU time. "
        "`native`: whatever this CPU does best, and another model gives other numbers.",
    )
    side_by_side: bool = Field(
        False,
        strict=True,
        description="A job takes one of the `count` devices instead of all, so that as many jobs run at once: "
        "`snakemake --cores <count>`. On a CPU a device is a core, and `cpu_threads` are those of a job. Preflight "
        "takes all devices: it measures speeds.",
    )

    def taken_by(self, stage: str) -> int:
        """How many of the devices a job of a stage takes."""
        return 1 if self.side_by_side and stage != "preflight" else self.count

    @property
    def jobs_at_once(self) -> int:
        """How many jobs may use the devices at the same time."""
        return self.count if self.side_by_side else 1

    @model_serializer(mode="wrap")
    def _without_what_older_keys_have_not(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value or key != "side_by_side"}


class Budget(Section):
    """The promise."""

    limit_usd: float = Field(gt=0, description="What the whole experiment may cost, in US dollars.")
    min_steps: int = Field(
        10, ge=1, description="A training that the money left lets take fewer steps (of those planned) is not started."
    )


class Scratch(Section):
    """A tiny model built from nothing."""

    architecture: Literal["llama", "phi3"] = Field(description="`LlamaForCausalLM` or `Phi3ForCausalLM`.")
    hidden_size: int = Field(128, ge=16, description="Width.")
    layers: int = Field(4, ge=1, description="Depth.")
    heads: int = Field(4, ge=1, description="Attention heads.")
    key_value_heads: int = Field(4, ge=1, description="Key and value heads.")
    intermediate_size: int = Field(384, ge=16, description="Width of the gated MLP.")


class Start(Section):
    """A supervised start on the task's demonstrations, before the baseline is measured."""

    steps: int = Field(ge=1, description="Optimiser steps.")
    batch_size: int = Field(64, ge=1, description="Demonstrations a step.")
    learning_rate: float = Field(
        gt=0, description="Peak learning rate of AdamW; linear warm-up over 5% of the steps, then linear to 0."
    )
    seed: int = Field(0, ge=0, description="Seed of the initial weights and of the order of the demonstrations.")
    micro_batch_tokens: int | None = Field(
        None,
        ge=1,
        description="Padded tokens of one forward pass, whose rows are of like length. Null: 16,384 on a GPU, and one "
        "pass on a CPU.",
    )

    @model_serializer(mode="wrap")
    def _without_what_older_keys_have_not(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class Published(Section):
    """What the article reports for this model."""

    baseline: Fraction = Field(description="Published accuracy before training, as a fraction.")
    trained: Fraction = Field(description="Published accuracy after training, as a fraction.")


class PolicySettings(Section):
    """One policy: where its weights come from and how they are loaded."""

    repo: str | None = Field(None, description="Model on the hub.")
    revision: tasks.Commit | None = Field(
        None, description="Pinned revision of that model: the 40 digits of a commit, not a branch or a tag."
    )
    gated: bool = Field(False, description="True if the hub asks for a licence click and a token (HF_TOKEN).")
    path: Place | None = Field(None, description="Local folder or .gguf file, used instead of the hub.")
    from_scratch: Scratch | None = Field(None, description="Build a tiny model instead of loading one.")
    start: Start | None = Field(None, description="Supervised start before the baseline; null for none.")
    dtype: Literal["float32", "bfloat16"] = Field("bfloat16", description="Precision of the weights.")
    attention: Literal["sdpa", "eager", "flash_attention_2"] = Field("sdpa", description="Attention implementation.")
    parameters: float | None = Field(
        None,
        gt=0,
        description="Parameters in billions, for the estimates at preflight. Null: they are counted in the policy's "
        "files, or the hub is asked.",
    )
    published: Published | None = Field(None, description="The article's figures, shown beside ours.")
    _counted: float | None = PrivateAttr(None)

    @property
    def billions(self) -> float | None:
        """Parameters in billions: as configured, or as `counted` in the files; None if neither is known."""
        return self.parameters or self._counted

    def counted(self, weights: int) -> "PolicySettings":
        """The same with the size that its files have; it is no part of the configuration."""
        copy = self.model_copy()
        copy._counted = weights / 1e9 or None
        return copy

    @model_validator(mode="after")
    def _one_source(self) -> "PolicySettings":
        if self.from_scratch is None and self.path is None and self.repo is None:
            raise ValueError("one of repo, path or from_scratch is needed")
        if self.from_scratch is not None and (self.repo or self.path):
            raise ValueError("from_scratch excludes repo and path")
        if self.repo is not None and self.path is None and not self.revision:
            raise ValueError("revision is needed with repo: pin a commit so that the run can be repeated")
        if self.from_scratch is not None and self.start is None:
            raise ValueError("a model from scratch needs a supervised start: set start.steps and start.learning_rate")
        return self


class Lora(Section):
    """Low-rank adapters, read only if `training.weights` is `lora`."""

    rank: int = Field(16, ge=1, description="Rank of an adapter.")
    alpha: float = Field(32.0, gt=0, description="What an adapter adds is multiplied by alpha / rank.")
    target_modules: Literal["all-linear"] | list[str] = Field(
        "all-linear",
        description="Which layers get an adapter, by the last part of their names (`[q_proj, v_proj]`); `all-linear` "
        "takes all linear ones but the output layer.",
    )


class Critic(Section):
    """PPO's second network, read only if `training.estimator` is `critic`."""

    learning_rate: float | None = Field(
        None, gt=0, description="Its own learning rate, by the policy's schedule; null is ten times `learning_rate`."
    )
    value_clip: float = Field(
        0.5, gt=0, description="A value gains nothing by moving further than this in one step (0.5 is veRL's)."
    )


class SamplerGapLimit(Section):
    """The mean difference between an engine's log-probabilities and the trainer's, in nats a token, that ends a run.

    More than this says that the engine has other weights than the policy, or broken ones. No step is taken then.
    """

    float32: float | None = Field(
        1e-3, gt=0, description="For weights in float32 (in the tiny run, on a CPU, at most 2e-7); null for no limit."
    )
    bfloat16: float | None = Field(
        0.25,
        gt=0,
        description="For weights in bfloat16 (random ones, with vLLM on an H200: 0.04 and 0.06); null for no limit.",
    )


def _known_estimator(name: str) -> str:
    if name not in ESTIMATORS:
        raise ValueError(f"it is not one of {', '.join(ESTIMATORS)}")
    return name


class Training(Section):
    """Reinforce-Lite. A variant of the algorithm is a set of these values."""

    estimator: Annotated[str, AfterValidator(_known_estimator)] = Field(
        "leave_one_out",
        json_schema_extra={"enum": list(ESTIMATORS)},
        description="How a group's rewards become advantages; see learning/estimators.py. `critic` trains a second "
        "network that expects a reward before each token (PPO). `supervised` samples nothing: it learns the worked "
        "solutions, for a control.",
    )
    scale_by_std: bool = Field(
        False,
        description="Divide leave-one-out advantages by the group's standard deviation: a bias to easy and "
        "hard questions (Dr. GRPO). `as_published` always does.",
    )
    reward: str | Annotated[dict[str, float], Field(min_length=1)] = Field(
        "strict",
        description="A score of the task, or weights of several, `{correct: 1.0, format: 0.1}`. A verdict by its name "
        "pays +1 or -1; in a sum it counts 1 or 0. Tasks with a number for an answer have `strict` (also `correct`) "
        "and `flexible` (our parsers), `published` (the article's), `released` (the released code's) and, for "
        "controls, `format` (any number in the answer's format). `random` is a coin. `my_reward.py:score` is a "
        "function of your own.",
    )
    prompt: str | None = Field(
        None, description="Prompt of this variant, in training and in its evaluation; null: that of the task."
    )
    steps: int = Field(ge=0, description="Policy-gradient steps; 0 trains nothing, for a control by the prompt alone.")
    same_cost_as: Name | None = Field(
        None,
        description="Another variant: training goes on for as long as it has cost what that one's training cost (same "
        "model, same seed, every attempt, by the ledger), and `steps` is the most it takes.",
    )
    questions_per_step: int = Field(ge=1, description="Questions sampled for one step.")
    group_size: int = Field(10, ge=2, description="Completions a question.")
    shuffle: bool = Field(True, description="Shuffle train once an epoch; false keeps the order of the file.")
    temperature: float = Field(1.0, gt=0, description="Sampling temperature; log-probs are always scored at 1.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus of the sampler; 1 samples the policy itself.")
    max_new_tokens: int = Field(ge=1, description="Longest completion, in tokens.")
    learning_rate: float = Field(gt=0, description="Learning rate of AdamW.")
    schedule: Literal["constant", "linear"] = Field(
        "constant", description="Learning-rate schedule; linear decays to 0 at the last step."
    )
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    weights: Literal["auto", "nearest", "master", "stochastic", "kahan", "8bit", "offload", "lora"] = Field(
        "auto",
        description="How a step gets into bfloat16 weights: `nearest` rounds most of it away (published), `master` "
        "keeps a float32 copy, `stochastic` rounds at random, `kahan` keeps the remainder, `8bit` rounds at random and "
        "keeps AdamW's averages in 8 bits, `offload` is `master` with all that is kept in the CPU's memory; `auto` "
        "takes the first of these five that fits `hardware.memory_gib`. float32 weights need none. `lora` trains "
        "float32 adapters instead of the weights, and merges them at the end.",
    )
    lora: Lora = Lora()
    gradient_clip: float = Field(1.0, gt=0, description="Global gradient norm is clipped at this.")
    ratio_clip: float | None = Field(
        None, gt=0, lt=1, description="PPO's clip of the probability ratio (0.2 is usual); null is REINFORCE."
    )
    critic: Critic = Critic()
    passes: int = Field(1, ge=1, description="How often a step learns from its completions; more than 1 is PPO.")
    kl_coefficient: float = Field(
        0.0, ge=0, description="Weight in the loss of the KL to the start policy, in nats a token; 0 for none."
    )
    entropy_coefficient: float = Field(
        0.0,
        ge=0,
        description="Weight in the loss of the entropy of the next-token distribution, in nats a token, which keeps "
        "the policy from growing certain; 0 for none.",
    )
    micro_batch_tokens: int = Field(
        16384, ge=1, description="Padded tokens in one forward pass of the update; changes memory, not the result."
    )
    logprob_chunk_tokens: int = Field(
        1024, ge=1, description="Tokens whose logits exist at the same time; changes memory, not the result."
    )
    engine: EngineName = Field(
        "auto",
        description="What writes the completions. `generate`: the policy's own forward pass; runs everywhere. "
        "`vllm`: for a GPU with room for a second copy of the weights; `make setup TORCH=cuda` installs it. `auto`: on "
        "a GPU `vllm` if it is installed and fits, else `generate`; a stage says which. One engine's draws are not "
        "another's.",
    )
    rollout_batch: Count | Auto = Field(
        "auto",
        description="Most completions decoded side by side. `auto`: those of a whole step, up to 512 with `vllm` and "
        "256 with `generate`.",
    )
    kv_cache_gib: Positive | Auto = Field(
        "auto",
        description="GiB of the GPU's memory for keys and values in a rollout; rows that find no room wait. `auto`: "
        "what is free beside the weights and all that training keeps. Changes memory and speed.",
    )
    sampler_gap_limit: SamplerGapLimit = SamplerGapLimit()
    importance_cap: Positive | Auto | None = Field(
        "auto",
        description="Truncated importance sampling: a token's gradient is weighted by the ratio of its probability in "
        "the trainer to that in the engine, but by no more than this. Null: no weight. `auto`: 3 on a GPU, where the "
        "two round differently (TRL's default); null on a CPU, where they agree, with `ratio_clip`, which has a ratio "
        "of its own, and with `top_p` below 1.",
    )
    biased_ratio: bool = Field(
        False,
        description="Allow a number for `importance_cap` with `top_p` below 1. The engine's probabilities then add up "
        "to 1 over the nucleus alone, so that the ratio is too small on average.",
    )
    deterministic_update: bool = Field(
        False,
        description="On a GPU, use torch's deterministic algorithms in the update. The rollout stays as it is, so a "
        "run still need not repeat bit for bit. Slower: the mode made `generate` 2.6 times slower on an H200; for an "
        "update this has not been measured.",
    )
    gradient_checkpointing: bool = Field(True, description="Recompute activations in the backward pass.")
    kl_every: int = Field(
        10,
        ge=1,
        description="Steps between two measurements of KL to the start policy and of the share of changed weights.",
    )
    max_skipped: int = Field(
        10,
        ge=1,
        description="The run ends after so many steps in a row whose loss or gradient was not finite; such a step "
        "leaves the weights alone.",
    )

    @property
    def rows(self) -> int:
        """`rollout_batch` as a number; ValueError where `precision.training_of` has not decided `auto` yet."""
        return _decided("training.rollout_batch", self.rollout_batch)

    @property
    def completions_per_question(self) -> int:
        """Completions of one question in one step; there is one worked solution."""
        return 1 if self.estimator == "supervised" else self.group_size

    @property
    def networks(self) -> int:
        """Networks that a step trains: the policy, and a critic if there is one."""
        return 2 if self.estimator == "critic" else 1

    @property
    def unread(self) -> tuple[str, ...]:
        """Sections of it that are not read."""
        used = {"lora": self.weights == "lora", "critic": self.networks > 1}
        return tuple(name for name, is_read in used.items() if not is_read)

    @property
    def regularised(self) -> bool:
        """Whether every completion has a term in the loss, its advantage being zero or not."""
        return self.kl_coefficient > 0 or self.entropy_coefficient > 0

    def importance_cap_on(self, device: str) -> float | None:
        """The cap of the importance weight on a device ("cuda" or "cpu"); None for no weight.

        >>> one = Training(steps=1, questions_per_step=1, max_new_tokens=1, learning_rate=1e-6)
        >>> one.importance_cap_on("cuda"), one.importance_cap_on("cpu")
        (3.0, None)
        """
        if self.importance_cap != "auto":
            return self.importance_cap
        of_its_own = self.estimator == "supervised" or self.ratio_clip is not None
        return None if device == "cpu" or of_its_own or self.top_p < 1 else USUAL_IMPORTANCE_CAP

    @model_validator(mode="after")
    def _one_unbiased_ratio(self) -> "Training":
        if self.passes > 1 and self.ratio_clip is None:
            raise ValueError("passes: more than one needs ratio_clip, since the second learns from an older policy")
        if self.networks > 1 and self.weights == "lora":
            raise ValueError("weights: lora trains adapters of one network, and estimator: critic has two; set another")
        if self.importance_cap in ("auto", None):
            return self
        if self.ratio_clip is not None:
            raise ValueError("importance_cap: ratio_clip has a ratio of its own; set one of them to null")
        if self.estimator == "supervised":
            raise ValueError("importance_cap: worked solutions are not sampled; set it to null")
        if self.top_p < 1 and not self.biased_ratio:
            raise ValueError(
                "importance_cap: with top_p below 1 the engine's probabilities are those of the nucleus, and the ratio "
                "is biased; set top_p: 1 or importance_cap: null, or allow it with biased_ratio: true"
            )
        return self


class Evaluation(Section):
    """Greedy evaluation on held-out problems, the same for base and trained."""

    max_new_tokens: int = Field(
        ge=1, description="Longest answer, in tokens; longer ones are cut and counted as truncated."
    )
    batch_size: Count | Auto = Field(
        "auto",
        description="Problems decoded side by side, and kept together; fixed, because it can change the last bit of a "
        "logit. `auto`: 512 with `vllm`, which replaces rows that end only within a batch, and 64 with `generate`.",
    )
    kv_cache_gib: Positive | Auto = Field(
        "auto", description="As `training.kv_cache_gib`; `auto` is what is free beside the weights."
    )
    engine: EngineName = Field(
        "auto", description="What writes the answers, as for `training.engine`; the same for base and trained."
    )
    limit: int | None = Field(None, ge=1, description="Evaluate only the first so many test problems; null for all.")
    samples: int = Field(
        0, ge=0, description="Answers sampled a question at temperature 1, for avg@k beside the greedy one; 0 for none."
    )
    samples_limit: int | None = Field(
        None, ge=1, description="Sample only for the first so many test problems; null for all."
    )
    memorisation: int = Field(
        0,
        ge=0,
        description="Problems of train that are asked beside those of test, greedily, and a perturbation of each, for "
        "LiMem: the share that is solved, and no longer once something in it has changed. They are drawn from all of "
        "train, so let a training see all of it. Needs a task that perturbs its problems; 0 for none.",
    )
    noise_floor: bool = Field(
        False,
        description="Evaluate each model before training a second time, greedily in batches of half the size: how many "
        "verdicts differ though nothing was trained. On a GPU some do.",
    )
    cross_check: bool = Field(False, description="Also run lm-eval's own task of the same questions (needs the hub).")
    bootstrap_resamples: int = Field(10_000, ge=100, description="Resamples of the paired bootstrap.")

    def sampled_batches(self, problems: int) -> int:
        """Batches that the sampled answers to so many test problems take, whole questions in each; 0 without any.

        >>> Evaluation(max_new_tokens=8, batch_size=10, samples=4, samples_limit=7).sampled_batches(100)  # 2 in each
        4
        """
        if not self.samples:
            return 0
        asked = min(problems, self.samples_limit or problems)
        return -(-asked // max(1, self.size // self.samples))

    @property
    def memorisation_batches(self) -> int:
        """Batches that the problems of train and their perturbations take.

        >>> [Evaluation(max_new_tokens=8, batch_size=10, memorisation=n).memorisation_batches for n in (0, 5, 6)]
        [0, 1, 2]
        """
        return -(-2 * self.memorisation // self.size)

    def again(self) -> "Evaluation":
        """The second evaluation before training: greedy answers alone, in other batches.

        >>> [Evaluation(max_new_tokens=8, batch_size=size).again().size for size in (512, 25, 1)]
        [256, 12, 2]
        """
        others = {"samples": 0, "memorisation": 0, "cross_check": False, "noise_floor": False}
        return self.model_copy(update={"batch_size": self.size // 2 or 2, **others})

    @property
    def size(self) -> int:
        """`batch_size` as a number; ValueError where `precision.evaluation_of` has not decided `auto` yet."""
        return _decided("evaluation.batch_size", self.batch_size)


class Protocol(Section):
    """What is decided before any test question is read; the report prints it."""

    alpha: float = Field(
        0.05, gt=0, lt=0.5, description="Level of the two-sided tests; p-values are adjusted by Holm over the models."
    )
    power: float = Field(
        0.8, gt=0, lt=1, description="Power that `reinforce-lite power` and the claims table plan for."
    )
    margin: Fraction = Field(
        0.02, description="How much worse, as a fraction, a simpler method may be and still count as enough."
    )


class CheckpointSettings(Section):
    """How much of a killed training is done again; whichever is due first writes a checkpoint."""

    every_steps: int | None = Field(None, ge=1, description="Steps between two checkpoints; null for no such rule.")
    every_seconds: float = Field(
        300,
        gt=0,
        description="Seconds between two checkpoints; one takes 2 to 7 times the space of the weights.",
    )


class Tracking(Section):
    """MLflow."""

    uri: str = Field(
        "sqlite:///results/mlflow.db",
        json_schema_extra={"pattern": secrets.SCHEMA},
        description="Tracking database; a relative sqlite path starts at the working directory. Without user and "
        "password: MLflow's server is told by MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or "
        "MLFLOW_TRACKING_TOKEN) in the environment.",
    )
    artifacts: str = Field(
        "results/mlartifacts",
        json_schema_extra={"pattern": secrets.SCHEMA},
        description="Folder of the artifacts, the `--artifacts-destination` of MLflow's server; or an address.",
    )


class Container(Section):
    """The image that `--use-singularity` runs the rules in."""

    image: str = Field(
        json_schema_extra={"pattern": secrets.SCHEMA},
        description="docker:// address, or the path of a local .sif file or of a .tar that `docker save` wrote.",
    )


class Settings(Section):
    """The whole configuration of one experiment."""

    experiment: Name = Field(description="Name of the experiment; its results are in results/<experiment>.")
    results: Place = Field(Path("results"), description="Folder of all results.")
    description: str = Field(
        "",
        description="One paragraph for the report: what this experiment is, and what it is not. An experiment of "
        "another name with another task or other models takes neither this nor `claims` over from the file that it is "
        "laid over.",
    )
    models: list[Name] = Field(min_length=1, description="Which of `policies` to run, in this order.")
    variants: list[Name] = Field(
        min_length=1,
        description="Which of `training_variants` to run; the first one is the result, the others are controls.",
    )
    seeds: list[Seed] = Field(
        min_length=1,
        description="Training seeds; all of them bear on the result and the claims. If the money does "
        "not suffice for all, the last ones are given up whole.",
    )
    control_seeds: list[Seed] | None = Field(
        None,
        min_length=1,
        description="Which of `seeds` the controls are trained with, the first among them; null for all. A control of "
        "one seed is compared with the result of all seeds. A variant of no steps has nothing that a seed could "
        "change: one is enough for it.",
    )
    hardware: Hardware
    budget: Budget
    task: Annotated[SerializeAsAny[tasks.Options], BeforeValidator(tasks.read_options)]
    policies: dict[Name, PolicySettings] = Field(description="Catalogue of policies by name.")
    training: Training
    training_variants: dict[Name, dict[str, Any]] = Field(
        description="Catalogue of variants: for each, the keys of `training` that differ."
    )
    evaluation: Evaluation
    protocol: Protocol = Protocol()
    claims: list[str] | None = Field(
        None,
        description="Names of the claims that the report judges; `article` stands for all that the article makes, "
        "`tinyzero` and `logic_rl` for those of the other systems, `[]` for none. Null: the article's if one of its "
        "models is run on its task, else none. A claim of your own is a function under "
        "`reinforce_lite.report.claims.claim`, in the file of your task.",
    )
    checkpoint: CheckpointSettings = CheckpointSettings()
    tracking: Tracking = Tracking()
    container: Container

    @model_validator(mode="after")
    def _names_exist(self) -> "Settings":
        for key, chosen, catalogue in (
            ("models", self.models, self.policies),
            ("variants", self.variants, self.training_variants),
        ):
            for name in chosen:
                if name not in catalogue:
                    raise ValueError(f"{key}: '{name}' is not one of {', '.join(sorted(catalogue))}")
            if len(set(chosen)) != len(chosen):
                raise ValueError(f"{key}: a name stands twice")
        self._seeds_are_told_apart()
        for name in self.training_variants:
            self.variant(name)
        self._controls_have_something_to_control()
        self._task_has_what_is_named()
        return self

    def _task_has_what_is_named(self) -> None:
        """Prompts and rewards of the chosen variants; the catalogue may hold variants of other tasks."""
        task = tasks.task_of(self.task)
        scores = [*task.scores, *tasks.ALIASES]
        for name in self.variants:
            training = self.variant(name)
            one = isinstance(training.reward, str)
            rewards = [training.reward] if isinstance(training.reward, str) else list(training.reward)
            rewards = [] if is_own(training.reward) else rewards
            for key, chosen, known in (
                ("prompt", [training.prompt] if training.prompt else [], list(task.prompts)),
                ("reward", rewards, [*scores, "random"] if one else scores),
            ):
                where = f"training_variants.{name}" if key in self.training_variants[name] else "training"
                for unknown in set(chosen) - set(known):
                    raise ValueError(f"{where}.{key}: '{unknown}' is not one of {', '.join(known)}")
        if self.evaluation.cross_check and task.harness_task is None:
            raise ValueError(f"evaluation.cross_check: lm-eval has no task of its own like {self.task.name}")

    def _seeds_are_told_apart(self) -> None:
        for key, seeds in (("seeds", self.seeds), ("control_seeds", self.control_seeds or [])):
            if len(set(seeds)) != len(seeds):
                raise ValueError(f"{key}: a seed stands twice")
        if self.control_seeds is None:
            return
        for seed in self.control_seeds:
            if seed not in self.seeds:
                raise ValueError(f"control_seeds: {seed} is not one of `seeds`, {self.seeds}")
        if self.seeds[0] not in self.control_seeds:
            raise ValueError(f"control_seeds: {self.seeds[0]} is the first of `seeds`, with which controls begin")

    def _controls_have_something_to_control(self) -> None:
        first = self.variants[0]
        if self.variant(first).steps == 0:
            raise ValueError(f"variants: the first one is the result, and '{first}' takes no step")
        for name in self.variants:
            other = self.variant(name).same_cost_as
            if other is None:
                continue
            where = f"training_variants.{name}.same_cost_as"
            if other not in self.variants:
                raise ValueError(f"{where}: '{other}' is not one of the `variants` that are run")
            if other == name or self.variant(other).same_cost_as is not None:
                raise ValueError(f"{where}: '{other}' has no cost of its own")
            for seed in self.seeds_of(name):
                if seed not in self.seeds_of(other):
                    raise ValueError(f"{where}: '{other}' is not trained with seed {seed}; set control_seeds: null")

    def published(self, model: str) -> Published | None:
        """What the article reports for a model; None if it reports nothing, or if the task is not the article's."""
        return self.policies[model].published if tasks.named(self.task.name).article_question else None

    @property
    def folder(self) -> Path:
        """Folder of this experiment's results."""
        return self.results / self.experiment

    def seeds_of(self, variant: str) -> list[int]:
        """The training seeds of a variant: all of them for the first, which is the result."""
        return self.seeds if self.control_seeds is None or variant == self.variants[0] else self.control_seeds

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Every training of a model, (variant, seed): the variants in their order, each with its seeds."""
        return [(variant, seed) for variant in self.variants for seed in self.seeds_of(variant)]

    @property
    def test_problems(self) -> int | None:
        """How many test problems an evaluation takes; None if only the prepared data can tell."""
        size = tasks.task_of(self.task).test_problems(self.task)
        return size if size is None else min(size, self.evaluation.limit or size)

    def prompt(self, variant: str | None) -> str:
        """The prompt of one variant; of the policy before training with None."""
        return (self.variant(variant).prompt if variant else None) or self.task.prompt

    def variant(self, name: str) -> Training:
        """The training settings of one variant.

        Raises:
            ValueError: the variant has an unknown key or a bad value.
        """
        try:
            return Training.model_validate({**self.training.model_dump(), **self.training_variants[name]})
        except ValidationError as error:
            raise ValueError(f"training_variants.{name}.{explained(error, Training)[0]}") from error


def validate(config: Mapping[str, Any], read: Sequence[layers.Layer] = (), source: str | None = None) -> Settings:
    """Check a merged configuration.

    Args:
        config: all keys.
        read: the files that it was merged from, for the line of what is wrong.
        source: what it is called in a message; by default these files.

    Raises:
        UserError: one line for every key that is unknown, absent, has a bad value or holds a secret.
    """
    source = source or " + ".join(str(layer.path) for layer in read) or "the configuration"
    if leaks := list(secrets.found(config)):
        raise UserError(
            f"{source} holds what must stay secret, and would be in the report, the crate and the logs:\n"
            + "\n".join(f"  - {line}" for line in leaks),
            "take it out and export it instead: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN, for MLflow's server; a database's own (PGUSER, PGPASSWORD); HF_TOKEN for the hub",
        )
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        lines = explained(error, Settings, read)
        raise UserError(
            f"{source} is not valid:\n" + "\n".join(lines),
            "correct the key; config/README.md says what each one means",
        ) from error


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `overlay` over `base` as Snakemake does with --configfile: mappings merge, anything else is replaced.

    >>> merge({"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"y": 3}, "b": [2]})
    {'a': {'x': 1, 'y': 3}, 'b': [2]}
    """
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def located(layer: dict[str, Any], path: Path) -> dict[str, Any]:
    """A layer; of a written results/<experiment>/config.json its paths start at where it lies.

    Args:
        layer: what the file holds.
        path: of the file.
    """
    results, folder = Path(layer.get("results", "results")), path.absolute().parent
    if path.name != "config.json" or folder.name != layer.get("experiment"):
        return layer
    if results.is_absolute():
        return {**layer, "results": str(folder.parent)}
    home = Path(*folder.parts[: -len(results.parts) - 1])

    def lead(place: str) -> str:
        """Where a path leads to."""
        inside = Path(place).is_relative_to(results)
        return str(folder.parent / Path(place).relative_to(results) if inside else home / place)

    same = home.resolve() == Path.cwd().resolve() and home / results == folder.parent
    return layer if same else _moved({**layer, "results": str(results)}, lead)


def _moved(layer: Any, lead: Callable[[str], str], key: str = "") -> Any:
    """A part of a configuration with other paths."""
    if isinstance(layer, Mapping) and key != "splits":  # whose `train` and `test` are names on the hub
        return {name: _moved(value, lead, name) for name, value in layer.items()}
    if not isinstance(layer, str) or not _is_place(key, layer):
        return layer
    if layer.startswith("sqlite:///"):
        return f"sqlite:///{lead(layer.removeprefix('sqlite:///'))}"
    return layer if ":/" in layer else lead(layer)


_PATHS = {"results", "path", "uri", "artifacts", "train", "test"}
"""Keys that hold a path. Other keys may: `name` that of a task that is a file, `grade` and `reward` an own function."""


def _is_place(key: str, text: str) -> bool:
    return key in _PATHS or (key == "name" and text.endswith(".py")) or (key in ("grade", "reward") and is_own(text))


def load(paths: Iterable[Path]) -> Settings:
    """Read YAML or JSON files, each laid over the one before, and check the result.

    Paths in a written configuration start at where it lies, those in other files at the working directory.

    Raises:
        UserError: a file is absent, cannot be parsed, or the result is not valid.
    """
    read = [layers.read(path) for path in paths]
    check_layers(read)
    config: dict[str, Any] = {}
    for layer in read:
        config = merge(config, located(layer.values, layer.path))
    return validate({**config, **own_words(read)}, read)


def named(paths: Sequence[Path]) -> Settings:
    """The experiment that a user names with `--config`, as every subcommand takes it.

    Args:
        paths: files that are laid over config/config.yaml, as Snakemake lays them; or a written config.json, or the
            folder of results that holds one, which may be a copy with another name.

    Raises:
        UserError: as `load`.
    """
    files = [path / "config.json" if (path / "config.json").is_file() else path for path in paths]
    base = next((path for path in BASES if path.is_file()), None)
    if base and files[0].suffix != ".json" and not any(path.exists() and path.samefile(base) for path in files):
        files = [base, *files]
    settings, folder = load(files), paths[0].absolute()
    if len(paths) == 1 and paths[0].is_dir() and folder.name != settings.experiment:
        return settings.model_copy(update={"results": folder.parent, "experiment": folder.name})
    return settings


NAMED = "results/<experiment>, its config.json, or YAML files, laid over each other and over config/config.yaml"
"""What a subcommand says of its option `--config`."""
BASES = (Path("config/config.yaml"), Path(__file__).absolute().parents[2] / "config/config.yaml")
"""What an overlay is laid over: the working directory's, or else that of the checkout that is installed."""
PRICE = ("usd_per_hour", "price_source", "price_date")


def check_layers(read: Sequence[layers.Layer]) -> None:
    """See that no file names another device and leaves the price of the one before, and that none is without effect.

    Args:
        read: the files, the one that the others are laid over first.

    Raises:
        UserError: one does, or is; file and line are named.
    """
    name = priced = None
    for layer in read:
        hardware = layer.values.get("hardware")
        if not isinstance(hardware, Mapping):
            continue
        name = hardware.get("name", name)
        left = [key for key in PRICE if key not in hardware]
        if not left:
            priced = name
        elif priced is not None and name != priced:
            raise UserError(
                f"{layers.where(('hardware', 'name'), [layer])}hardware.name is another device than {priced!r}, whose "
                f"{', '.join(left)} would be this one's",
                f"set {', '.join(left)} beside it",
            )
    for number, layer in enumerate(read[1:-1], 1):
        after = [later for later in read[number + 1 :] if later.path.suffix]  # a file, and not what --config gives
        every = [((value,), _last(keys, after)) for keys, value in layers.leaves(layer.values)]
        if all(last for _, last in every) and any(own != last for own, last in every):
            raise UserError(
                f"{layer.path} has no effect: every key of it is set again by "
                f"{' + '.join(str(other.path) for other in after)}",
                "name it last: each file is laid over those before it",
            )


def _last(keys: layers.Keys, read: Sequence[layers.Layer]) -> tuple[Any] | None:
    """The last value that some files give to a key; None if none of them does."""
    return next(((found[keys],) for one in reversed(read) if keys in (found := dict(layers.leaves(one.values)))), None)


def own_words(read: Sequence[layers.Layer]) -> dict[str, Any]:
    """What an experiment does not take over from another one, over whose file its own is laid: description and claims.

    It is another one by its name, together with another task or with models that the other did not have.

    Returns:
        The values of these keys to lay over the merged configuration; nothing where they are its own.
    """
    merged: dict[str, Any] = {}
    said: dict[str, dict[str, Any]] = {}
    for layer in read:
        merged = merge(merged, layer.values)
        said |= {key: merged for key in ("description", "claims") if key in layer.values}

    def is_another(one: dict[str, Any]) -> bool:
        task, theirs = (
            side["task"].get("name") if isinstance(side.get("task"), Mapping) else None for side in (merged, one)
        )
        models, known = (side["models"] if isinstance(side.get("models"), list) else [] for side in (merged, one))
        differs = task != theirs or any(model not in known for model in models)
        return merged.get("experiment") != one.get("experiment") and differs

    nothing = {"description": "", "claims": None}
    return {key: nothing[key] for key, one in said.items() if is_another(one)}


def json_schema() -> str:
    """The JSON schema of the configuration, as the text of workflow/schemas/config.schema.json."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    schema = Settings.model_json_schema()
    schema["$defs"]["Options"] = tasks.json_schema()
    return json.dumps({"$schema": dialect, **schema}, indent=2) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
