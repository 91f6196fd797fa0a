"""The aggregator: consumes updates as they come and publishes new versions.

``coordinator`` is the order of steps; every other module is called once by it and calls nobody
back. No torch here.
"""
