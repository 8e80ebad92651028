"""AdamW whose steps are not lost in 16 bits, its schedule, and low-rank adapters."""
