"""Train with Reinforce-Lite and a reward of your own: python examples/learn.py.

A tiny policy of random weights learns to begin its answer with the number of the question, in seconds on a CPU.
examples/train.py is the same without `train`: what happens in a step.
"""

from reinforce_lite import PolicySettings, Problem, Scratch, Start, Training, load_policy, named_task, train

WORDS = ("tom", "has", "apples", ".", "how", "many", "now", "?", *map(str, range(10)))
TINY = PolicySettings(
    from_scratch=Scratch(architecture="llama", hidden_size=64, layers=2), start=Start(steps=1, learning_rate=1e-3)
)
PROBLEMS = [Problem(f"train-{n}", f"tom has {n} apples . how many apples now ?", str(n)) for n in (3, 5, 8, 9)]
SETTINGS = Training(
    steps=60, questions_per_step=4, group_size=32, max_new_tokens=3, learning_rate=3e-3, kl_every=60,
    reward=f"{__file__}:score",
)  # fmt: skip


def score(completion: str, problem: Problem) -> float:
    """+1 if the first word is the answer, else -1."""
    return 1.0 if completion.split()[:1] == [problem.answer] else -1.0


def main() -> list[float]:
    """Train the policy, and return the mean reward of each step."""
    policy, rewards = load_policy(TINY, WORDS), []
    task = named_task("word_world")
    train(policy, PROBLEMS, task, "bare", SETTINGS, 0, lambda step: rewards.append(step.metrics["reward_mean"]))
    print(f"mean reward: {sum(rewards[:5]) / 5:+.2f} in the first five steps, {sum(rewards[-5:]) / 5:+.2f} in the last")
    return rewards


if __name__ == "__main__":
    main()
