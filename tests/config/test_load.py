"""A configuration is read whole, or every mistake in it is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from edge_app.config import Config, load_config
from edge_app.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "edge_app" / "cli" / "box.example.yaml"

MINIMAL = """\
box: {site: mine-1, node: box-01}
cameras:
  - name: portal
    zone: main
    source: {kind: file, path: clip.mp4}
delivery:
  brokers: [{host: 127.0.0.1}]
"""


def write(folder: Path, text: str) -> Path:
    """Write a configuration file and return its path."""
    file = folder / "box.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def complaint(folder: Path, text: str) -> str:
    """Return what the loader says about `text`."""
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text))
    return str(caught.value)


def test_minimal_file_takes_every_default(tmp_path: Path) -> None:
    """Only the box, a camera and a broker must be given."""
    config = load_config(write(tmp_path, MINIMAL))
    assert config.detector.kind == "centerface"
    assert config.recogniser.threshold is None
    assert config.delivery.brokers[0].port == 1883


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """A box's folder can be moved: nothing depends on the working directory."""
    config = load_config(write(tmp_path, MINIMAL))
    assert config.cameras[0].source.path == tmp_path / "clip.mp4"
    assert config.gallery.path == tmp_path / "state" / "people.db"


def test_absolute_paths_are_kept(tmp_path: Path) -> None:
    """An absolute path means what it says."""
    config = load_config(write(tmp_path, MINIMAL.replace("clip.mp4", "/srv/clip.mp4")))
    assert Path("/srv/clip.mp4") == config.cameras[0].source.path


def test_the_example_is_valid_and_names_every_section() -> None:
    """`dsr-edge config new` writes a file that the loader takes, with every section in it."""
    config = load_config(EXAMPLE)
    assert config.cameras[0].source.kind == "v4l2"
    assert set(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))) == set(Config.model_fields)


def test_the_example_shows_the_defaults() -> None:
    """What the example shows for an optional key is its default, so that deleting it changes nothing."""
    shown = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    for section in ("detector", "recogniser", "quality", "decide", "gallery", "presence", "log"):
        default = Config.model_fields[section].default.model_dump(mode="json")
        assert default == shown[section]


def test_the_outboxs_three_bounds_are_those_of_the_file(tmp_path: Path) -> None:
    """Bytes, rows and days reach the outbox; what is not said is what it is shipped with."""
    from edge_app.delivery.options import OutboxOptions
    from edge_app.wiring import delivery_options

    def bounds(text: str) -> tuple[int, int, float | None]:
        outbox = delivery_options(load_config(write(tmp_path, text))).outbox
        return outbox.max_mb, outbox.max_rows, outbox.max_days

    shipped = OutboxOptions(path=tmp_path)
    assert (shipped.max_mb, shipped.max_rows, shipped.max_days) == bounds(MINIMAL)
    document = yaml.safe_load(MINIMAL)
    document["delivery"] |= {"max_mb": 7, "max_rows": 800, "max_days": 2.5}
    assert (7, 800, 2.5) == bounds(yaml.safe_dump(document))


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1.0e+300"])
def test_numbers_without_an_end_are_refused(tmp_path: Path, number: str) -> None:
    """YAML has them; a number of seconds that is none ends the daemon at its start."""
    said = complaint(tmp_path, f"{MINIMAL}presence: {{muster_every_s: {number}}}\n")
    assert "presence.muster_every_s (line 8): received" in said


def test_all_mistakes_are_named_at_once_with_their_lines(tmp_path: Path) -> None:
    """Three mistakes take one round, not three."""
    text = MINIMAL.replace("site: mine-1", "site: mine 1") + "camras: 3\nrecogniser: {threshold: high}\n"
    message = complaint(tmp_path, text)
    assert "box.site (line 1): received 'mine 1'; use 1 to 32 letters, digits, _ or -" in message
    assert "camras (line 8): no such key; did you mean cameras?" in message
    assert "recogniser.threshold (line 9): received 'high'" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("path: clip.mp4", "pth: clip.mp4"),
            "cameras[0].source.pth (line 5): no such key; did you mean path?",
        ),
        (("path: clip.mp4", "pth: clip.mp4"), "cameras[0].source.path (line 5): is missing; add path: ..."),
        (("kind: file", "kind: fil"), "cameras[0].source.kind (line 5): received 'fil'; use one of 'file'"),
        (("    source: {kind: file, path: clip.mp4}", "    source: 3"), "cameras[0].source"),
        (("site: mine-1, ", ""), "box.site (line 1): is missing; add site: ..."),
        (("127.0.0.1", "127.0.0.1, port: 99999"), "delivery.brokers[0].port (line 7): received 99999"),
        (("127.0.0.1", "a, password_file: x"), "password_file is given without username; give both"),
        (
            ("127.0.0.1", "a, tls: {cert_file: x}"),
            "cert_file and key_file go together; give both, or neither",
        ),
        (("[{host: 127.0.0.1}]", "[]"), "delivery.brokers (line 7)"),
        (("clip.mp4", "clip.mp4, pace: slow"), "cameras[0].source.pace (line 5): received 'slow'"),
        (("zone: main", "zone: a/b"), "cameras[0].zone (line 4): received 'a/b'"),
        (("[{host: 127.0.0.1}]", "here"), "delivery.brokers (line 7): received 'here'; give a list"),
        (("path: clip.mp4", "path: 3"), "cameras[0].source.path (line 5): received 3; give a path, as text"),
        (("{site: mine-1, node: box-01}", "3"), "box (line 1): received 3; give keys and values"),
        (
            ("delivery:", "sparkplug: {group_id: a/b}\ndelivery:"),
            "received 'a/b'; use 1 to 64 characters, none of them + # or /",
        ),
    ],
)
def test_one_mistake_gives_its_key_its_line_and_the_fix(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    """The message stands where the mistake is."""
    assert change[0] in MINIMAL
    assert expected in complaint(tmp_path, MINIMAL.replace(*change))


def test_two_cameras_of_one_name_are_refused(tmp_path: Path) -> None:
    """Names stand in topics and events: they must tell cameras apart."""
    camera = "  - name: portal\n    zone: b\n    source: {kind: file, path: x.mp4}\n"
    message = complaint(tmp_path, MINIMAL.replace("delivery:", camera + "delivery:"))
    assert "cameras: used more than once: portal; give each its own name" in message


@pytest.mark.parametrize(("section", "key"), [("gallery", "path"), ("presence", "ledger")])
def test_two_stores_in_one_file_are_refused(section: str, key: str, tmp_path: Path) -> None:
    """They would destroy each other."""
    message = complaint(tmp_path, MINIMAL + f"{section}: {{{key}: state/outbox.db}}\n")
    assert f"{section}.{key} and delivery.outbox are one file" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "must hold keys and values at its top; received NoneType"),
        ("- 1\n", "must hold keys and values at its top; received list"),
        ("box: [", "is not valid YAML"),
        ("box:\n\t- x", "is not valid YAML"),
        ("box: {a: 1, a: 2}", "a stands twice"),
        ("1: 2", "keys are text; received 1"),
        ("a: !!python/object/apply:os.system [ls]", "is not valid YAML"),
    ],
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    """Broken YAML, other documents, double keys and tags that run code give one clear message."""
    assert expected in complaint(tmp_path, text)


def test_deeply_nested_yaml_is_refused_not_crashed(tmp_path: Path) -> None:
    """A hostile file does not end in a traceback."""
    assert "is not valid YAML" in complaint(tmp_path, "a: " + "[" * 5000)


def test_binary_and_absent_files_are_refused(tmp_path: Path) -> None:
    """What cannot be read says why, and how to get a first file."""
    file = tmp_path / "box.yaml"
    with pytest.raises(ConfigError, match=r"No such file[\s\S]*dsr-edge config new"):
        load_config(file)
    file.write_bytes(b"box: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(file)


def test_every_key_is_described() -> None:
    """`config schema` explains each leaf that is not plain from its name."""
    schema = Config.model_json_schema()
    plain = {"site", "node", "kind", "host", "port", "username", "tls", "source", "id", "required", "level"}
    for name, section in schema["$defs"].items():
        for key, leaf in section["properties"].items():
            assert key in plain or "description" in leaf or "$ref" in leaf, f"{name}.{key} says nothing"
        assert re.search(r"\w", section.get("description", "")), f"{name} says nothing"
