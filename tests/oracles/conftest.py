"""Checks against other people's tools. They are collected only where the ``oracles`` extra is installed."""

import importlib.util

NEEDS = {
    "test_seqeval.py": "seqeval",
    "test_sklearn.py": "sklearn",
    "test_statsmodels.py": "statsmodels",
    "test_statsmodels_tests.py": "statsmodels",
}
collect_ignore = [file for file, package in NEEDS.items() if importlib.util.find_spec(package) is None]
