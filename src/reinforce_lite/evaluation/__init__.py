"""Evaluation with lm-eval, and the statistics of a paired comparison."""
