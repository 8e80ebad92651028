"""A training that was interrupted anywhere and went on is, bit for bit, the one that nobody disturbed."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from reinforce_lite.config import CheckpointSettings, Training
from reinforce_lite.errors import UserError
from reinforce_lite.io import interrupt
from reinforce_lite.io.interrupt import Interrupted
from reinforce_lite.learning import checkpoint, experience, loop
from reinforce_lite.learning.estimators import Estimator
from reinforce_lite.learning.experience import Experience
from reinforce_lite.learning.loop import question_stream, train
from reinforce_lite.learning.progress import Progress
from reinforce_lite.learning.update import UpdateResult
from reinforce_lite.optim.adamw import SCHEMES
from reinforce_lite.tasks import Problem
from toys import WORLD, toy_policy

STEPS = 5
PROBLEMS = [Problem(f"train-{i}", f"tom has {i} apples . how many apples now ?", str(i)) for i in range(7)]
BASE = {
    "steps": STEPS, "questions_per_step": 3, "group_size": 4, "max_new_tokens": 6, "learning_rate": 1e-3, "kl_every": 2,
    "reward": "random", "weight_decay": 0.1, "gradient_checkpointing": False,
}  # fmt: skip
VARIANTS = {
    "leave_one_out": {"schedule": "linear"},
    "as_published": {"estimator": "as_published", "shuffle": False, "temperature": 0.7, "top_p": 0.9},
    "critic": {"estimator": "critic", "schedule": "linear"},
}
RARELY = CheckpointSettings()
Result = tuple[list[torch.Tensor], list[dict[str, Any]], list[dict[str, Any]]]


def run(
    folder: Path,
    settings: Training,
    often: CheckpointSettings = RARELY,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> Result:
    """Weights, metrics without times, completions: of a process that starts from nothing but the folder."""
    policy = toy_policy("llama", device=device)
    policy.model.to(dtype)
    progress = Progress(folder, settings.model_dump(), often)
    train(policy, PROBLEMS, WORLD, "bare", settings, 0, progress=progress, **options)
    metrics = [row["metrics"] for row in progress.rows()]
    kept = [{k: v for k, v in row.items() if not k.startswith(("seconds", "tokens_per"))} for row in metrics]
    completions = [completion for row in progress.rows() for completion in row["completions"]]
    return list(policy.model.parameters()), kept, completions


def same(first: Result, second: Result) -> bool:
    weights = all(torch.equal(a, b) for a, b in zip(first[0], second[0], strict=True))
    return weights and first[1:] == second[1:]


def interrupting(function: Callable[..., Any], at_call: int) -> Callable[..., Any]:
    """The function, which leaves at one of its calls, after its work and before anybody has the result."""
    calls = 0

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        result = function(*arguments, **keywords)
        if calls == at_call:
            raise Interrupted
        return result

    return wrapped


@pytest.fixture(scope="module", params=VARIANTS)
def settings(request: pytest.FixtureRequest) -> Training:
    return Training(**{**BASE, **VARIANTS[request.param]})


@pytest.fixture(scope="module")
def undisturbed(settings: Training, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(tmp_path_factory.mktemp("undisturbed"), settings)


@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("where", ["rollout", "score", "gradient"])
@pytest.mark.survives("SIGTERM inside any training step")
def test_interrupted_inside_any_step(
    tmp_path: Path, settings: Training, undisturbed: Result, where: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, where, interrupting(getattr(loop, where), step + 1))
    with pytest.raises(Interrupted):
        run(tmp_path, settings)
    assert [checkpoint.read(path).step for path in checkpoint.found(tmp_path)] == [step][: step > 0]
    monkeypatch.undo()
    assert same(run(tmp_path, settings), undisturbed)


def test_interrupted_at_every_boundary(
    tmp_path: Path, settings: Training, undisturbed: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process for each step."""
    seen = []

    def leave(step: loop.Step) -> None:
        seen.append(step.metrics["step"])
        raise Interrupted

    for _ in range(STEPS):
        with pytest.raises(Interrupted):
            run(tmp_path, settings, on_step=leave)
    assert seen == list(range(STEPS))
    assert same(run(tmp_path, settings, on_step=leave), undisturbed), "nothing is left to do"


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.survives("SIGKILL after any training step")
def test_killed_without_a_word(tmp_path: Path, settings: Training, undisturbed: Result, every: int) -> None:
    """Some steps are taken again, and each is told once."""

    def die(step: loop.Step) -> None:
        if step.metrics["step"] == 3:
            raise MemoryError

    with pytest.raises(MemoryError):
        run(tmp_path, settings, CheckpointSettings(every_steps=every), on_step=die)
    assert same(run(tmp_path, settings), undisturbed)


@pytest.mark.parametrize(
    ("scheme", "estimator"), [*((name, "leave_one_out") for name in (*SCHEMES, "lora")), ("8bit", "critic")]
)
def test_what_is_kept_beside_16_bit_weights_comes_back_too(
    tmp_path: Path, scheme: str, estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Training(**{**BASE, "weights": scheme, "learning_rate": 1e-5, "estimator": estimator})
    whole = run(tmp_path / "whole", settings, dtype=torch.bfloat16)
    monkeypatch.setattr(loop, "rollout", interrupting(loop.rollout, 4))
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", settings, dtype=torch.bfloat16)
    monkeypatch.undo()
    assert same(run(tmp_path / "cut", settings, dtype=torch.bfloat16), whole)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_goes_on_with_the_same_draws_and_nearly_the_same_weights(
    tmp_path: Path, settings: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is promised there: the state is whole, and what differs is the order in which kernels add up."""
    whole = run(tmp_path / "whole", settings, device="cuda")
    monkeypatch.setattr(loop, "rollout", interrupting(loop.rollout, 4))
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", settings, device="cuda")
    monkeypatch.undo()
    resumed = run(tmp_path / "cut", settings, device="cuda")
    in_step_3 = [[row["completion"] for row in one[2] if row["step"] == 3] for one in (whole, resumed)]
    assert in_step_3[0] == in_step_3[1]
    for before, after in zip(whole[0], resumed[0], strict=True):
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_the_comparison_would_see_a_lost_optimiser(
    tmp_path: Path, settings: Training, undisturbed: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "rollout", interrupting(loop.rollout, 3))
    with pytest.raises(Interrupted):
        run(tmp_path, settings)
    monkeypatch.undo()
    monkeypatch.setattr(checkpoint, "restore_optimizer", lambda optimizer, saved: None)
    assert not same(run(tmp_path, settings), undisturbed)


def test_drift_is_measured_from_the_start_policy(
    tmp_path: Path, settings: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "rollout", interrupting(loop.rollout, STEPS))
    with pytest.raises(Interrupted):
        run(tmp_path, settings)
    monkeypatch.undo()
    weights, metrics, _ = run(tmp_path, settings)
    start = toy_policy("llama").model.parameters()
    pairs = list(zip(weights, start, strict=True))
    share = sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)
    assert metrics[-1]["weights_changed"] == pytest.approx(share)


@pytest.mark.parametrize("shuffle", [True, False])
def test_questions_go_on_where_they_were(shuffle: bool) -> None:
    import itertools

    whole = list(itertools.islice(question_stream(PROBLEMS, shuffle, 3), 40))
    for first in range(25):
        rest = question_stream(PROBLEMS, shuffle, 3, first)
        assert list(itertools.islice(rest, 40 - first)) == whole[first:]


def test_a_reason_ends_the_training_and_the_last_step_is_measured(tmp_path: Path) -> None:
    settings, asked = Training(**BASE), []

    def stop(completed: int) -> str | None:
        asked.append(completed)
        return "no money" if completed == 3 else None

    policy = toy_policy("llama")
    progress = Progress(tmp_path, {}, RARELY)
    assert train(policy, PROBLEMS, WORLD, "bare", settings, 0, stop=stop, progress=progress) == "no money"
    assert asked == [1, 2, 3] and len(progress.rows()) == 3
    assert progress.rows()[-1]["metrics"]["kl_to_start"] is not None
    assert checkpoint.read(checkpoint.found(tmp_path)[0]).step == 3
    # Killed before the results were written: the same command must not take another step.
    again = Progress(tmp_path, {}, RARELY)
    assert train(toy_policy("llama"), PROBLEMS, WORLD, "bare", settings, 0, stop=stop, progress=again) == "no money"
    assert asked == [1, 2, 3, 3] and again.rows() == progress.rows()
    # Without the rule it goes on to the end, as if nothing had been.
    whole = Progress(tmp_path, {}, RARELY)
    assert train(toy_policy("llama"), PROBLEMS, WORLD, "bare", settings, 0, progress=whole) is None
    assert len(whole.rows()) == STEPS


def broken_at(steps: set[int]) -> Callable[..., UpdateResult]:
    step, real = -1, loop.gradient

    def gradient(*arguments: Any) -> UpdateResult:
        nonlocal step
        step += 1
        result = real(*arguments)
        return UpdateResult(None, None, None, None, skipped=True) if step in steps else result

    return gradient


@pytest.mark.survives("NaN loss for one step")
def test_one_step_that_is_not_finite_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "gradient", broken_at({1, 3}))
    _, metrics, _ = run(tmp_path, Training(**BASE, max_skipped=2))
    assert [row["skipped"] for row in metrics] == [False, True, False, True, False]


@pytest.mark.survives("NaN loss for ever")
def test_too_many_in_a_row_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Training(**BASE, max_skipped=3)
    monkeypatch.setattr(loop, "gradient", broken_at({2, 3, 4}))
    with pytest.raises(UserError, match=r"step 4: .*not finite, 3 times in a row\n  fix: "):
        run(tmp_path, settings, CheckpointSettings(every_steps=2))
    assert [checkpoint.read(path).step for path in checkpoint.found(tmp_path)] == [4, 2]
    # Going on counts from the rows: two were skipped before the checkpoint.
    monkeypatch.setattr(loop, "gradient", broken_at({0}))
    with pytest.raises(UserError, match="3 times in a row"):
        run(tmp_path, settings, CheckpointSettings(every_steps=2))


@pytest.mark.survives("NaN loss for ever")
def test_nan_from_the_policy_itself_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Experience.weighted

    def weighted(self: Experience, estimate: Estimator) -> Experience:
        experience = real(self, estimate)
        experience.advantages_PG[0] = [float("nan")] * 4
        return experience

    monkeypatch.setattr(Experience, "weighted", weighted)
    policy = toy_policy("llama")
    before = [weight.detach().clone() for weight in policy.model.parameters()]
    with pytest.raises(UserError, match=r"step 1: .*2 times in a row"):
        train(policy, PROBLEMS, WORLD, "bare", Training(**BASE, max_skipped=2), 0)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.model.parameters(), strict=True))


@pytest.fixture
def listening() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*interrupt.NOTICES, interrupt.LIMIT)}
    interrupt.install(interrupt.LIMIT)
    yield
    interrupt.install()  # forgets that it was asked
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("listening")
@pytest.mark.survives("a limit that is reached inside a step")
def test_the_steps_before_the_limit_are_a_result_and_a_larger_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, rollouts, spent = Training(**BASE), 0, False
    whole = run(tmp_path / "whole", settings)

    def rollout(*given: Any) -> Any:
        nonlocal rollouts, spent
        rollouts += 1
        spent = rollouts == 4
        if spent:
            os.kill(os.getpid(), interrupt.LIMIT)
        return experience.rollout(*given)

    monkeypatch.setattr(loop, "rollout", rollout)
    cut = run(tmp_path / "cut", settings, stop=lambda done: f"stopped at {done}" if spent else None)
    assert [row["step"] for row in cut[1]] == [0, 1, 2] and cut[1] == whole[1][:3]
    assert same(run(tmp_path / "cut", settings), whole)
    interrupt.install(interrupt.LIMIT)
    monkeypatch.setattr(loop, "rollout", lambda *given: os.kill(os.getpid(), interrupt.LIMIT))
    with pytest.raises(Interrupted):
        run(tmp_path / "none", settings)
