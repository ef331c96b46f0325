"""From the configuration to the parts, for every command that needs them.

The only place that knows both the configuration's sections and the parts' constructors. Everything
heavy is imported when it is built.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

import structlog

from edge_app.config import load_config
from edge_app.errors import ModelError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_app.capture.spec import SourceSpec
    from edge_app.clock import Clock
    from edge_app.commands.keys import CommandKey
    from edge_app.config import Config
    from edge_app.config.schema import BrokerConfig, CameraConfig, PortalConfig
    from edge_app.delivery.options import BrokerOptions, DeliveryOptions
    from edge_app.embedding.opening import Fallback, Opening
    from edge_app.embedding.recogniser import Recogniser
    from edge_app.engines.store import EngineStore
    from edge_app.faces.detect import Detector
    from edge_app.faces.pair import Scale
    from edge_app.faces.quality import QualityLimits
    from edge_app.faces.track import TrackLimits
    from edge_app.identity.evidence import VoteOptions
    from edge_app.presence.cards import CardRules
    from edge_app.presence.keeper import Presence
    from edge_app.presence.portals import Portal
    from edge_app.records import Frame
    from edge_app.sparkplug.options import SparkplugOptions

__all__ = [
    "ask_for_rebuild",
    "build_detector",
    "build_recogniser",
    "card_rules",
    "command_keys",
    "delivery_options",
    "engine_store",
    "first_frame",
    "load_config",
    "open_recogniser",
    "portals",
    "presence",
    "quality_limits",
    "source_spec",
    "sparkplug_options",
    "track_limits",
    "version",
    "vote_options",
]

_log = structlog.get_logger(__name__)
#: Frames that let a camera set its exposure before one of them is judged.
_SETTLE = 15


def build_detector(config: Config, *, tracked: bool = False) -> Detector:
    """Open the configured face detector.

    Args:
        config: the configuration.
        tracked: its faces go to a tracker: let it give the detections as well that may only continue a track
            (`track_limits`), and what the dust detector adds, where one is configured.

    Raises:
        ModelError: a file is missing, altered or does not fit.
    """
    from edge_app.faces.dustface import DustFace
    from edge_app.faces.pair import DUST_SCALE, PairDetector

    options, scale = config.detector, _detector_scale(config)
    first = _first_detector(config, min(scale) if tracked else scale.begins)
    if options.beside is None or not tracked:
        return first
    try:
        second = DustFace.open(
            options.beside, long_side=options.long_side, score_threshold=DUST_SCALE.follows
        )
    except ModelError:
        first.close()
        raise
    return PairDetector(first, second, scale=scale, second_scale=DUST_SCALE)


def _first_detector(config: Config, least: float) -> Detector:
    """Open the detector of the configured kind, for all that scores `least` or more."""
    from edge_app.faces.detect import CenterFace, YuNet
    from edge_app.faces.dustface import DustFace

    options = config.detector
    if options.kind == "yunet":
        return YuNet(options.model, long_side=options.long_side, score_threshold=least)
    kind = DustFace if options.kind == "dustface" else CenterFace
    return kind.open(options.model, long_side=options.long_side, score_threshold=least)


def track_limits(config: Config) -> TrackLimits:
    """Return how tracks begin and go on with the configured detector."""
    from edge_app.faces.track import TrackLimits

    return TrackLimits(min_score_new=_detector_scale(config).begins)


def _detector_scale(config: Config) -> Scale:
    """Return what a detection must score to be a face, and to continue a track."""
    from edge_app.faces.detect import YUNET_FOLLOW, YUNET_SCORE
    from edge_app.faces.dustface import DUSTFACE_FOLLOW, DUSTFACE_SCORE
    from edge_app.faces.pair import CENTERFACE_SCALE, Scale

    own = {
        "centerface": CENTERFACE_SCALE,
        "yunet": Scale(YUNET_SCORE, YUNET_FOLLOW),
        "dustface": Scale(DUSTFACE_SCORE, DUSTFACE_FOLLOW),
    }
    score, follow = own[config.detector.kind]
    if config.detector.score is not None:
        score, follow = config.detector.score, min(follow, config.detector.score)
    return Scale(score, follow if config.detector.follow is None else config.detector.follow)


def build_recogniser(config: Config) -> Recogniser:
    """Open the configured recogniser in FP32 on the CPU: what registers people, beside a daemon or not.

    Raises:
        ModelError: its file is missing, altered or does not fit.
    """
    from edge_app.embedding.recogniser import Recogniser

    return Recogniser.open(config.recogniser.model)


def engine_store(config: Config) -> EngineStore:
    """Return the box's engines for a GPU; those of a key that is not there are not trusted."""
    from edge_app.engines.signing import TrustedKey
    from edge_app.engines.store import EngineStore

    engines = config.engines
    keys = (("box", engines.box_key), ("operator", engines.operator_key))
    trusted = tuple(TrustedKey(whose, path) for whose, path in keys if path is not None and path.exists())
    return EngineStore(engines.folder, trusted=trusted)


def open_recogniser(
    config: Config, store: EngineStore | None = None, *, without: tuple[str, ...] = ()
) -> Opening:
    """Open the configured recogniser on the best engine there is: what the daemon runs.

    Raises:
        ModelError: its file is missing, altered or does not fit, or nothing can run it.
    """
    from edge_app.embedding import opening

    return opening.open_recogniser(config.recogniser.model, store=store, without=without)


def ask_for_rebuild(config: Config, passed: Fallback) -> bool:
    """Ask for the stored engine that was passed over to be built again, where that is allowed."""
    from edge_app.engines import rebuild

    engines = config.engines
    if not engines.rebuild or passed.backend not in engine_store(config).ids():
        return False
    try:
        return rebuild.ask(engines.folder, rebuild.Request(engine=passed.backend, reason=passed.reason))
    except ModelError as error:
        _log.warning("rebuild_not_asked_for", error=error.what, fix=error.fix)
        return False


def delivery_options(config: Config) -> DeliveryOptions:
    """Return what delivery is told.

    Raises:
        ConfigError: a combination that the outbox or the link refuses.
    """
    from edge_app.delivery.options import ConsumerOptions, DeliveryOptions, OutboxOptions

    options = config.delivery
    return DeliveryOptions(
        site=config.box.site,
        node=config.box.node,
        outbox=OutboxOptions(
            path=options.outbox, max_mb=options.max_mb, max_rows=options.max_rows, max_days=options.max_days
        ),
        brokers=tuple(_broker(broker) for broker in options.brokers),
        consumers=tuple(
            ConsumerOptions(id=one.id, required=one.required, key_file=one.key_file)
            for one in options.consumers
        ),
        history_per_s=options.history_per_s,
        version=version(),
    )


def sparkplug_options(config: Config) -> SparkplugOptions | None:
    """Return what the Sparkplug plane is told, None if it is switched off.

    Raises:
        ConfigError: an id that Sparkplug forbids.
    """
    from edge_app.sparkplug.options import SparkplugOptions

    options = config.sparkplug
    if options.group_id is None:
        return None
    return SparkplugOptions(
        group_id=options.group_id,
        node=config.box.node,
        cameras=tuple((camera.name, camera.zone) for camera in config.cameras),
        brokers=tuple(_broker(broker) for broker in options.brokers or config.delivery.brokers),
        bdseq=config.delivery.outbox.with_name("sparkplug.bdseq"),
        primary_host=options.primary_host,
        send_datatype=options.send_datatype,
    )


def command_keys(config: Config) -> tuple[CommandKey, ...]:
    """Return who may give commands.

    Raises:
        ConfigError: a key cannot be read, or the library that checks signatures is missing.
    """
    from edge_app.commands.keys import read_public

    return tuple(read_public(key.public_file, name=key.name) for key in config.commands.keys)


def version() -> str:
    """Return the installed version of dsr-edge, ``0`` where it runs from a bare checkout."""
    try:
        return metadata.version("dsr-edge")
    except metadata.PackageNotFoundError:
        return "0"


def _broker(broker: BrokerConfig) -> BrokerOptions:
    from edge_app.delivery.options import BrokerOptions, CheckDates, TlsOptions

    tls = broker.tls
    return BrokerOptions(
        host=broker.host,
        port=broker.port,
        username=broker.username,
        password_file=broker.password_file,
        tls=None
        if tls is None
        else TlsOptions(
            ca_file=tls.ca_file,
            cert_file=tls.cert_file,
            key_file=tls.key_file,
            check_dates=CheckDates(tls.check_dates),
        ),
    )


def quality_limits(config: Config) -> QualityLimits:
    """Return from where on a face is not used."""
    from edge_app.faces.quality import QualityLimits

    return QualityLimits(min_face_px=config.quality.min_face_px, max_yaw_deg=config.quality.max_yaw_deg)


def vote_options(config: Config) -> VoteOptions:
    """Return how views become a decision."""
    from edge_app.identity.evidence import VoteOptions

    decide = config.decide
    return VoteOptions.for_views(decide.min_views, margin=decide.margin, reembed_ms=decide.reembed_ms)


def portals(config: Config) -> dict[str, tuple[Portal, ...]]:
    """Return the portals of each camera that has some."""
    return {
        camera.name: tuple(_portal(camera, portal) for portal in camera.portals)
        for camera in config.cameras
        if camera.portals
    }


def _portal(camera: CameraConfig, portal: PortalConfig) -> Portal:
    from edge_app.presence.portals import Portal

    zone = portal.zone or camera.zone
    around = camera.zone if portal.area is not None and zone != camera.zone else None
    return Portal(
        name=portal.name,
        zone=zone,
        beyond=portal.beyond or around,
        line=portal.line,
        inside=portal.inside,
        area=portal.area,
    )


def presence(config: Config, *, boot: str, clock: Clock, standing_alarms: Iterable[str]) -> Presence:
    """Return the presence stage, with what the last run left in the ledger's file."""
    from edge_app.presence.alarms import ZoneRules
    from edge_app.presence.keeper import Presence
    from edge_app.presence.muster import Muster
    from edge_app.presence.shifts import Shifts
    from edge_app.presence.store import LedgerFile

    options = config.presence
    file = LedgerFile(path=options.ledger, boot=boot, clock=clock)
    kept, standing = file.load(), tuple(standing_alarms)
    muster = Muster(
        zones={camera.name: camera.zone for camera in config.cameras},
        portals=portals(config),
        rules={
            zone.name: ZoneRules(limit=zone.limit, delay_s=zone.limit_delay_s, max_stay_s=zone.max_stay_s)
            for zone in config.zones
        },
        away_s=options.absent_after_s,
        forget_unknown_s=options.forget_unknown_s,
        reidentify_s=options.reidentify_s,
        forget_person_s=options.forget_person_s,
        standing_alarms=standing,
        shifts=Shifts(begins=options.shifts, utc_offset_min=options.utc_offset_min, last_ms=kept.shift_ms),
        cards=card_rules(config),
        blind_after_s={camera.name: camera.blind_after_s for camera in config.cameras},
        sure_score=track_limits(config).min_score_new,
        now_ns=clock.mono_ns(),
        kept=kept,
    )
    return Presence(
        muster=muster,
        file=file,
        ledger=options.ledger,
        clock=clock,
        muster_every_s=options.muster_every_s,
        standing_alarms=standing,
    )


def card_rules(config: Config) -> CardRules | None:
    """Return how positioning cards are compared with faces, None if none are read."""
    from edge_app.presence.cards import CardRules

    if not config.cards.listen:
        return None
    options = config.cards.model_dump(exclude={"listen", "zones"})
    return CardRules(zones=frozenset(config.cards.zones), **options)


def source_spec(camera: CameraConfig) -> SourceSpec:
    """Return where a camera's frames come from."""
    from edge_app.capture.spec import SourceSpec

    source = camera.source
    if source.kind == "file":
        return SourceSpec(kind="file", location=str(source.path), pace=source.pace, loop=source.loop)
    if source.kind == "folder":
        return SourceSpec(
            kind="folder", location=str(source.path), pace=source.pace, loop=source.loop, fps=source.fps
        )
    if source.kind == "v4l2":
        return SourceSpec(
            kind="v4l2",
            location=source.device,
            width=source.width,
            height=source.height,
            fps=source.fps,
            exposure=source.exposure,
        )
    if source.kind == "rtsp":
        return SourceSpec(kind="rtsp", location=source.url, transport=source.transport)
    return SourceSpec(kind="gstreamer", location=source.pipeline)


def first_frame(camera: CameraConfig) -> Frame:
    """Open a camera and return a frame of it, after it had a moment to set its exposure.

    Raises:
        SourceError: it cannot be opened, or gives no picture.
    """
    from edge_app.capture.sources import open_source
    from edge_app.records import Frame

    source = open_source(source_spec(camera))
    pixels = None
    try:
        for _ in range(_SETTLE):
            newer = source.read()
            if newer is None:
                break
            pixels = newer
    finally:
        source.close()
    if pixels is None:
        raise SourceError(f"camera {camera.name} gave no picture", fix="see `dsr-edge doctor`")
    return Frame(camera=camera.name, index=source.position - 1, mono_ns=0, pixels=pixels)
