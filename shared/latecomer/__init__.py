"""The language all Latecomer services speak.

``events`` say what happened, ``wire`` turns them into bytes and back, ``tensors`` are what a model
and an update are made of. ``broker`` carries events, ``store`` keeps models. ``recommenders``
learn, ``interactions`` are what they learn from, ``evaluation`` says how well. Nothing here imports
a service.
"""

__version__ = "0.1.0"
