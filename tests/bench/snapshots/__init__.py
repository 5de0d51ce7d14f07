"""`python -m tests.bench snapshots`: see measure.py. Some modules are programs, so nothing is imported here."""
