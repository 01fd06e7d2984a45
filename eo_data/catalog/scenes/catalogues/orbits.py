"""Ascending and descending passes of radar, which see slopes from two sides and are not to be mixed."""

from __future__ import annotations

from typing import Literal, get_args

from eo_data.catalog.scenes.scene import Scene

Orbit = Literal["ascending", "descending"]
ORBITS: tuple[Orbit, ...] = get_args(Orbit)


def of_one_orbit(scenes: list[Scene], orbit: Orbit | None) -> list[Scene]:
    """Leave out radar scenes of the other passes; other scenes stay.

    Parameters
    ----------
    scenes : list of Scene
        The ``kind`` of those of radar ends on their orbit.
    orbit : {'ascending', 'descending'}, optional
        Which count. By default those of which there are the most days; of as many, the ascending ones.
    """
    of_orbit = {name: [own for own in scenes if own.kind.endswith(f" {name}")] for name in ORBITS}
    days = {name: len({own.day for own in found}) for name, found in of_orbit.items()}
    most = max(days, key=days.__getitem__)
    kept = orbit or most
    other = {own.id for name, found in of_orbit.items() if name != kept for own in found}
    return [own for own in scenes if own.id not in other]
