"""How well a recommender does: one protocol, its metrics, their uncertainty, and the floor to beat.

``protocol`` decides who competes with a held-out item and adds up what ``ranking`` measures;
``candidates`` says which items compete. ``intervals`` says how far to trust a mean. ``baselines``
score without learning, ``classification`` is for clicks, ``beyond_accuracy`` for what lists show.
"""
