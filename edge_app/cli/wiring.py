"""From the configuration to the parts, for every command that needs them.

The only place that knows both the configuration's sections and the parts' constructors. Everything
heavy is imported when it is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_app.config import load_config

if TYPE_CHECKING:
    from edge_app.config import Config
    from edge_app.config.schema import BrokerConfig, CameraConfig
    from edge_app.delivery.options import BrokerOptions, DeliveryOptions
    from edge_app.embedding.recogniser import Recogniser
    from edge_app.faces.detect import Detector

__all__ = ["build_detector", "build_recogniser", "delivery_options", "load_config"]


def build_detector(config: Config) -> Detector:
    """Open the configured face detector.

    Raises:
        ModelError: its file is missing, altered or does not fit.
    """
    from edge_app.faces.detect import CenterFace, YuNet

    options = config.detector
    score = {} if options.score is None else {"score_threshold": options.score}
    if options.kind == "yunet":
        return YuNet(options.model, long_side=options.long_side, **score)
    return CenterFace.open(options.model, long_side=options.long_side, **score)


def build_recogniser(config: Config) -> Recogniser:
    """Open the configured recogniser.

    Raises:
        ModelError: its file is missing, altered or does not fit.
    """
    from edge_app.embedding.recogniser import Recogniser

    return Recogniser.open(config.recogniser.model)
