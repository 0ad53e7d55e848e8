"""Put on every scheme, then its benign look-alikes."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic import labour, laundering, osec, scams, sextortion, trafficking
from fintel.feeds.synthetic.ledger import Ledger
from fintel.feeds.synthetic.register import Register
from fintel.feeds.synthetic.routine import Routine
from fintel.feeds.synthetic.stage import Stage
from fintel.feeds.synthetic.world import World

FAMILIES = (osec, sextortion, trafficking, labour, scams, laundering)


def plant(world: World, routine: Routine, register: Register, seed: int) -> tuple[list[Ledger], list[Ledger]]:
    """The payments of all schemes and of all look-alikes, one ledger a family of ``FAMILIES`` each.

    Who they are is written into ``register``. Schemes choose their accounts first; look-alikes take from
    what is left.
    """
    schemes = [Ledger() for _ in FAMILIES]
    for number, family in enumerate(FAMILIES):
        rng = np.random.default_rng([seed, 16, number])
        family.plant(Stage(world, rng, schemes[number], routine, register))
    return schemes, mimic(world, routine, register, seed)


def mimic(world: World, routine: Routine, register: Register, seed: int) -> list[Ledger]:
    """The payments of all look-alikes, one ledger a family of ``FAMILIES``."""
    lookalikes = [Ledger() for _ in FAMILIES]
    for number, family in enumerate(FAMILIES):
        rng = np.random.default_rng([seed, 17, number])
        family.mimic(Stage(world, rng, lookalikes[number], routine, register))
    return lookalikes
