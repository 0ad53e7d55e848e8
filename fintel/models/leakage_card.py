"""What the leakage audit says of a learning set, as a model's card keeps it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,60}$")]
Reason = Annotated[str, Field(min_length=1, max_length=400)]


class AloneCard(BaseModel):
    """How well one feature alone tells labelled from other rows: the area under its ROC curve, the better way round;
    of the value, and of whether it is known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Name
    value: float = Field(ge=0, le=1)
    known: float = Field(ge=0, le=1)


class LeakageCard(BaseModel):
    """A learning set that passed.

    ``moments`` and ``rows``: of which features were computed anew from tables cut there, with made-up later rows.
    ``bound``: of ``alone``, the features that tell most by themselves. ``waived``: features that a person let through,
    with the reason. ``positives``: rows that the bound rests on; with few it is not applied. ``checks``: what held.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    moments: tuple[datetime, ...] = Field(max_length=100)
    rows: int
    positives: int
    bound: float
    alone: tuple[AloneCard, ...] = Field(max_length=100)
    waived: dict[Name, Reason]
    checks: tuple[Annotated[str, Field(max_length=200)], ...] = Field(max_length=20)
