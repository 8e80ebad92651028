"""The numbers of a finished experiment derived again, layer by layer, and set against what its files state."""
