"""Put on every scheme, then its benign look-alikes."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic import labour, laundering, osec, scams, sextortion, trafficking
from fintel.feeds.synthetic.ledger import Ledger
from fintel.feeds.synthetic.register import Register
from fintel.feeds.synthetic.routine import Routine
from fintel.feeds.synthetic.stage import Stage
from fintel.feeds.synthetic.world import World

_FAMILIES = (osec, sextortion, trafficking, labour, scams, laundering)


def plant(world: World, routine: Routine, register: Register, ledger: Ledger, seed: int) -> None:
    """Add the payments of all schemes and look-alikes to ``ledger`` and write who they are down."""
    for number, family in enumerate(_FAMILIES):
        rng = np.random.default_rng([seed, 16, number])
        family.plant(Stage(world, rng, ledger, routine, register))
    for number, family in enumerate(_FAMILIES):
        rng = np.random.default_rng([seed, 17, number])
        family.mimic(Stage(world, rng, ledger, routine, register))
