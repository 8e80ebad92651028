"""The report: paired comparisons, a machine-readable summary, and one page a person can read."""
