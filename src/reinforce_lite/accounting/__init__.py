"""What was run, on what, for how long and for how much money."""
