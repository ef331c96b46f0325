"""``dsr-edge config``: a first file that works, and never over somebody's file."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from edge_app.cli.main import main
from edge_app.config import Config, load_config

ROOT = Path(__file__).resolve().parents[2]


def test_new_writes_a_file_that_loads_and_finds_the_models(tmp_path: Path, centerface: Path) -> None:
    """In a checkout the example points at the models that set-up prepared."""
    out = tmp_path / "box.yaml"
    assert main(["config", "new", "--out", str(out)]) == 0
    config = load_config(out)
    assert ROOT / "models" / "dsr_inception.json" == config.recogniser.model
    assert config.detector.model.is_file()


def test_check_takes_the_file_with_its_option_or_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`config check box.yaml` is what everybody types first."""
    out = tmp_path / "box.yaml"
    out.write_text("box: {}\n", encoding="utf-8")
    for words in ([str(out)], ["--config", str(out)]):
        assert 2 == main(["config", "check", *words])
        assert f"{out} cannot be used" in capsys.readouterr().err
    assert 2 == main(["config", "check", str(out), "--config", str(out)])
    assert "two files were given" in capsys.readouterr().err


def test_new_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A box's configuration is not lost by a slip of the hand."""
    out = tmp_path / "box.yaml"
    out.write_text("mine", encoding="utf-8")
    assert main(["config", "new", "--out", str(out)]) == 2
    assert out.read_text(encoding="utf-8") == "mine"
    assert "give another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("camera", "source"),
    [
        ("rtsp://10.0.0.21/stream1", {"kind": "rtsp", "url": "rtsp://10.0.0.21/stream1"}),
        ("/dev/video7", {"kind": "v4l2", "device": "/dev/video7"}),
        ("clip: #1.mp4", {"kind": "file", "loop": True}),
        ("pictures", {"kind": "folder", "loop": True}),
    ],
    ids=["rtsp", "device", "file", "folder"],
)
def test_new_takes_the_camera_and_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, camera: str, source: dict[str, object]
) -> None:
    """A first configuration needs no editor; also a path with YAML's own characters in it."""
    monkeypatch.chdir(tmp_path)
    Path("clip: #1.mp4").touch()
    Path("pictures").mkdir()
    assert 0 == main(["config", "new", "--out", "box.yaml", "--camera", camera, "--broker", "10.0.0.5:1884"])
    config = load_config(Path("box.yaml"))
    (one,) = config.cameras
    found = one.source.model_dump(mode="json")
    assert source == {key: found[key] for key in source}
    assert "path" not in found or found["path"] == str(tmp_path / camera)
    assert [("10.0.0.5", 1884)] == [(broker.host, broker.port) for broker in config.delivery.brokers]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--camera", "no.mp4"), ("--broker", "host:port"), ("--broker", ":1883"), ("--broker", "h:70000")],
)
def test_new_refuses_what_is_no_camera_or_broker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    """Said at once, with an example, and nothing is written."""
    out = tmp_path / "box.yaml"
    assert 2 == main(["config", "new", "--out", str(out), option, value])
    assert value in capsys.readouterr().err
    assert not out.exists()


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing that support asks."""
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert f"dsr-edge {metadata.version('dsr-edge')}\n" == capsys.readouterr().out


def test_schema_is_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Every section of the file stands in it."""
    assert main(["config", "schema"]) == 0
    assert set(Config.model_fields) == set(json.loads(capsys.readouterr().out)["properties"])


def test_check_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Well-formed, but a recording is not there: exit status 2, and the key."""
    out = tmp_path / "box.yaml"
    out.write_text(
        "box: {site: m, node: b}\ncameras: [{name: c, zone: z, source: {kind: file, path: no.mp4}}]\n"
        "delivery: {brokers: [{host: h}]}\n",
        encoding="utf-8",
    )
    assert main(["config", "check", "--config", str(out)]) == 2
    assert "cameras[0].source.path: cannot read" in capsys.readouterr().err


@pytest.mark.parametrize("show", ["seen.txt", "none/seen.mp4"])
def test_run_refuses_a_video_it_cannot_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], show: str
) -> None:
    """Before anything is opened, not at the first frame."""
    out = tmp_path / "box.yaml"
    main(["config", "new", "--out", str(out)])
    assert main(["run", "--config", str(out), "--show", str(tmp_path / show)]) == 2
    assert "cannot write the video" in capsys.readouterr().err
