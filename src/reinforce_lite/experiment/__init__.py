"""The stages of an experiment, one file each; `frame` runs them, `run` says what they work on."""
