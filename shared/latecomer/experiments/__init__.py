"""A/B tests across data owners: who is served what, what came of it, and how far to trust that.

``assignment`` puts everybody into an arm without keeping a list, ``counts`` makes sums of what came
of it at one site, and ``effects`` compares the arms by the sums of all sites.
"""
