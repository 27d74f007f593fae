"""Snapshots as people and programs read them: ``table``, ``records`` (json, csv, ndjson, prom)."""
