"""What the plane is told: ids that would change a topic are refused before they are one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.errors import ConfigError
from edge_app.sparkplug.options import SPARKPLUG_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.sparkplug.options import SparkplugOptions


@pytest.mark.tck(
    "topic-structure-namespace-valid-device-id",
    "intro-device-id-string",
    "intro-device-id-chars",
)
@pytest.mark.parametrize("bad", ["", "a/b", "+", "a#", "\0", "a\nb", "\ud800", "x" * 65])
def test_ids_that_a_topic_cannot_carry_are_refused(
    options: Callable[..., SparkplugOptions], bad: str
) -> None:
    """Group, host, and a camera's name."""
    for wrong in ({"group_id": bad}, {"primary_host": bad}, {"node": bad}, {"cameras": ((bad, "z"),)}):
        with pytest.raises(ConfigError):
            options(**wrong)


@given(st.text())
def test_an_id_that_passes_is_one_level_of_a_topic(text: str) -> None:
    """Whatever the text: no separator, no wildcard, and UTF-8."""
    if SPARKPLUG_ID.fullmatch(text):
        assert not set("+#/\0") & set(text)
        assert text.encode("utf-8")


def test_the_client_id_is_not_the_lossless_planes(options: Callable[..., SparkplugOptions]) -> None:
    """Two connections with one client id displace each other for ever."""
    assert options().mqtt_client_id.startswith("dsr-spb-")
