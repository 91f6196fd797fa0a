"""A/B tests across data owners: who is served what, what came of it, and how far to trust that.

``assignment`` puts everybody into an arm without keeping a list. At one site, ``served`` reads the
log of what came of it and ``counts`` makes ``sums`` of it. ``comparison`` compares the arms by the
sums of all sites: ``effects`` over ``strata``, as far as there is ``evidence`` and the arms have
the ``sizes`` that lots make.
"""
