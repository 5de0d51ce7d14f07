"""Runs inside the backup image: takes, lists, verifies and schedules snapshots of the SQLite databases on one volume.

It knows no Docker and imports nothing else of the orchestrator. The host side shares `manifest` and `freshness`.
"""
