"""`python -m tests.bench service`: see measure.py."""
