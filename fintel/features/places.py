"""Where cities lie, and how far one place is from another.

``cities.csv`` holds some 430 capitals and large cities: names (the usual spellings, ';' between), ISO
country, and the centre to two decimals, which is a kilometre or so. A city's name alone says little, so
a name counts together with its country only; one that is not listed has no coordinates.
"""

from __future__ import annotations

import csv
from functools import cache, partial
from importlib import resources

import polars as pl

from fintel.features.identifiers import folded, folded_sql

#: Mean radius of the earth in km (IUGG: a third of two equatorial radii and a polar one).
EARTH_KM = 6371.0088
AXES = ("latitude", "longitude")


@cache
def cities() -> pl.DataFrame:
    """The gazetteer: ``city`` (folded name), ``country``, ``latitude``, ``longitude`` (degrees)."""
    text = (resources.files("fintel.features") / "cities.csv").read_text(encoding="utf-8")
    rows = [
        (name, row["country"], float(row["latitude"]), float(row["longitude"]))
        for row in csv.DictReader(text.splitlines())
        for name in row["names"].split(";")
    ]
    frame = pl.DataFrame(rows, schema=["city", "country", *AXES], orient="row")
    return frame.with_columns(folded(pl.col("city"))).unique(["city", "country"], keep="first", maintain_order=True)


def coordinates(latitude: pl.Expr, longitude: pl.Expr, city: pl.Expr, country: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Given coordinates where both can be true, else those of the city, else null.

    A pair outside the globe, or of two zeros (how many systems write *unknown*), is none.
    """
    given = latitude.is_between(-90, 90) & longitude.is_between(-180, 180) & ((latitude != 0) | (longitude != 0))
    key = pl.struct(country=country, name=city)
    of_city = [
        key.map_batches(partial(_looked_up, axis), return_dtype=pl.Float64, is_elementwise=True) for axis in AXES
    ]
    found = [
        pl.when(given).then(own).otherwise(looked_up)
        for own, looked_up in zip((latitude, longitude), of_city, strict=True)
    ]
    return found[0], found[1]


def _looked_up(axis: str, keys: pl.Series) -> pl.Series:
    """One coordinate of pairs of country and name; each distinct pair is folded and looked up once."""
    pairs = keys.struct.unnest()
    distinct = pairs.drop_nulls().unique()
    if distinct.is_empty():
        return pl.Series(keys.name, [None], dtype=pl.Float64).new_from_index(0, len(keys))
    found = distinct.with_columns(city=folded(pl.col("name"))).join(cities(), on=["city", "country"])
    of_pair = found.select("country", "name", axis)
    return pairs.join(of_pair, on=["country", "name"], how="left", maintain_order="left")[axis].alias(keys.name)


def distance_km(
    from_latitude: pl.Expr, from_longitude: pl.Expr, to_latitude: pl.Expr, to_longitude: pl.Expr
) -> pl.Expr:
    """Great-circle distance (haversine) of points in degrees, in km; null where a coordinate is."""
    north, east = (to_latitude - from_latitude).radians(), (to_longitude - from_longitude).radians()
    across = from_latitude.radians().cos() * to_latitude.radians().cos()
    half = (north / 2).sin() ** 2 + across * (east / 2).sin() ** 2
    return 2 * EARTH_KM * pl.arctan2(half.sqrt(), (1 - half).clip(lower_bound=0).sqrt())


def cities_sql() -> str:
    """The gazetteer as SQL: rows of city, country, latitude, longitude."""
    quoted = (
        (city.replace("'", "''"), country, latitude, longitude)
        for city, country, latitude, longitude in cities().rows()
    )
    return ", ".join(f"('{city}', '{country}', {lat}::double, {lon}::double)" for city, country, lat, lon in quoted)


def coordinate_sql(axis: str, latitude: str, longitude: str, city: str) -> str:
    """``coordinates`` in SQL; ``city``: a joined row of the gazetteer."""
    given = (
        f"{latitude} between -90 and 90 and {longitude} between -180 and 180 and ({latitude} <> 0 or {longitude} <> 0)"
    )
    own = latitude if axis == "latitude" else longitude
    return f"case when {given} then {own} else {city}.{axis} end"


def same_city_sql(row: str, city: str, country: str) -> str:
    """What joins a row of the gazetteer with a city and a country."""
    return f"{row}.country = {country} and {row}.city = {folded_sql(city)}"


def distance_sql(from_latitude: str, from_longitude: str, to_latitude: str, to_longitude: str) -> str:
    """``distance_km`` in SQL."""
    half = (
        f"sin(radians({to_latitude} - {from_latitude}) / 2) ** 2 + cos(radians({from_latitude})) * "
        f"cos(radians({to_latitude})) * sin(radians({to_longitude} - {from_longitude}) / 2) ** 2"
    )
    return f"2 * {EARTH_KM} * atan2(sqrt({half}), sqrt(greatest(1 - ({half}), 0)))"
