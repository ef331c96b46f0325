from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from build_engine.build import BuildOptions, build_engine
from build_engine.trt_api import TENSORRT_RTX, Toolkit
from edge_app.engines.signing import TrustedKey, make_key, sign
from edge_app.engines.store import EngineStore
from tests import engine_models

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def built_box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models, a key, and a real INT8 engine of TensorRT-RTX, signed by the box."""
    folder = tmp_path_factory.mktemp("built")
    model = engine_models.write(folder / "models")
    make_key(folder / "engine.key")
    options = BuildOptions(model=model, out=folder / "engines", target="SM86")
    result = build_engine(Toolkit(TENSORRT_RTX), options, say=lambda _: None)
    sign(result.manifest, folder / "engine.key")
    return folder


@pytest.fixture
def box(built_box: Path, tmp_path: Path) -> Path:
    """Return such a folder of one's own."""
    return shutil.copytree(built_box, tmp_path / "box")


@pytest.fixture
def store(box: Path) -> EngineStore:
    """Return the box's engines."""
    return EngineStore(box / "engines", trusted=(TrustedKey("box", box / "engine.pub"),))


@pytest.fixture
def engine_id(store: EngineStore) -> str:
    """Return the name of the box's one engine."""
    (found,) = store.ids()
    return found
