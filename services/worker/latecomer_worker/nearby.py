"""What only a site knows, beside the federation's scores: who is whose friend, what is popular."""

from latecomer.recipe import Social
from latecomer.recommenders.port import Scorer
from latecomer.recommenders.social import popular_here, smoothed
from latecomer_worker.site import Site


def nearby(score: Scorer, site: Site, social: Social) -> Scorer:
    """``score`` as the site serves it; without any weight, ``score`` itself."""
    friends = smoothed(score, site.edges, social.weight)
    return popular_here(friends, site.split.train, social.popularity)
