"""`dsr-train evaluate --only table4`: size and time of the four networks of the paper's Table 4, in one run.

Each has the paper's input and a classifier of 10,177 people. Times are CPU time, all threads together, of one
picture at a time through Keras on the machine at hand, after some to warm up: a machine with other work on it
gives the same. They say which network costs more, not what a box needs, which runs an exported file.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import keras
import numpy as np

from dsr_inception import baselines, network
from dsr_inception.metrics import Share
from dsr_inception.transfer import without_compiler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsr_inception.baselines import Builder
    from dsr_inception.report import Report

IDENTITIES: Final = 10_177
WARM_UP: Final = 3
PICTURES: Final = 15
NETWORKS: Final[Mapping[str, Builder]] = {**baselines.BASELINES, "dsr_inception": network.classifier}


def evaluate_networks(
    report: Report,
    *,
    networks: Mapping[str, Builder] = NETWORKS,
    identities: int = IDENTITIES,
    pictures: int = PICTURES,
) -> None:
    """Enter parameters (M), size (MiB of float32), GMAC and CPU ms a picture (median, quartiles) of each."""
    for name, build in networks.items():
        model = without_compiler(build(identities))
        parameters = float(model.count_params())
        for row, value in (
            ("parameters", parameters / 1e6),
            ("size", parameters * 4 / 2**20),
            ("GMAC", baselines.multiplications(model) / 1e9),
        ):
            report.add("table 4", name, row, Share(value, value, value, 1))
        report.add("table 4", name, "ms", _milliseconds(model, pictures))
        keras.backend.clear_session()
    report.note("table 4", units="parameters in millions, size in MiB, CPU ms a picture")
    report.note("table 4", identities=identities, backend=keras.backend.backend(), pictures=pictures)


def _milliseconds(model: keras.Model, pictures: int) -> Share:
    """Return the median CPU time of one picture with its quartiles, ms."""
    picture = np.random.default_rng(0).uniform(-1, 1, (1, *model.input_shape[1:])).astype(np.float32)
    taken = []
    for _ in range(WARM_UP + pictures):
        started = time.process_time()
        model.predict_on_batch(picture)
        taken.append(1000 * (time.process_time() - started))
    low, middle, high = np.quantile(taken[WARM_UP:], [0.25, 0.5, 0.75])
    return Share(float(middle), float(low), float(high), pictures)
