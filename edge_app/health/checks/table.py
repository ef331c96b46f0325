"""The doctor's table: what is looked at, in which order, and how long it may take.

How the parts are opened is given from outside (`Openers`), because the doctor is to use the daemon's
own way and this room may not know the command line's wiring.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge_app.health.checks.broker import check_brokers
from edge_app.health.checks.cameras import check_camera
from edge_app.health.checks.certificates import check_certificates
from edge_app.health.checks.machine import check_clock, check_heat, check_service
from edge_app.health.checks.models import check_detector, check_recogniser
from edge_app.health.checks.people import check_people
from edge_app.health.checks.secrets import check_secrets
from edge_app.health.checks.software import check_software
from edge_app.health.checks.storage import check_disk, check_outbox
from edge_app.health.doctor import Check, fail, from_error, ok

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.config import Config
    from edge_app.config.schema import CameraConfig
    from edge_app.delivery.options import DeliveryOptions
    from edge_app.embedding.recogniser import Recogniser
    from edge_app.faces.detect import Detector
    from edge_app.health.doctor import Finding
    from edge_app.records import Frame


@dataclass(frozen=True, slots=True)
class Openers:
    """How the daemon opens its parts: each raises the part's own error."""

    detector: Callable[[Config], Detector]
    recogniser: Callable[[Config], Recogniser]
    delivery: Callable[[Config], DeliveryOptions]
    first_frame: Callable[[CameraConfig], Frame]


def machine_checks(clock: Clock) -> list[Check]:
    """Return the checks that need no configuration."""
    return [
        Check("clock", partial(check_clock, clock)),
        Check("heat", check_heat),
        Check("service", check_service),
    ]


def box_checks(path: Path, config: Config, openers: Openers, clock: Clock) -> list[Check]:
    """Return the checks of a box with a valid configuration, in the order of what builds on what."""
    from edge_app.delivery.lock import is_owned

    daemon_runs = is_owned(config.delivery.outbox)
    return [
        Check("config", partial(check_config, path, config)),
        Check("software", partial(check_software, config)),
        Check("detector", lambda: check_detector(config, lambda: openers.detector(config)), limit_s=60),
        Check("recogniser", lambda: check_recogniser(config, lambda: openers.recogniser(config)), limit_s=60),
        Check("people", partial(check_people, config), limit_s=60),
        *(
            Check(
                f"camera {camera.name}",
                partial(check_camera, camera, openers.first_frame, daemon_runs=daemon_runs),
                limit_s=30,
            )
            for camera in config.cameras
        ),
        Check("disk", partial(check_disk, config)),
        Check("outbox", partial(check_outbox, config)),
        Check("broker", lambda: check_brokers(openers.delivery(config), clock), limit_s=60),
        Check("certificates", partial(check_certificates, config, clock)),
        Check("secrets", partial(check_secrets, path, config)),
        *machine_checks(clock),
    ]


def broken_config_checks(path: Path, error: Exception, clock: Clock) -> list[Check]:
    """Return what can be looked at when the configuration cannot be used."""

    def report() -> Iterable[Finding]:
        return [
            from_error("config", error),
            fail(
                "config",
                f"the rest of {path.name} was not looked at",
                fix="mend the configuration, look again",
            ),
        ]

    return [Check("config", report), *machine_checks(clock)]


def check_config(path: Path, config: Config) -> Iterator[Finding]:
    """Say which box this is, and which of the files that the configuration names are missing."""
    from edge_app.config import missing_files

    cameras = len(config.cameras)
    yield ok("config", f"{path}: {config.box.site}/{config.box.node}, {cameras} camera(s)")
    for problem in missing_files(config):
        yield fail("config", f"{problem.key}: {problem.what}", fix=problem.fix)
