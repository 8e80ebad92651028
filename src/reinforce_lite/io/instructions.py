"""Which instructions of the CPU compute: those that it does best, or those that every x86 CPU with AVX2 does alike."""

import os

COMMON = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"}
"""What torch and MKL read when they begin. MKL's AVX2 will not do: it takes other sums on CPUs of another maker
(benchmarks/results/arithmetic.json)."""


def take_common() -> None:
    """Have torch compute alike on every x86 CPU with AVX2, here and in processes that follow; before it is imported."""
    os.environ.update(COMMON)


def are_common() -> bool:
    """Whether torch computes so."""
    return COMMON.items() <= os.environ.items()
