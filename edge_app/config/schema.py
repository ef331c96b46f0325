"""What a box can be told, as typed models; every key has its meaning, unit and default beside it.

`edge_app.config.load` reads YAML into these. They hold values and checks only: nothing here opens a
camera or a file, and nothing else in the program reads a configuration file.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_app.config.base import SPARKPLUG_PATTERN, Name, Positive, Section, Share, refuse_twins
from edge_app.config.places import (
    CardsConfig,
    PortalConfig,
    PresenceConfig,
    ZoneConfig,
    refuse_contradictions,
)

__all__ = ["CameraConfig", "Config", "PortalConfig"]

Port = Annotated[int, Field(ge=1, le=65535)]
#: Part of a Sparkplug topic: no separator, no wildcard, no control character.
SparkplugId = Annotated[str, Field(pattern=SPARKPLUG_PATTERN)]


class Box(Section):
    """Which box this is; both names stand in every topic."""

    site: Name = Field(description="the mine, as the SCADA calls it")
    node: Name = Field(description="this box; unique in the mine")


class FileSource(Section):
    """A video file, played like a camera or frame by frame."""

    kind: Literal["file"]
    path: Path = Field(description="video file (anything FFmpeg reads)")
    pace: Literal["realtime", "every_frame"] = Field(
        default="realtime", description="realtime drops frames as a camera would; every_frame does not"
    )
    loop: bool = Field(default=False, description="start again at the end")


class FolderSource(Section):
    """A folder of pictures, in the order of their names."""

    kind: Literal["folder"]
    path: Path = Field(description="folder of .jpg, .png or .webp pictures")
    fps: Positive = Field(default=5.0, description="pictures a second")
    pace: Literal["realtime", "every_frame"] = Field(default="every_frame", description="as for a file")
    loop: bool = Field(default=False, description="start again at the end")


class V4l2Source(Section):
    """A USB or other V4L2 camera."""

    kind: Literal["v4l2"]
    device: str = Field(default="/dev/video0", description="device path; /dev/v4l/by-id/... is stable")
    width: Annotated[int, Field(ge=16, le=7680)] = Field(default=1280, description="pixels asked for")
    height: Annotated[int, Field(ge=16, le=4320)] = Field(default=720, description="pixels asked for")
    fps: Positive = Field(default=15.0, description="frames a second asked of the camera")
    exposure: Positive | None = Field(
        default=None, description="kept by the camera, in its own unit (V4L2: 100 us); null: automatic"
    )


class RtspSource(Section):
    """A network camera."""

    kind: Literal["rtsp"]
    url: Annotated[str, Field(pattern=r"^rtsps?://")] = Field(description="rtsp://[user:password@]host/path")
    transport: Literal["tcp", "udp"] = Field(default="tcp", description="tcp survives a bad link better")


class GstreamerSource(Section):
    """A GStreamer pipeline that ends in an appsink; only where OpenCV was built with GStreamer."""

    kind: Literal["gstreamer"]
    pipeline: str = Field(description="gst-launch text ending in: appsink drop=1 max-buffers=1")


Source = Annotated[
    FileSource | FolderSource | V4l2Source | RtspSource | GstreamerSource, Field(discriminator="kind")
]


class CameraConfig(Section):
    """One camera and the zone it watches."""

    name: Name = Field(description="unique on this box")
    zone: Name = Field(description="where a person is when this camera sees them")
    source: Source
    blind_after_s: Positive = Field(default=10.0, description="seconds without a picture: blind")
    view: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="raise it when the camera was hung or pointed anew: it learns anew what it sees",
    )
    portals: tuple[PortalConfig, ...] = Field(default=(), description="ways in and out within its picture")

    @model_validator(mode="after")
    def _portals_do_not_contradict(self) -> CameraConfig:
        refuse_twins(f"portals of camera {self.name}", [portal.name for portal in self.portals])
        refuse_contradictions(self.name, self.zone, self.portals)
        return self


class DetectorConfig(Section):
    """The face detector."""

    kind: Literal["centerface", "dustface", "yunet"] = "centerface"
    model: Path = Field(
        default=Path("models/centerface.json"),
        description="centerface, dustface: its manifest (.json); yunet: the .onnx file that you supply",
    )
    dust_model: Path | None = Field(
        default=Path("models/dustface.json"),
        description="manifest of the dust detector that adds faces under ash; null: none. "
        "Not used beside kind dustface, which is that detector alone",
    )
    long_side: Annotated[int, Field(ge=64, le=4096)] = Field(
        default=640, description="frames are scaled down to this many pixels before detection"
    )
    score: Share | None = Field(
        default=None, description="a detection below this is no face; null takes the detector's own"
    )
    follow: Share | None = Field(
        default=None,
        description="a weaker detection, down to this, may continue a track where it is expected; null: own",
    )

    @property
    def beside(self) -> Path | None:
        """The dust detector that looks beside the configured one; None where there is none, or it is that."""
        return None if self.kind == "dustface" else self.dust_model


class RecogniserConfig(Section):
    """The face recogniser."""

    model: Path = Field(default=Path("models/dsr_inception.json"), description="manifest of the model")
    threshold: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        default=None, description="cosine similarity to be named; null takes the manifest's measured one"
    )


class EnginesConfig(Section):
    """Engines for a GPU; without one in use the recogniser runs on the CPU (docs/engine.md)."""

    folder: Path = Field(default=Path("state/engines"), description="the engines, and which is in use")
    box_key: Path = Field(
        default=Path("state/engine.pub"), description="public key of this box: signs what was built here"
    )
    operator_key: Path | None = Field(
        default=None, description="public key of whoever may send engines to this box"
    )
    rebuild: bool = Field(
        default=False, description="ask dsr-edge-build.service for a new one when it cannot be used any more"
    )


class QualityConfig(Section):
    """What a face must be to be recognised."""

    min_face_px: Positive = Field(default=40.0, description="shorter side of the face, pixels")
    max_yaw_deg: Positive = Field(default=60.0, description="turned further away than this: not used")


class DecideConfig(Section):
    """How views of one track become one decision."""

    margin: Share = Field(default=0.05, description="lead in similarity over the second best person")
    min_views: Annotated[int, Field(ge=1, le=100)] = Field(default=3, description="views before any decision")
    reembed_ms: Annotated[int, Field(ge=0)] = Field(
        default=400, description="a decided track is looked at again after this long"
    )


class GalleryConfig(Section):
    """The register of people."""

    path: Path = Field(default=Path("state/people.db"), description="one file, mode 0600")
    keep_crops: bool = Field(
        default=True, description="keep aligned crops, so that a new model can re-embed everybody"
    )
    bundles: Path = Field(
        default=Path("state/bundles"), description="folder of bundles that a command may have taken over"
    )
    bundle_key: Path | None = Field(
        default=None, description="the mine's key for bundles: 32 bytes as 64 hex digits; mode 0600"
    )


class TlsConfig(Section):
    """TLS towards the broker."""

    ca_file: Path | None = Field(default=None, description="authority that signed the broker's certificate")
    cert_file: Path | None = Field(default=None, description="this box's certificate")
    key_file: Path | None = Field(default=None, description="its private key, mode 0600")
    check_dates: Literal["always", "when_synchronised"] = Field(
        default="always", description="when_synchronised: a box without a clock still connects; see security"
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> TlsConfig:
        if (self.cert_file is None) != (self.key_file is None):
            msg = "cert_file and key_file go together; give both, or neither"
            raise ValueError(msg)
        return self


class BrokerConfig(Section):
    """One MQTT 5 broker."""

    host: Annotated[str, Field(min_length=1)]
    port: Port = 1883
    username: str | None = None
    password_file: Path | None = Field(default=None, description="first line is the password; mode 0600")
    tls: TlsConfig | None = None

    @model_validator(mode="after")
    def _password_needs_user(self) -> BrokerConfig:
        if self.password_file is not None and self.username is None:
            msg = "password_file is given without username; give both"
            raise ValueError(msg)
        return self


class ConsumerConfig(Section):
    """Somebody who receipts events; a required one keeps them in the outbox until it has."""

    id: Name
    required: bool = True
    key_file: Path = Field(description="its key for receipts: 32 bytes as 64 hex digits; mode 0600")


class DeliveryConfig(Section):
    """The outbox and the way to the mine's brokers."""

    outbox: Path = Field(default=Path("state/outbox.db"), description="the store of events")
    max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=1024, description="bound of it, MB")
    max_rows: Annotated[int, Field(ge=1)] = Field(default=5_000_000, description="bound of it, events")
    max_days: Positive | None = Field(
        default=None, description="older events are given up, while the clock is synchronised; null: never"
    )
    brokers: tuple[BrokerConfig, ...] = Field(min_length=1, description="tried in this order")
    consumers: tuple[ConsumerConfig, ...] = Field(
        default=(), description="without a required one, the guarantee ends at the broker"
    )
    history_per_s: Positive = Field(default=500.0, description="events a second when catching up")


class SparkplugConfig(Section):
    """The Sparkplug B plane; without a group it is off."""

    group_id: SparkplugId | None = Field(
        default=None, description="group of the edge node; null switches Sparkplug off"
    )
    primary_host: SparkplugId | None = Field(
        default=None, description="host without which the node stays silent; null: it waits for nobody"
    )
    send_datatype: bool = Field(
        default=True, description="say the data type in every message; some hosts read nothing without"
    )
    brokers: tuple[BrokerConfig, ...] = Field(
        default=(), description="tried in this order; none takes those of delivery"
    )


class CommandKeyConfig(Section):
    """Somebody who may give signed commands."""

    name: Name = Field(description="whose key it is, for events")
    public_file: Path = Field(description="the public key, PEM")


class CommandsConfig(Section):
    """Signed commands; without a key, none is listened to."""

    keys: tuple[CommandKeyConfig, ...] = Field(default=(), description="who may give commands")


class WebConfig(Section):
    """A page on the box that shows what it sees; it listens on 127.0.0.1 only."""

    port: Port | None = Field(default=None, description="port of the status page; null switches it off")


class LogConfig(Section):
    """What is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section):
    """The whole file."""

    box: Box
    cameras: tuple[CameraConfig, ...] = Field(min_length=1)
    detector: DetectorConfig = DetectorConfig()
    recogniser: RecogniserConfig = RecogniserConfig()
    engines: EnginesConfig = EnginesConfig()
    quality: QualityConfig = QualityConfig()
    decide: DecideConfig = DecideConfig()
    gallery: GalleryConfig = GalleryConfig()
    presence: PresenceConfig = PresenceConfig()
    cards: CardsConfig = CardsConfig()
    zones: tuple[ZoneConfig, ...] = Field(
        default=(), description="if any is given, cameras and portals may only name these"
    )
    delivery: DeliveryConfig
    sparkplug: SparkplugConfig = SparkplugConfig()
    commands: CommandsConfig = CommandsConfig()
    web: WebConfig = WebConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Config:
        refuse_twins("cameras", [camera.name for camera in self.cameras])
        refuse_twins("commands.keys", [key.name for key in self.commands.keys])
        refuse_twins("delivery.consumers", [consumer.id for consumer in self.delivery.consumers])
        files = {
            "gallery.path": self.gallery.path,
            "presence.ledger": self.presence.ledger,
            "delivery.outbox": self.delivery.outbox,
        }
        for (key, path), (other, same) in combinations(files.items(), 2):
            if path == same:
                msg = f"{key} and {other} are one file, {path}; give each its own"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _zones_are_known(self) -> Config:
        refuse_twins("zones", [zone.name for zone in self.zones])
        known = {zone.name for zone in self.zones}
        refuse_twins("cards.zones", list(self.cards.zones))
        ways = [portal for camera in self.cameras for portal in camera.portals]
        watched = {camera.zone for camera in self.cameras}
        watched |= {zone for portal in ways for zone in (portal.zone, portal.beyond) if zone}
        for zone in self.cards.zones:
            if zone not in (known or watched):
                msg = f"cards.zones names {zone}, which is not among zones: {sorted(known or watched)}"
                raise ValueError(msg)
        for camera in self.cameras:
            portals = [zone for portal in camera.portals for zone in (portal.zone, portal.beyond) if zone]
            for zone in (camera.zone, *portals) if known else ():
                if zone not in known:
                    msg = f"camera {camera.name} names a zone {zone} that is not among zones: {sorted(known)}"
                    raise ValueError(msg)
        return self
