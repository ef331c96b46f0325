"""evaluation.json, the tables of the page and the plots that are made from it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsr_inception import accuracy, plots, speed
from dsr_inception.closed import HELD, MICRO
from dsr_inception.errors import DataError
from dsr_inception.metrics import Share
from dsr_inception.report import Report, load_report

ROOT = Path(__file__).resolve().parents[2]


def _report(section: str = "lfw", value: float = 0.5) -> Report:
    report = Report()
    for who in ("ours", "peer"):
        report.add(section, who, "accuracy", Share(value, value - 0.1, value + 0.1, 10))
        report.add(section, who, "TAR", Share(value, value, value, 10))
    report.note(section, date="2026-11-25", machine="2 cores", model="abc")
    report.curves[section] = {"ours": [[0.001, 0.4], [0.1, 0.8]]}
    return report


def test_file_gives_the_same_report(tmp_path: Path) -> None:
    """Figures, curves and notes come back."""
    path = tmp_path / "models" / "evaluation.json"
    report = _report()
    report.save_into(path)
    assert report.as_json() == load_report(path).as_json()


def test_new_run_replaces_its_own_sections_alone(tmp_path: Path) -> None:
    """Another section stays with its curves; the same one is taken over whole."""
    path = tmp_path / "evaluation.json"
    _report("lfw", 0.5).save_into(path)
    _report("mf", 0.6).save_into(path)
    newer = Report()
    newer.add("lfw", "ours", "accuracy", Share(0.9, 0.8, 1.0, 10))
    whole = newer.save_into(path)
    assert ["lfw", "mf"] == list(whole.figures)
    assert ["ours"] == list(load_report(path).figures["lfw"])
    assert {"mf"} == set(load_report(path).curves)


@pytest.mark.parametrize("content", ["", "[1]", '{"figures": {"a": 3}}'])
def test_another_file_is_no_evaluation(tmp_path: Path, content: str) -> None:
    """It is named with what to do; a missing one as well."""
    path = tmp_path / "evaluation.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"evaluation.json is no evaluation.*dsr-train evaluate"):
        load_report(path)
    with pytest.raises(DataError, match=r"cannot be read.*make it with"):
        load_report(tmp_path / "none.json")


def test_tables_stand_between_their_marks() -> None:
    """What is written by hand stays, what stood between the marks goes, rows can be chosen."""
    page = "before\n<!-- table: lfw: accuracy -->\nold\n<!-- /table -->\nafter\n"
    found = accuracy.with_tables(_report(), page)
    assert "old" not in found
    assert "| accuracy | 50.0 % [40.0, 60.0] | 50.0 % [40.0, 60.0] |" in found
    assert "TAR" not in found
    assert "*2026-11-25; 2 cores; model sha256 abc.*" in found
    assert found.startswith("before\n")
    assert found.endswith("after\n")
    assert found == accuracy.with_tables(_report(), found), "made twice is made once"


def test_table_without_figures_is_named() -> None:
    """The message says which there are."""
    with pytest.raises(DataError, match="no figures for 'mf'; there are lfw"):
        accuracy.table_of(_report(), "mf")


def test_missing_page_is_named(tmp_path: Path) -> None:
    """A page that is not there is told in one line."""
    with pytest.raises(DataError, match="cannot be read"):
        accuracy.write_tables(_report(), tmp_path / "none.md")


def test_table_4_puts_our_run_beside_the_papers() -> None:
    """Sizes and times of every network that was measured; a dash where one was not."""
    report = Report()
    for row, value in (("parameters", 12.03), ("size", 45.9), ("GMAC", 1.03), ("ms", 25.4)):
        report.add("table 4", "dsr_inception", row, Share(value, value, value, 30))
    found = accuracy.table_of(report, "table 4")
    assert (
        "| dsr_inception | 12.0 | 45.9 | 1.03 | 25 [25, 25] | 46.56 | 258 | 97.26 / 94.17 / 95.42 |" in found
    )
    assert "| vgg_16 | - | - | - | - | 526 | 625 | 91.53 / 88.39 / 89.93 |" in found


def test_table_5_has_the_published_and_our_best_scheme() -> None:
    """Of two schemes the better one stands there, with its interval and what it is of."""
    report = Report()
    for scheme, value in (("scheme a", 0.7), ("scheme f", 0.8), ("dlib, nearest mean", 0.99)):
        report.add("deep", scheme, MICRO, Share(value, value - 0.01, value + 0.01, 615))
    found = accuracy.table_of(report, "table 5")
    assert "| DSR-Inception, the paper | 97.26 |" in found
    assert "| ours, scheme f | 80.0 [79.0, 81.0] | 123 people" in found
    assert HELD not in found


def test_networks_are_measured_in_one_run() -> None:
    """Parameters, size, multiplications and time of each, of small stand-ins for the four."""
    import keras

    def small(identities: int) -> keras.Model:
        inputs = keras.Input((8, 8, 3))
        logits = keras.layers.Dense(identities, name="logits")(keras.layers.Flatten()(inputs))
        return keras.Model(inputs, {"feature": logits, "logits": logits})

    report = Report()
    speed.evaluate_networks(report, networks={"small": small}, identities=10, pictures=3)
    rows = report.figures["table 4"]["small"]
    assert pytest.approx((192 * 10 + 10) / 1e6) == rows["parameters"].value
    assert pytest.approx(1920 / 1e9) == rows["GMAC"].value
    assert 0 < rows["ms"].low <= rows["ms"].value <= rows["ms"].high
    assert "%" not in report.table(), "milliseconds are no shares"
    assert {"inception_v1", "vgg_16", "resnet_18", "dsr_inception"} == set(speed.NETWORKS)


def test_every_plot_is_drawn(tmp_path: Path) -> None:
    """A picture for each kind of figure that the report has, and none for what it lacks."""
    report = _report()
    share = Share(0.5, 0.4, 0.6, 10)
    for row in ("clean", "light", "heavy"):
        report.add(plots.YARDSTICK, "ours", f"{row}, leave-pose-out, template", share)
    report.add(plots.YARDSTICK, "ours", "clean, pose front (real)", share)
    report.add(plots.TABLE_3, "a", MICRO, share)
    report.curves[plots.TABLE_3] = {"confusion": [[3.0, 1.0], [0.0, 4.0]]}
    found = plots.write_plots(report, tmp_path)
    assert ["roc", "ash", "pose", "schemes", "confusion"] == [path.stem for path in found]
    for path in found:
        image = cv2.imread(str(path))
        assert image is not None
        assert 20 < len(np.unique(image.reshape(-1, 3), axis=0)), path
    assert [] == plots.write_plots(Report(), tmp_path)


def test_training_curves_are_drawn_from_a_log(tmp_path: Path) -> None:
    """Both kinds of logs; a missing and an empty one are named."""
    log = tmp_path / "log.csv"
    for head, rows in (
        (
            "seconds,step,pictures,side,rate,loss,cosine,accuracy,norm,speed,left",
            ["1,2,64,64,1,9,.1,.2,1,1,1"],
        ),
        ("epoch,loss,accuracy,test_accuracy,seconds", ["1,3.0,0.2,0.1,1", "2,2.0,0.4,0.2,1"]),
    ):
        log.write_text("\n".join([head, *rows]))
        assert cv2.imread(str(plots.training_curves(log, tmp_path / "log.png"))) is not None
    log.write_text("epoch,loss\n")
    with pytest.raises(DataError, match="has no row yet"):
        plots.training_curves(log, tmp_path / "log.png")
    with pytest.raises(DataError, match="cannot be read"):
        plots.training_curves(tmp_path / "none.csv", tmp_path / "log.png")


def test_shares_are_rounded_in_the_file(tmp_path: Path) -> None:
    """Five digits: a file that two runs can be compared in."""
    report = Report()
    report.add("a", "b", "c", Share(1 / 3, 0.0, 1.0, 3))
    report.save_into(tmp_path / "e.json")
    kept = json.loads((tmp_path / "e.json").read_text())
    assert {"value": 0.33333, "low": 0.0, "high": 1.0, "cases": 3} == kept["figures"]["a"]["b"]["c"]


def test_page_is_what_the_file_says() -> None:
    """docs/accuracy.md holds the tables of models/evaluation.json; `dsr-train report` mends it."""
    page = (ROOT / "docs" / "accuracy.md").read_text()
    assert accuracy.MARKED.search(page)
    assert accuracy.with_tables(load_report(ROOT / "models" / "evaluation.json"), page) == page
