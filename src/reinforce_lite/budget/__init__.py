"""Dollars: ledger and lock, forecast, plan, gate, and what a GPU costs that is not here. No torch."""
