"""Deploys a Flask and SQLite service behind Nginx on one Docker engine, and takes snapshots that restore."""
