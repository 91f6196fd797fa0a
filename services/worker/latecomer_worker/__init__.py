"""The worker: fetches a version, trains on its own data, publishes what changed.

``agent`` is the order of steps; every other module is called once by it and calls nobody back. What
never leaves this process: interactions, and the private state of users.
"""
