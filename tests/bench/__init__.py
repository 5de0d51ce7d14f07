"""Benchmarks, apart from the tests: `python -m tests.bench NAME` prints a table; ratios are from one run."""
