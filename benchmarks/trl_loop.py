"""TRL's trainers on a world, set up as its documentation says, with a watch on their phases.

What TRL does besides training (logging, saving, evaluation, a reference model) is off. A phase is what a documented
method takes: `generation` is _tokenize_prompts and _generate_single_turn; `reward` is the rest of
_generate_and_score_completions, less the log-probabilities that RLOO takes in there; `update` is the rest of the step,
and those. What lies between two steps, the data loader's work, counts for the whole only.
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import torch
from worlds import World

from reinforce_lite.policy import Policy
from reinforce_lite.tasks import Problem, reward

TRAINERS = {"grpo": ("GRPOTrainer", "GRPOConfig"), "rloo": ("RLOOTrainer", "RLOOConfig")}
Count = dict[str, float]


def wait() -> None:
    """Until a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Watch:
    """What is seen of the steps after the first, which warms up."""

    def __init__(self) -> None:
        self.phases: defaultdict[str, float] = defaultdict(float)
        self.ends: list[float] = []
        self.rewards: list[list[float]] = []
        self.tokens = 0

    def step_ended(self, began: float) -> None:
        """Count a step; forget what was seen in the first one."""
        wait()
        self.ends.append(time.perf_counter())
        self.phases["step"] += self.ends[-1] - began
        if len(self.ends) == 1:
            self.phases.clear()
            self.rewards, self.tokens = [], 0

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Seconds of the block."""
        wait()
        began = time.perf_counter()
        yield
        wait()
        self.phases[name] += time.perf_counter() - began

    def count(self, group: int) -> Count:
        """Seconds by phase, and how many completions, of them with a gradient, and tokens."""
        rows = [row for step in self.rewards for row in step]
        groups = [rows[i : i + group] for i in range(0, len(rows), group)]
        seen = self.phases
        return {
            "seconds": self.ends[-1] - self.ends[0],
            "generation": seen["generation"],
            "reward": seen["scoring"] - seen["generation"] - seen["logprobs"],
            "update": seen["step"] - seen["scoring"] + seen["logprobs"],
            "completions": len(rows),
            "gradients": sum(len(g) for g in groups if max(g) != min(g)),
            "tokens": self.tokens,
        }


def watched(base: Any, watch: Watch) -> Any:
    """The trainer's class with a watch on the methods that make up the phases."""

    class Watched(base):  # type: ignore[misc]
        scoring = False

        def _tokenize_prompts(self, *arguments: Any, **named: Any) -> Any:
            with watch.of("generation"):
                return super()._tokenize_prompts(*arguments, **named)

        def _generate_single_turn(self, *arguments: Any, **named: Any) -> Any:
            with watch.of("generation"):
                return super()._generate_single_turn(*arguments, **named)

        def _generate_and_score_completions(self, *arguments: Any, **named: Any) -> Any:
            self.scoring = True
            try:
                with watch.of("scoring"):
                    return super()._generate_and_score_completions(*arguments, **named)
            finally:
                self.scoring = False

        def _get_per_token_logps_and_entropies(self, *arguments: Any, **named: Any) -> Any:
            if not self.scoring:
                return super()._get_per_token_logps_and_entropies(*arguments, **named)
            with watch.of("logprobs"):
                return super()._get_per_token_logps_and_entropies(*arguments, **named)

    return Watched


def callback(watch: Watch) -> Any:
    """Tells the watch where a step begins and ends."""
    from transformers import TrainerCallback

    class Steps(TrainerCallback):  # type: ignore[misc]
        began = 0.0

        def on_step_begin(self, *arguments: Any, **named: Any) -> None:
            wait()
            self.began = time.perf_counter()

        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            watch.step_ended(self.began)

    return Steps()


def config(kind: str, world: World, rows: int, steps: int, seed: int, folder: str) -> Any:
    """The same step as the world's, in TRL's words; what is not named here is TRL's default."""
    import trl

    training, cpu = world.training, world.device == "cpu"
    return getattr(trl, TRAINERS[kind][1])(
        output_dir=folder,
        max_steps=steps,
        seed=seed,
        use_cpu=cpu,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=world.batch // rows,
        num_generations=training.group_size,
        max_completion_length=training.max_new_tokens,
        temperature=training.temperature,
        top_p=training.top_p,
        beta=0.0,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        weight_decay=training.weight_decay,
        max_grad_norm=training.gradient_clip,
        gradient_checkpointing=training.gradient_checkpointing,
        bf16=world.policy.model.dtype == torch.bfloat16,
        shuffle_dataset=False,
        dataloader_pin_memory=not cpu,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def dataset(world: World, policy: Policy) -> Any:
    """The questions as chat messages.

    Raises:
        ValueError: TRL would make other prompts of them than we do.
    """
    from datasets import Dataset

    chats = [world.task.messages(world.prompt, problem.question) for problem in world.problems]
    theirs = policy.tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=True, return_dict=True)
    if theirs["input_ids"] != [policy.prompt_ids(chat) for chat in chats]:
        raise ValueError("TRL would put other tokens before the policy than we do")
    rows = [{"prompt": chat, "answer": p.answer} for chat, p in zip(chats, world.problems, strict=True)]
    return Dataset.from_list(rows)


def theirs(kind: str, world: World, rows: int, steps: int, seed: int) -> Count:
    """So many steps of a trainer after one that warms up, `rows` completions in a forward pass of the update."""
    import trl
    from transformers import PrinterCallback

    watch, coin, policy = Watch(), random.Random(seed), world.fresh()

    def judge(completions: Any, answer: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        grades = [world.task.grade(text, Problem("", "", gold)) for text, gold in zip(texts, answer, strict=True)]
        watch.rewards.append([reward(world.training.reward, grade, coin) for grade in grades])
        watch.tokens += sum(map(len, completion_ids))
        return watch.rewards[-1]

    base = getattr(trl, TRAINERS[kind][0])
    with TemporaryDirectory() as folder:
        trainer = watched(base, watch)(
            model=policy.model,
            reward_funcs=judge,
            args=config(kind, world, rows, steps + 1, seed, folder),
            train_dataset=dataset(world, policy),
            processing_class=policy.tokenizer,
            callbacks=[callback(watch)],
        )
        trainer.remove_callback(PrinterCallback)  # it prints to stdout
        trainer.train()
    return watch.count(world.training.group_size)
