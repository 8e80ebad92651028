"""Evaluate a tiny policy before and after lessons: python examples/evaluate.py FOLDER.

FOLDER/before.jsonl and after.jsonl then have a row for each question; examples/compare.py compares them.
"""

import json
import sys
from pathlib import Path

import reinforce_lite as rl

WORLD = rl.named_task("word_world")
START = rl.Start(steps=150, batch_size=20, learning_rate=3e-3)
TINY = rl.PolicySettings(
    from_scratch=rl.Scratch(architecture="llama", hidden_size=64, layers=2), start=START, dtype="float32"
)
PROBLEMS = [rl.Problem(f"test-{n}", f"tom has {n} apples . how many apples now ?", str(n)) for n in range(20)]


def main(folder: str) -> None:
    """Write what was asked, answered and read, and print the accuracies."""
    policy = rl.load_policy(TINY, WORLD.vocabulary)
    lessons = [rl.Demonstration(p.question, f"<answer> {p.answer} </answer>") for p in PROBLEMS[:15]]  # by heart
    for name in ("before", "after"):
        summary, items = rl.evaluate(policy, PROBLEMS, WORLD, "bare", rl.Evaluation(max_new_tokens=8, batch_size=20))
        Path(folder, f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        print(f"{name}: {summary['strict']:.0%} of {summary['n']} right, {summary['length_mean']:.1f} tokens each")
        if name == "before":
            rl.supervised_start(policy, lessons, WORLD, "bare", START)


if __name__ == "__main__":
    main(*sys.argv[1:])
