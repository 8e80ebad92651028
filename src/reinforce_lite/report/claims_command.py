"""`reinforce-lite claims`: the claims table of a finished experiment, in a terminal."""

import textwrap

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json
from reinforce_lite.stages import Layout

CODES = {"supported": 0, "undecidable": 3, "contradicted": 4}
"""Exit codes; the highest of all claims is the command's. 1 and 2 are taken by errors."""


def run(settings: Settings) -> int:
    """Print the table.

    Returns:
        The exit code, see `CODES`.

    Raises:
        UserError: the experiment has no verdicts yet.
    """
    rows = read_json(Layout.of(settings).verdicts)["claims"]
    for row in rows:
        about = f"{row['about']}: " if row["about"] else ""
        print(f"{row['verdict']:<13} {about}{row['said']}")
        for line in (row["why"], row["decides"] and f"would decide it: {row['decides']}"):
            if line:
                print(textwrap.fill(line, 110, initial_indent=" " * 14, subsequent_indent=" " * 14))
    counts = {kind: sum(row["verdict"] == kind for row in rows) for kind in CODES}
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return max(CODES[row["verdict"]] for row in rows)
