"""Who is in which arm of an experiment: told by the names of both, at every site the same."""

import json
from typing import Literal, get_args

from blake3 import blake3

Arm = Literal["control", "treatment"]

ARMS: tuple[Arm, ...] = get_args(Arm)

#: Of the digest: more than a float holds.
BYTES = 8


def arm(experiment: str, user: str, *, share: float = 0.5) -> Arm:
    """The arm of a user, for as long as the experiment has its name; nothing is kept of it.

    The digest of both names, as a number from 0 to 1, is below ``share`` for the treatment. Arms
    under another name are independent of these, and with a larger share nobody leaves the
    treatment.

    Args:
        experiment: Its name.
        user: As the owner's data has it; who shops at two owners under one id has one arm.
        share: Of users in the treatment, between 0 and 1.
    """
    names = json.dumps([experiment, user]).encode()
    number = int.from_bytes(blake3(names).digest(length=BYTES), "big")
    return "treatment" if number < share * 2 ** (8 * BYTES) else "control"
