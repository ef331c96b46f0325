"""From the configuration to the parts, for every command that needs them.

The only place that knows both the configuration's sections and the parts' constructors. Everything
heavy is imported when it is built.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from edge_app.config import load_config
from edge_app.errors import SourceError

if TYPE_CHECKING:
    from edge_app.capture.spec import SourceSpec
    from edge_app.config import Config
    from edge_app.config.schema import BrokerConfig, CameraConfig
    from edge_app.delivery.options import BrokerOptions, DeliveryOptions
    from edge_app.embedding.recogniser import Recogniser
    from edge_app.faces.detect import Detector
    from edge_app.faces.quality import QualityLimits
    from edge_app.identity.evidence import VoteOptions
    from edge_app.records import Frame

__all__ = [
    "build_detector",
    "build_recogniser",
    "delivery_options",
    "first_frame",
    "load_config",
    "quality_limits",
    "source_spec",
    "version",
    "vote_options",
]

#: Frames that let a camera set its exposure before one of them is judged.
_SETTLE = 15


def build_detector(config: Config) -> Detector:
    """Open the configured face detector.

    Raises:
        ModelError: its file is missing, altered or does not fit.
    """
    from edge_app.faces.detect import SCORE_THRESHOLD, YUNET_SCORE, CenterFace, YuNet

    options = config.detector
    if options.kind == "yunet":
        score = YUNET_SCORE if options.score is None else options.score
        return YuNet(options.model, long_side=options.long_side, score_threshold=score)
    score = SCORE_THRESHOLD if options.score is None else options.score
    return CenterFace.open(options.model, long_side=options.long_side, score_threshold=score)


def build_recogniser(config: Config) -> Recogniser:
    """Open the configured recogniser.

    Raises:
        ModelError: its file is missing, altered or does not fit.
    """
    from edge_app.embedding.recogniser import Recogniser

    return Recogniser.open(config.recogniser.model)


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
        outbox=OutboxOptions(path=options.outbox, max_mb=options.max_mb),
        brokers=tuple(_broker(broker) for broker in options.brokers),
        consumers=tuple(
            ConsumerOptions(id=one.id, required=one.required, key_file=one.key_file)
            for one in options.consumers
        ),
        history_per_s=options.history_per_s,
        version=version(),
    )


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
            kind="v4l2", location=source.device, width=source.width, height=source.height, fps=source.fps
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
