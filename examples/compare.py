"""Compare two evaluations of the same questions: python examples/compare.py BEFORE.jsonl AFTER.jsonl.

The files are those of examples/evaluate.py, or items.jsonl of two evaluations in the results of an experiment.
"""

import sys
from pathlib import Path

from reinforce_lite import UserError, compare


def main(before: str, after: str) -> None:
    """Print what changed, how sure that is, and which way the questions went."""
    result = compare(Path(before), Path(after), resamples=10_000, seed=0)
    low, high = (100 * end for end in result["ci95"])
    gained, lost = result["discordant"]["gained"], result["discordant"]["lost"]
    print(f"{result['n']} questions: {result['baseline']['strict']:.1%}, then {result['trained']['strict']:.1%}")
    print(f"change {100 * result['delta']:+.1f} points, 95% interval {low:+.1f} to {high:+.1f} (paired bootstrap)")
    print(f"{gained} gained, {lost} lost: p = {result['mcnemar_p']:.3g} (McNemar, exact)")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:  # a file is absent, or they do not ask the same
        sys.exit(str(error))
