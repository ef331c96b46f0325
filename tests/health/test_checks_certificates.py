"""The doctor's look at the dates of real certificates, by clocks that are right and wrong."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from benchmarks.authority import Authority
from edge_app.clock import WallQuality, WallTime
from edge_app.delivery.validity import validities, validity_of
from edge_app.errors import ConfigError
from edge_app.health.checks.certificates import check_certificates
from edge_app.health.doctor import State
from tests.clocks import StoppedClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_app.config import Config
    from edge_app.health.doctor import Finding

    Box = Callable[..., tuple[Path, Config]]

DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority whose certificate lasts 30 days."""
    return Authority(tmp_path, "mine")


def config_with(box: Box, ca: Path, cert: Path, key: Path) -> Config:
    """Return the configuration of a box that has these."""
    tls = {"ca_file": str(ca), "cert_file": str(cert), "key_file": str(key)}
    return box(delivery={"brokers": [{"host": "127.0.0.1", "tls": tls}]})[1]


def look(config: Config, ahead: timedelta, quality: WallQuality = WallQuality.SYNC) -> list[Finding]:
    """Run the check with a clock that is so far ahead of the true time."""
    clock = StoppedClock()
    moment = datetime.now(tz=timezone.utc) + ahead
    ms = None if quality is WallQuality.NONE else int(moment.timestamp() * 1000)
    clock.wall_time = WallTime(ms=ms, quality=quality)
    return list(check_certificates(config, clock))


def test_dates_are_those_that_openssl_shows(authority: Authority, tmp_path: Path) -> None:
    """In both of the encodings that a certificate may have, and of every certificate in a file."""
    late, _ = authority.issue("late", days=365 * 60)
    chain = tmp_path / "chain.crt"
    chain.write_bytes(b"a text before it\n" + late.read_bytes() + authority.cert.read_bytes())
    shown = []
    for path in (late, authority.cert):
        words = ["openssl", "x509", "-in", str(path), "-noout", "-startdate", "-enddate"]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        shown.append([line.split("=")[1] for line in said.splitlines()])
    found = [[one.begins.timestamp(), one.ends.timestamp()] for one in validities(chain)]
    assert [[ssl.cert_time_to_seconds(text) for text in pair] for pair in shown] == found
    assert found[0][1] > datetime(2050, 1, 1, tzinfo=timezone.utc).timestamp()


def test_a_certificate_that_is_damaged_is_refused_and_breaks_nothing(authority: Authority) -> None:
    """Cut anywhere it is none; with any byte exchanged it has dates or is none."""
    der = ssl.PEM_cert_to_DER_cert(authority.cert.read_text("ascii"))
    for at in range(len(der)):
        with pytest.raises((ValueError, IndexError)):
            validity_of(der[:at])
        with contextlib.suppress(ValueError, IndexError):
            validity_of(der[:at] + bytes([der[at] ^ 0xFF]) + der[at + 1 :])


def test_certificates_that_last_are_one_line_with_the_first_to_end(box: Box, tmp_path: Path) -> None:
    """The path and the date."""
    authority = Authority(tmp_path, "mine", days=500)
    cert, key = authority.issue("box-01", days=400)
    (finding,) = look(config_with(box, authority.cert, cert, key), timedelta(0))
    assert State.OK is finding.state
    assert f"2 files, the first to expire is {cert} on 20" in finding.what


@pytest.mark.parametrize(
    ("ahead", "state", "said"),
    [
        (
            5 * DAY,
            State.WARN,
            "the box's own certificate {cert} expires on {end}, in 4 days: then the broker",
        ),
        (
            15 * DAY,
            State.FAIL,
            "the box's own certificate {cert} expired on {end}: the broker refuses the box",
        ),
        (-2 * DAY, State.FAIL, "the box's own certificate {cert} is not valid before"),
    ],
)
def test_the_boxs_own_certificate_is_named_with_its_date(
    box: Box, tmp_path: Path, ahead: timedelta, state: State, said: str
) -> None:
    """Where the broker closes the connection without a word."""
    authority = Authority(tmp_path, "mine", days=500)
    cert, key = authority.issue("box-01", days=10)
    end = validities(cert)[0].ends.strftime("%Y-%m-%d")
    first, *_ = [f for f in look(config_with(box, authority.cert, cert, key), ahead) if str(cert) in f.what]
    assert state is first.state
    assert said.format(cert=cert, end=end) in first.what
    assert "docs/certificates.md" in first.fix


def test_an_authority_that_has_expired_is_named_unless_a_newer_one_is_beside_it(
    box: Box, tmp_path: Path, authority: Authority
) -> None:
    """The box believes nobody by it."""
    newer = Authority(tmp_path, "newer", days=900)
    cert, key = newer.issue("box-01", days=800)
    (bad, good) = look(config_with(box, authority.cert, cert, key), 40 * DAY)
    assert (State.FAIL, State.OK) == (bad.state, good.state)
    assert f"the authority's certificate {authority.cert} expired on" in bad.what
    assert "no broker is believed" in bad.what
    both = tmp_path / "both.crt"
    both.write_bytes(authority.cert.read_bytes() + newer.cert.read_bytes())
    assert [State.OK] == [f.state for f in look(config_with(box, both, cert, key), 40 * DAY)]


def test_without_a_clock_no_verdict_is_given(box: Box, authority: Authority) -> None:
    """To 1970, and to any clock that runs behind, everything is not yet valid: the clock comes first."""
    cert, key = authority.issue("box-01")
    config = config_with(box, authority.cert, cert, key)
    for finding in look(config, timedelta(0), WallQuality.NONE):
        assert State.WARN is finding.state
        assert "the clock is off: nobody here can tell" in finding.what
        assert "not valid before" not in finding.what
    for finding in look(config, -200 * DAY, WallQuality.HOLDOVER):
        assert State.WARN is finding.state
        assert "which nothing keeps right" in finding.what
        assert "set the clock right first" in finding.fix
    for finding in look(config, 200 * DAY, WallQuality.HOLDOVER):
        assert State.FAIL is finding.state
        assert "if the clock is right" in finding.fix


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "no certificate"), (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged")],
)
def test_a_file_that_holds_no_certificate_is_told(
    box: Box, tmp_path: Path, authority: Authority, content: bytes, said: str
) -> None:
    """With its key; one that is not there is the check `config`'s."""
    cert, key = authority.issue("box-01")
    other = tmp_path / "other.crt"
    config = config_with(box, other, cert, key)
    assert [True] == ["own" in finding.what for finding in look(config, timedelta(0))]
    other.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        validities(other)
    finding, *_ = look(config, timedelta(0))
    assert State.FAIL is finding.state
    assert "delivery.brokers[0].tls.ca_file: " in finding.what


def test_no_certificates_are_no_trouble(box: Box) -> None:
    """A broker without TLS."""
    assert ["none is configured"] == [f.what for f in look(box()[1], timedelta(0))]
