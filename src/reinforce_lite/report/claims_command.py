"""`reinforce-lite claims`: the claims table of a finished experiment, in a terminal."""

import textwrap

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json
from reinforce_lite.report import verdicts
from reinforce_lite.stages import Layout

CODES = {"supported": 0, "not applicable": 0, "not measured well enough": 3, "undecidable": 3, "contradicted": 4}
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
        print(f"{row['verdict']:<24} {about}{row['said']}")
        for line in (row["why"], row["decides"] and f"would decide it: {row['decides']}"):
            if line:
                print(textwrap.fill(line, 110, initial_indent=" " * 25, subsequent_indent=" " * 25))
    counts = ", ".join(f"{count} {kind}" for kind, count in verdicts.tally(rows).items())
    print(counts or f"{settings.experiment} makes no claims")
    return max((CODES[row["verdict"]] for row in rows), default=0)
