"""The box's configuration: one YAML file, a typed schema, one clear message for each mistake."""

from edge_app.config.document import Problem
from edge_app.config.files import missing_files
from edge_app.config.load import load_config
from edge_app.config.schema import Config

__all__ = ["Config", "Problem", "load_config", "missing_files"]
