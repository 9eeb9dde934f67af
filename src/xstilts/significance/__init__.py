"""Significance tests, one file each, on numbers that know nothing of tasks or files."""
