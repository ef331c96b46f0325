"""``dsr-engine rebuild``: what the daemon asked for, built, signed and taken into use, in a unit of its own.

The request names the engine that could not be used; its manifest says for whom it was built and in what,
and nothing else of it is believed: what is built comes from the configured model and the graphs beside it,
always anew, so that nothing is signed that was not built here just now. It is taken into use as by hand
(``dsr-edge engine activate --sign``): opened, held against the golden embeddings, everybody embedded with
it; the running daemon then tries it in the shadow of what it works with.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from build_engine.build import BuildOptions, build_engine
from build_engine.trt_api import TENSORRT, TENSORRT_RTX, Toolkit
from edge_app.cli.engine import private_key, take_into_use
from edge_app.engines import rebuild as requests
from edge_app.engines.signing import sign
from edge_app.errors import DsrError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.config import Config

_PRECISIONS: Final = ("int8", "fp16", "fp32")
_MOST_FACES: Final = 64


def rebuild(config: Config, *, say: Callable[[str], None]) -> requests.Outcome | None:
    """Do what the last request asks for and leave the outcome; None where nothing was asked.

    Raises:
        DsrError: it could not be built or not be taken into use; the outcome says so as well.
    """
    folder = config.engines.folder
    asked = requests.take(folder)
    if asked is None:
        return None
    say(f"asked to build {asked.engine} again: {asked.reason}")
    built: str | None = None
    try:
        built = _build(config, asked, say=say)
        photos = take_into_use(config, built)
        said = f"built, signed and taken into use; {photos} photos embedded with it"
        outcome = requests.Outcome(asked, built=built, in_use=True, said=said)
    except DsrError as error:
        requests.note(folder, requests.Outcome(asked, built=built, in_use=False, said=error.what))
        raise
    requests.note(folder, outcome)
    return outcome


def _build(config: Config, asked: requests.Request, *, say: Callable[[str], None]) -> str:
    """Build the engine and sign it; returns its id.

    Raises:
        ModelError: there is no key to sign with, or it cannot be built.
    """
    key = private_key(config)
    if not key.exists():
        raise ModelError(
            f"nothing was built: this box has no key to sign it with ({key})", fix="dsr-edge engine key"
        )
    backend, options = as_before(config, asked.engine)
    result = build_engine(Toolkit(backend), options, say=say)
    sign(result.manifest, key)
    return result.manifest.stem


def as_before(config: Config, engine: str) -> tuple[str, BuildOptions]:
    """Return builder and options that gave `engine`, as far as its manifest can be read and makes sense.

    Raises:
        ModelError: it was built for a DLA, which is calibrated on pictures that a box does not keep.
    """
    found: Any = {}
    if Path(engine).name == engine:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((config.engines.folder / f"{engine}.json").read_bytes())
    record: dict[str, Any] = found if isinstance(found, dict) else {}
    builder: Any = record.get("builder")
    builder = builder if isinstance(builder, dict) else {}
    if record.get("dla_core") is not None:
        raise ModelError(
            f"{engine} was built for a DLA, and that needs the calibration pictures",
            fix="build it by hand: dsr-engine build --dla --calibration MANIFEST --pictures FOLDER",
        )
    backend = builder.get("name")
    backend = backend if backend in (TENSORRT, TENSORRT_RTX) else TENSORRT
    wanted, precision = record.get("precision_wanted"), record.get("precision")
    batch = record.get("max_batch")
    target = builder.get("target") if backend == TENSORRT_RTX else None
    return backend, BuildOptions(
        model=config.recogniser.model,
        out=config.engines.folder,
        precision=wanted if wanted in _PRECISIONS else "int8",
        target=target if isinstance(target, str) else None,
        max_batch=batch if isinstance(batch, int) and 1 <= batch <= _MOST_FACES else 8,
        allow_fp16=wanted == "int8" and precision == "fp16",
        force=True,
    )
