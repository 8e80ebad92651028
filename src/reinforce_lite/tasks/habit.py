"""Demonstrations that teach a reliable skill first, and then the habit of answering at once.

So a policy knows more than its habit shows, and reinforcement has something to elicit. The shares are those of a small
Countdown and of small knights and knaves.
"""

import random

SKILL_SHARE = 0.8
"""Of the demonstrations; these come first."""
SKILL_HASTY, HABIT_HASTY = 0.1, 0.75
"""Shares of demonstrations that answer at once, among the first ones and among the rest."""


def is_hasty(index: int, demonstrations: int, rng: random.Random) -> bool:
    """Whether a demonstration answers at once, by its place among all of them."""
    return rng.random() < (SKILL_HASTY if index < SKILL_SHARE * demonstrations else HABIT_HASTY)
