"""``dsr-edge config check|schema|new``: is the file right, what may stand in it, and a first one."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_app.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers

#: The first camera's source in the example: the key, and what is further in than it.
_SOURCE: Final = re.compile(r"^    source:.*\n(?: {6}.*\n)+", re.MULTILINE)


def add_parser(subparsers: SubParsers) -> None:
    """Add ``config`` and its actions."""
    parser = subparsers.add_parser("config", help="check, describe or begin a configuration file")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="say everything that is wrong with a file")
    check.add_argument("file", type=Path, nargs="?", help="the file, as --config gives it")
    check.add_argument("--config", type=Path, help="the file (default: box.yaml)")
    check.set_defaults(run=_check)
    schema = actions.add_parser("schema", help="print every key, its type and meaning, as JSON Schema")
    schema.set_defaults(run=_schema)
    new = actions.add_parser("new", help="write a commented example to start from")
    new.add_argument("--out", type=Path, metavar="FILE", help="the file to write (default: standard output)")
    new.add_argument(
        "--camera", metavar="SOURCE", help="a device, rtsp:// address, video file or folder of pictures"
    )
    new.add_argument("--broker", metavar="HOST[:PORT]", help="the mine's broker")
    new.set_defaults(run=_new)


def _check(args: argparse.Namespace) -> int:
    from edge_app.config import load_config, missing_files

    if args.file is not None and args.config is not None:
        raise ConfigError("two files were given", fix="give one, with --config or without")
    file = args.file or args.config or Path("box.yaml")
    config = load_config(file)
    problems = missing_files(config)
    for problem in problems:
        print(f"  - {problem}", file=sys.stderr)
    if problems:
        raise ConfigError(
            f"{file} is well-formed, but {len(problems)} file(s) it names cannot be read",
            fix="see above",
        )
    cameras = ", ".join(camera.name for camera in config.cameras)
    print(f"{file}: well-formed, and its files are there (cameras: {cameras})")
    print("`dsr-edge doctor` tries the cameras, the models and the broker.")
    return 0


def _schema(_: argparse.Namespace) -> int:
    from edge_app.config import Config

    print(json.dumps(Config.model_json_schema(), indent=2))
    return 0


def _new(args: argparse.Namespace) -> int:
    example = Path(__file__).with_name("box.example.yaml").read_text(encoding="utf-8")
    text = _with_models_found(example, beside=Path() if args.out is None else args.out.parent)
    if args.camera is not None:
        text = _SOURCE.sub(lambda _: f"    source: {json.dumps(_source(args.camera))}\n", text, count=1)
    if args.broker is not None:
        host, port = _address(args.broker)
        text = text.replace("host: 127.0.0.1\n", f"host: {json.dumps(host)}\n", 1)
        text = text.replace("port: 1883\n", f"port: {port}\n", 1)
    if args.out is None:
        print(text, end="")
        return 0
    try:
        with args.out.open("x", encoding="utf-8") as file:  # never over somebody's file
            file.write(text)
    except OSError as error:
        raise ConfigError(f"cannot write {args.out} ({error.strerror})", fix="give another --out") from None
    print(f"wrote {args.out}; edit it, then: dsr-edge config check --config {args.out}")
    return 0


def _source(text: str) -> dict[str, object]:
    """Return the configuration's source for what a person calls a camera."""
    if text.startswith(("rtsp://", "rtsps://")):
        return {"kind": "rtsp", "url": text}
    path = Path(text)
    if path.is_dir():
        return {"kind": "folder", "path": str(path.absolute()), "loop": True}
    if path.is_file():
        return {"kind": "file", "path": str(path.absolute()), "loop": True}
    if text.startswith("/dev/"):
        return {"kind": "v4l2", "device": text}
    raise ConfigError(
        f"--camera {text} is no device, address, file or folder here",
        fix="give /dev/video0, rtsp://HOST/PATH, a video file, or a folder of pictures",
    )


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, 1883
    if not (host and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise ConfigError(
            f"--broker takes HOST or HOST:PORT; received {text!r:.60}", fix="e.g. 10.0.0.5:1883"
        )
    return host, int(port)


def _with_models_found(text: str, *, beside: Path) -> str:
    """Return the example with the models' paths as they are here, unless they stand `beside` the file."""
    checkout = Path(__file__).resolve().parents[2]
    folders = (Path(sys.prefix).parent / "models", checkout / "models", checkout / ".cache" / "models")
    for name in ("centerface.json", "dustface.json", "dsr_inception.json"):
        found = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if found is not None and not (beside / "models" / name).is_file():
            text = text.replace(f"models/{name}", str(found))
    return text
