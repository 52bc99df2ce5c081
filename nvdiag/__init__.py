"""nvdiag says what is wrong with an NVIDIA GPU machine, why, and what to do about it."""

__version__ = "0.1.0"
