"""The documentation and the program say the same: what is named exists, and what exists is named.

Commands, options, configuration keys, topics, event kinds, error codes, files and the doctor's checks.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from build_engine.cli import build_parser as engine_parser
from calibration.cli import build_parser as calibrate_parser
from dsr_inception.cli import build_parser as train_parser
from edge_app import errors
from edge_app.cli.main import build_parser
from edge_app.commands.verbs import VERBS
from edge_app.config.schema import Config
from edge_app.delivery.event import KINDS
from edge_app.delivery.topics import Topics
from field_test import runs  # noqa: F401 - its error has a code of its own, known only once it is imported
from field_test.cli import build_parser as field_parser
from surface.cli import build_parser as surface_parser
from tooling.commands import COMMANDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

#: Every command line that the project has.
EVERY_PARSER = (build_parser, engine_parser, calibrate_parser, train_parser, field_parser, surface_parser)
ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
ALL_TEXT = "\n".join(PAGES.values())
CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`|^ {4}(\S[^\n]*)$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^(?:sudo (?:-u \S+ )?)?(?:/opt/dsr-edge/venv/bin/)?dsr-edge(?: |$)")


def code(page: str) -> list[str]:
    """Return every piece of code on the page, one line each."""
    pieces = [next(group for group in match if group) for match in CODE.findall(PAGES[page]) if any(match)]
    return [line.strip() for piece in pieces for line in piece.splitlines() if line.strip()]


def all_code() -> list[tuple[str, str]]:
    """Return (page, line) of every piece of code in the documentation."""
    return [(page, line) for page in PAGES for line in code(page)]


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return a parser's sub-commands."""
    for action in parser._actions:
        if action.nargs == "A..." and isinstance(action.choices, dict):
            return dict(action.choices)
    return {}


def every_command() -> Iterator[tuple[str, ...]]:
    """Yield every sub-command with its action, as words."""
    for name, parser in subcommands(build_parser()).items():
        actions = subcommands(parser)
        yield from ((name, action) for action in actions) if actions else iter([(name,)])


def commands_in_docs() -> list[tuple[str, list[str]]]:
    """Return (page, words) of every command line of dsr-edge in the documentation."""
    found = []
    for page, line in all_code():
        if match := PROGRAM.match(line):
            rest = line[match.end() :].split(" > ")[0].split(" | ")[0].removesuffix("...")
            if words := shlex.split(rest, comments=True):
                found.append((page, words))
    return found


# -- commands


def test_every_command_in_the_docs_exists_with_its_options() -> None:
    """A command copied from a page must not end in a usage message."""
    wrong = []
    for page, words in commands_in_docs():
        parser, rest = build_parser(), list(words)
        while (inner := subcommands(parser)) and rest and rest[0] in inner:
            parser = inner[rest.pop(0)]
        unknown = [
            word
            for word in rest
            if word.startswith("--") and word.split("=")[0] not in parser._option_string_actions
        ]
        if parser.prog == "dsr-edge" and not rest[0].startswith("-"):
            unknown.append(rest[0])
        if unknown:
            wrong.append(f"{page}: dsr-edge {' '.join(words)}: no {', '.join(unknown)}")
    assert [] == wrong


def test_every_command_is_named_in_the_docs() -> None:
    """What nobody can find does not exist."""
    named = {tuple(words[:n]) for _, words in commands_in_docs() for n in (1, 2)}
    assert [] == [" ".join(command) for command in every_command() if command not in named]


def test_every_command_of_the_surface_is_in_the_docs_as_it_is_taken() -> None:
    """With the options that it must have, and no others."""
    lines = [line for _, line in all_code() if re.match(r"(python3 -m surface|dsr-surface) \S+ \S", line)]
    words = [shlex.split(line.removeprefix("python3 -m ")) for line in lines]
    verbs = [surface_parser().parse_args(rest) and rest[0] for _, *rest in words]
    assert subcommands(surface_parser()).keys() == set(verbs)


def test_every_command_of_run_py_exists_and_is_named() -> None:
    """The newcomer's commands."""
    named = set(re.findall(r"python3 run\.py ([a-z]+)", ALL_TEXT))
    assert [] == sorted(named - set(COMMANDS))
    assert {"demo", "test"} <= named


def test_the_install_scripts_options_are_those_of_its_help() -> None:
    """In the order of the page."""
    said = _install_help()
    lines = [line for _, line in all_code() if "install.sh" in line]
    assert lines
    assert [] == [option for line in lines for option in re.findall(r"--[a-z-]+", line) if option not in said]


def test_every_option_that_stands_alone_exists() -> None:
    """`--json` in a sentence belongs to a command of ours, or to one of the two tools named here."""
    known = {"--require-hashes", "--system-site-packages"}
    known |= set(re.findall(r"--[a-z-]+", _install_help()))
    parsers = [make() for make in EVERY_PARSER]
    while parsers:
        parser = parsers.pop()
        known |= set(parser._option_string_actions)
        parsers += subcommands(parser).values()
    named = {(page, line.split()[0]) for page, line in all_code() if re.match(r"--[a-z]", line)}
    assert len(named) > 3
    assert [] == sorted(f"{page}: {option}" for page, option in named if option not in known)


def _install_help() -> str:
    command = [str(ROOT / "systemd/install.sh"), "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# -- configuration


def config_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, field) of every value that can be set."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        models = list(_models(field.annotation))
        many = "[]" if "tuple" in str(field.annotation) else ""
        if not models:
            yield key, field
        for inner in models:
            yield from config_keys(inner, f"{key}{many}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def config_table() -> str:
    """Return the table of all keys as it must stand in the documentation."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    seen = set()
    for key, field in config_keys():
        row = f"| `{key}` | {_default(field)} | {_meaning(field)} |"
        if row not in seen:  # two kinds of sources share a key
            rows.append(row)
        seen.add(row)
    return "\n".join(rows)


def _default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "must be given"
    value = field.default
    shown = {"None": "null", "True": "true", "False": "false", "()": "none"}.get(repr(value), value)
    return f"`{shown}`"


def _meaning(field: Any) -> str:
    choices = [str(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
    words = [field.description or "", f"one of: {', '.join(choices)}" if len(choices) > 1 else ""]
    if len(choices) == 1:
        words.append(f"`{choices[0]}`")
    return "; ".join(word for word in words if word)


def test_the_table_of_keys_is_the_schemas() -> None:
    """Key, default and meaning; to mend the page, copy what this test expects between the two marks."""
    page = PAGES["docs/deployment.md"]
    match = re.search(r"<!-- keys:[^>]*-->\n(.*?)\n?<!-- /keys -->", page, re.DOTALL)
    assert match
    assert config_table() == match[1]


def test_every_key_named_in_the_docs_exists() -> None:
    """Dotted, in code: `quality.min_face_px`."""
    known = {re.sub(r"\[\]", "", key) for key, _ in config_keys()}
    sections = {".".join(key.split(".")[:n]) for key in known for n in range(1, 5)}
    tops = "|".join(Config.model_fields)
    named = {
        (page, re.sub(r"\[\d*\]", "", match[1]))
        for page, line in all_code()
        if (match := re.fullmatch(rf"((?:{tops})(?:\.[a-z_]+|\[\d*\])+)(?:[:=].*)?", line))
    }
    assert len(named) > 20
    assert [] == sorted(f"{page}: {key}" for page, key in named if key not in known | sections)


def test_the_example_configuration_shows_every_section() -> None:
    """`dsr-edge config new` is where everybody starts."""
    example = (ROOT / "edge_app/cli/box.example.yaml").read_text(encoding="utf-8")
    assert [] == [key for key, _ in config_keys() if not re.search(rf"\b{key.split('.')[-1]}:", example)]


# -- errors


def every_error() -> dict[str, type[errors.DsrError]]:
    """Return the class that defines each code."""
    found: dict[str, type[errors.DsrError]] = {}

    def walk(kind: type[errors.DsrError]) -> None:
        found.setdefault(kind.code, kind)
        for inner in kind.__subclasses__():
            walk(inner)

    walk(errors.DsrError)
    return found


def test_every_error_code_is_explained_with_its_exit_status() -> None:
    """The table of the troubleshooting page."""
    rows = re.findall(r"^\| `(DSR-\d{3})` \| (\d) \|", PAGES["docs/troubleshooting.md"], re.MULTILINE)
    expected = {code: str(kind.exit_status) for code, kind in every_error().items()}
    assert expected == dict(rows)


def test_every_error_code_named_exists() -> None:
    """On any page."""
    assert [] == sorted(set(re.findall(r"DSR-\d{3}", ALL_TEXT)) - set(every_error()))


# -- events and topics


def test_the_table_of_kinds_is_the_schemas() -> None:
    """Kind, priority and meaning; to mend the page, copy what this test expects between the two marks."""
    match = re.search(r"<!-- kinds:[^>]*-->\n(.*?)\n?<!-- /kinds -->", PAGES["docs/deployment.md"], re.DOTALL)
    assert match
    rows = ["| kind | priority | meaning |", "|---|---|---|"]
    rows += [f"| `{kind.name}` | {kind.priority} | {kind.meaning} |" for kind in KINDS.values()]
    assert "\n".join(rows) == match[1]


def test_every_topic_in_the_docs_is_one_of_the_boxs() -> None:
    """Whatever starts with mine/: the site, the node, and one of the known ends."""
    topics = Topics(site="s", node="n")
    fixed = (topics.state, topics.muster, topics.receipts, topics.responses, topics.commands, topics.cards)
    ends = {topic.removeprefix(f"{topics.base}/") for topic in fixed}
    ends |= {f"cmd/{verb}" for verb in VERBS}
    ends |= {"", "#", "evt/#", "evt/+", "evt/{kind}", "cmd/{verb}", *(f"evt/{kind}" for kind in KINDS)}
    wrong = []
    for page, line in all_code():
        for topic in re.findall(r"(?<![\w/])mine/[^\s`'\",;]+", line):
            parts = topic.rstrip(").").split("/", 4)
            if len(parts) == 4 and parts[3] == "resp":
                continue  # where whoever gives a command wants the answer
            if len(parts) < 5 or parts[2] != "v1" or not (parts[4] in ends or parts[4].startswith("alarms/")):
                wrong.append(f"{page}: {topic}")
    assert [] == wrong


# -- files and the doctor


def test_every_file_named_exists() -> None:
    """Links, and paths of the checkout in code."""
    tops = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    named = {
        (page, match[0])
        for page, line in all_code()
        for match in re.finditer(rf"(?<![\w/.-])(?:{tops})/[\w./-]+", line)
    }
    named |= {
        (page, f"{Path(page).parent}/{link}")
        for page, text in PAGES.items()
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    }
    made = ("models/", "state/", "out/", "runs/")  # made by a command, not in the checkout
    missing = {
        f"{page}: {path}"
        for page, path in named
        if not path.startswith(made) and not (ROOT / path.rstrip(".")).exists()
    }
    assert [] == sorted(missing)


def test_every_check_of_the_doctor_is_explained() -> None:
    """By its name, in the column of what the doctor says."""
    text = (ROOT / "edge_app/health/checks/table.py").read_text(encoding="utf-8")
    names = set(re.findall(r'Check\(\s*f?"([a-z]+)', text))
    assert {"broker", "camera", "clock"} <= names
    page = PAGES["docs/troubleshooting.md"] + PAGES["docs/deployment.md"]
    assert [] == sorted(name for name in names if name not in page)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_names_no_path_of_somebodys_machine(page: str) -> None:
    """Pages are about the box."""
    assert [] == re.findall(r"(?<![\w.])/(?:home|root|work)/\S+", PAGES[page])
