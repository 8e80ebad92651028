"""Load a policy and look at it.

python examples/load.py                       a tiny one of random weights
python examples/load.py FOLDER                a folder of transformers' format, or a .gguf file
python examples/load.py NAME@COMMIT           from the hub
"""

import sys
from pathlib import Path

from reinforce_lite import Policy, PolicySettings, Scratch, Start, load_policy, named_task

TINY = PolicySettings(
    from_scratch=Scratch(architecture="llama", hidden_size=64, layers=2), start=Start(steps=1, learning_rate=1e-3)
)


def settings(source: str) -> PolicySettings:
    """Where a policy comes from, as it is written on the command line."""
    repo, at, commit = source.partition("@")
    return PolicySettings(repo=repo, revision=commit) if at else PolicySettings(path=Path(source))


def main(*sources: str) -> Policy:
    """Load the policy and print what matters about it."""
    policy = load_policy(settings(*sources) if sources else TINY, named_task("word_world").vocabulary)
    prompt = policy.prompt_ids([{"role": "user", "content": "tom has 3 apples . how many apples now ?"}])
    print(f"{type(policy.model).__name__}, {policy.model.num_parameters():,} weights on {policy.device}")
    print(f"a completion ends at {policy.tokenizer.convert_ids_to_tokens(sorted(policy.stop_ids))}")
    print(f"a prompt of {len(prompt)} tokens: {policy.tokenizer.decode(prompt)!r}")
    return policy


if __name__ == "__main__":
    main(*sys.argv[1:])
