"""The ``latecomer`` command: thin, and the only one who knows all services."""
