"""Recommenders that a federation trains: one port, one file per model family.

``settings`` (no torch) says what can be set, so that recipes are checked anywhere; ``families``
finds the family that a recipe names.
"""
