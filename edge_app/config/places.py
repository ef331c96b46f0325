"""The configuration of places and of who is where: portals, zones, the count."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from edge_app.config import plane
from edge_app.config.base import Name, Positive, Section, Spot

if TYPE_CHECKING:
    from collections.abc import Sequence


class PortalConfig(Section):
    """A way in and out within a camera's picture: a line, or an area. Points are shares of the picture."""

    name: Name = Field(description="unique on its camera")
    line: tuple[Spot, Spot] | None = Field(
        default=None, description="two points; who crosses between them goes in or out"
    )
    inside: Spot | None = Field(default=None, description="a point on the side of the line that is `zone`")
    area: Annotated[tuple[Spot, ...], Field(min_length=3)] | None = Field(
        default=None, description="the corners of an area that is `zone`"
    )
    zone: Name | None = Field(default=None, description="the zone inside; null is the camera's")
    beyond: Name | None = Field(
        default=None,
        description="the zone on the other side; null is outside of all (around an area: the camera's zone)",
    )

    @model_validator(mode="after")
    def _is_a_way(self) -> PortalConfig:
        if (self.line is None) == (self.area is None):
            msg = "give a line or an area, and not both"
            raise ValueError(msg)
        if self.line is not None:
            self._check_line(self.line)
        elif self.inside is not None:
            msg = "a point inside goes with a line; an area is its own inside"
            raise ValueError(msg)
        if self.area is not None:
            self._check_area(self.area)
        return self

    def _check_line(self, line: tuple[Spot, Spot]) -> None:
        if plane.length(*line) < plane.TINY:
            msg = f"the line from {line[0]} to {line[1]} has no length; give two points that are apart"
            raise ValueError(msg)
        if self.inside is None:
            msg = "a line needs `inside`: a point on the side that is the zone"
            raise ValueError(msg)
        if abs(plane.distance_to_line(*line, self.inside)) < plane.TINY:
            msg = f"the point inside, {self.inside}, lies on the line; give one that is surely on one side"
            raise ValueError(msg)

    def _check_area(self, area: tuple[Spot, ...]) -> None:
        if plane.sides_cross(area):
            msg = f"the sides of the area {area} cross; give its corners in the order around it"
            raise ValueError(msg)
        if plane.area_of(area) < plane.TINY:
            msg = f"the area {area} is empty; give corners that are apart"
            raise ValueError(msg)


def refuse_contradictions(camera: str, camera_zone: str, portals: Sequence[PortalConfig]) -> None:
    """Refuse portals of one camera between which nobody can say where one is.

    Raises:
        ValueError: one leads from a zone to itself, or two share a part of the picture that they must not.
    """
    for portal in portals:
        zone = portal.zone or camera_zone
        if portal.beyond == zone:
            msg = f"portal {portal.name} leads from {zone} to {zone}; give another `beyond`, or none"
            raise ValueError(msg)
        if portal.area is not None and zone == camera_zone and portal.beyond is None:
            msg = (
                f"the area {portal.name} is the camera's own zone, {zone}, and so is what lies around it;"
                " give the area a `zone`, or say in `beyond` what is around it"
            )
            raise ValueError(msg)
    for one, two in combinations(portals, 2):
        if (wrong := _contradiction(one, two)) is not None:
            msg = wrong.format(one=one.name, two=two.name, camera=camera)
            raise ValueError(msg)


def _contradiction(one: PortalConfig, two: PortalConfig) -> str | None:
    """Return what is wrong with two portals of one picture, None if nothing is."""
    if one.line is not None and two.line is not None:
        if plane.properly_cross(*one.line, *two.line):
            return (
                "the lines {one} and {two} of camera {camera} cross:"
                " where they do nobody can say where one is; give lines that do not"
            )
        if plane.run_along(*one.line, *two.line):
            return (
                "the lines {one} and {two} of camera {camera} are one line for a part of their length:"
                " nobody can say through which one goes; give lines that are apart"
            )
    elif one.area is not None and two.area is not None:
        if plane.areas_overlap(one.area, two.area):
            return (
                "the areas {one} and {two} of camera {camera} overlap:"
                " nobody can be in two zones; give areas that do not"
            )
    elif _line_enters(one, two) or _line_enters(two, one):
        return (
            "a line goes through an area, {one} and {two} of camera {camera}:"
            " within it nobody can say on which side one is; give a line that ends at the area"
        )
    return None


def _line_enters(way: PortalConfig, room: PortalConfig) -> bool:
    return way.line is not None and room.area is not None and plane.line_enters(*way.line, room.area)


class ZoneConfig(Section):
    """What a zone allows."""

    name: Name = Field(description="as cameras and portals name it")
    limit: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="more people at once are an alarm; null is no limit"
    )
    limit_delay_s: Annotated[float, Field(ge=0)] = Field(
        default=10.0, description="seconds until too many are an alarm, and until it is over"
    )
    max_stay_s: Positive | None = Field(
        default=None, description="seconds; who stays longer is an alarm; null is no limit"
    )


class PresenceConfig(Section):
    """Who was last seen where."""

    ledger: Path = Field(default=Path("state/presence.json"), description="keeps the count over restarts")
    absent_after_s: Positive = Field(default=120.0, description="seen again after this long: a new sighting")
    muster_every_s: Positive = Field(default=60.0, description="seconds between muster snapshots")
    forget_unknown_s: Positive = Field(
        default=30.0,
        description="seconds after the last sight for which a stranger counts who "
        "did not come in through a portal",
    )
    reidentify_s: Positive = Field(
        default=600.0, description="seconds for which a stranger is remembered, so as not to count twice"
    )
    forget_person_s: Positive = Field(
        default=86400.0,
        description="seconds unseen for which somebody counts; time in which nobody could see them apart",
    )
    shifts: tuple[Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")], ...] = Field(
        default=(), description="local times at which shifts begin; who was not seen in a whole one expires"
    )
    utc_offset_min: Annotated[int, Field(ge=-840, le=840)] = Field(
        default=0, description="minutes by which local time is ahead of UTC"
    )


class CardsConfig(Section):
    """Positioning cards beside faces: whether each person carries their own card, and only that one."""

    listen: bool = Field(default=False, description="take card readings from the box's topic `card`")
    zones: tuple[Name, ...] = Field(default=(), description="where cards are read; none: in all zones")
    face_within_s: Positive = Field(
        default=30.0, description="seconds in a zone within which a card's owner must be seen"
    )
    card_within_s: Positive = Field(
        default=30.0, description="seconds in view within which a face's card must be read"
    )
    apart_s: Positive = Field(
        default=15.0, description="face and card, or two cards, this far apart in time still came together"
    )
    stale_after_s: Positive = Field(
        default=60.0, description="seconds after its last reading for which a card is there"
    )
    silent_after_s: Positive = Field(
        default=120.0, description="seconds without any message: readings are missing, nothing is compared"
    )
