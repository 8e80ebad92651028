"""Reinforce-Lite: estimators, batching, update, loop."""
