"""xstilts: intermediate-task training for cross-lingual transfer, parameter-efficiently and with significance tests."""

__version__ = "0.1.0"
