"""Who is in which arm of an experiment: told by names alone, whoever asks and whenever."""

import json
from typing import Literal, get_args

from blake3 import blake3

from latecomer.errors import BadData
from latecomer.experiments.names import named, site_named

Arm = Literal["control", "treatment"]

ARMS: tuple[Arm, ...] = get_args(Arm)

#: Of the digest: more than a float holds.
BYTES = 8


def arm(experiment: str, user: str, *, site: str | None, share: float = 0.5) -> Arm:
    """The arm of a user, for as long as the experiment has its name; nothing is kept of it.

    The digest of all names, as a number from 0 to 1, is below ``share`` for the treatment. Arms
    under another name are independent of these, and with a larger share nobody leaves the
    treatment. Shops number their customers from 1: were lots not drawn site by site, customer 1 of
    all shops would have one lot, and ten shops would be no more evidence than one.

    Args:
        experiment: Its name.
        user: His id as text, as the owner's data has it; white space around it does not matter.
        site: Whose customer he is; None where an id means the same person at every site, who then
            has one arm at all of them.
        share: Of users in the treatment, between 0 and 1.

    Raises:
        BadConfiguration: The experiment or the site has no proper name.
        BadData: The id is no text, or blank.
    """
    if not isinstance(user, str) or not user.strip():
        raise BadData(
            f"this is no id of a user: {user!r}",
            hint="give it as text, as the log has it: 13047 and 13047.0 are two people",
        )
    whose = None if site is None else site_named(site)
    names = json.dumps([named("an experiment", experiment), whose, user.strip()]).encode()
    number = int.from_bytes(blake3(names).digest(length=BYTES), "big")
    return "treatment" if number < share * 2 ** (8 * BYTES) else "control"
