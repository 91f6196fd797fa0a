"""Keeping models: one port, and redis-py behind it (embedded: the same code over fakeredis)."""
