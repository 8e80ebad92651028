"""Teach a tiny policy to answer, then sample four answers to a question and grade them: python examples/sample.py."""

import reinforce_lite as rl

WORLD = rl.named_task("word_world")  # a task has prompts and a grade; this one has words of its own too
START = rl.Start(steps=150, batch_size=20, learning_rate=3e-3)
TINY = rl.PolicySettings(
    from_scratch=rl.Scratch(architecture="llama", hidden_size=64, layers=2), start=START, dtype="float32"
)
PROBLEMS = [rl.Problem(f"train-{n}", f"tom has {n} apples . how many apples now ?", str(n)) for n in range(20)]


def main() -> list[dict[str, bool | float]]:
    """Print each answer with its verdicts, and return these."""
    policy = rl.load_policy(TINY, WORLD.vocabulary)
    lessons = [rl.Demonstration(p.question, f"<answer> {p.answer} </answer>") for p in PROBLEMS]
    rl.supervised_start(policy, lessons, WORLD, "bare", START)

    problem, grades = PROBLEMS[7], []
    prompt = policy.prompt_ids(WORLD.messages("bare", problem.question))
    with rl.open_engine("auto", policy, rows=4, max_new_tokens=8) as engine:
        sampling = rl.Sampling(temperature=1.0, top_p=1.0, max_new_tokens=8)
        (group,) = engine([prompt], 4, sampling, seeds=[0])  # a group for each prompt
    for completion in group:
        text = policy.text(completion.token_ids)
        grades.append(WORLD.grade(text, problem))
        print(f"log p {sum(completion.logprobs):6.2f}  {text!r}  {grades[-1]}")
    return grades


if __name__ == "__main__":
    main()
