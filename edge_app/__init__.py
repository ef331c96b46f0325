"""The daemon of the edge box and its command line."""

import os

# ONNX Runtime 1.29 and later tell their maker about models and runs, from Linux too, unless this stands
# in the environment before they are loaded (microsoft/onnxruntime pull 27379). A box in a mine tells
# nobody but the mine.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
