"""Published data sets as they are downloaded: one file each, found by the name in a recipe.

None of them is part of this distribution; ``docs/data.md`` says where each is to be had.
"""
