"""dlib's file format and network, on a file of random weights written as dlib writes them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from dsr_inception import teacher
from dsr_inception.errors import DataError


def _packed(value: int) -> bytes:
    length = max(1, (value.bit_length() + 7) // 8)
    return bytes([length]) + value.to_bytes(length, "little")


def _tensor(values: np.ndarray) -> bytes:
    shape = (*values.shape, *(1,) * (4 - values.ndim))
    return b"\x01\x02" + b"".join(_packed(n) for n in shape) + values.astype("<f4").tobytes()


@pytest.fixture(scope="module")
def tensors() -> list[np.ndarray]:
    """Return random weights in network order: each convolution with bias, then its affine layer."""
    rng = np.random.default_rng(0)
    shapes = [(3, 32, 7)]
    before = 32
    for blocks, after, _ in teacher.LEVELS:
        for _ in range(blocks):
            shapes += [(before, after, 3), (after, after, 3)]
            before = after
    found: list[np.ndarray] = []
    for inside, outside, size in shapes:
        scale = np.sqrt(2 / (inside * size * size))
        found.append(rng.normal(0, scale, outside * inside * size * size + outside))
        found.append(np.concatenate([rng.uniform(0.5, 1, outside), rng.normal(0, 0.1, outside)]))
    return [*found, rng.normal(0, 0.1, (256, 128))]


@pytest.fixture(scope="module")
def file(tensors: list[np.ndarray]) -> bytes:
    """Return the weights as a .dat file, with the text and small numbers that stand between them."""
    parts = [b"\x01\x04net_\x01\x05con_4" + _tensor(values) + b"\x01\x01\x00" for values in tensors]
    return b"".join(parts) + b"\x00" * 32


def test_tensors_are_read_in_order(file: bytes, tensors: list[np.ndarray]) -> None:
    """All 59 come back exactly as float32."""
    found = teacher.dlib_tensors(file)
    assert 59 == len(found)
    for wanted, value in zip(tensors, found, strict=True):
        np.testing.assert_array_equal(wanted.astype(np.float32).reshape(-1), value.reshape(-1))


def test_network_is_dlibs(file: bytes, tensors: list[np.ndarray]) -> None:
    """The graph equals the residual network written out in TensorFlow, padding habits included."""
    import tensorflow as tf

    rng = np.random.default_rng(1)
    picture = rng.normal(0, 0.3, (2, 3, 150, 150)).astype(np.float32)
    (found,) = onnxruntime.InferenceSession(teacher.onnx_from_dlib(file)).run(None, {"input": picture})
    it = iter(tensors)

    def convolution(x: tf.Tensor, after: int, size: int, stride: int) -> tf.Tensor:
        values, affine = next(it), next(it)
        kernel = values[:-after].reshape(after, -1, size, size).transpose(2, 3, 1, 0).astype(np.float32)
        y = tf.nn.conv2d(x, kernel, stride, "SAME" if stride == 1 else "VALID") + values[-after:].astype("f4")
        return y * affine[:after].astype("f4") + affine[after:].astype("f4")

    x = tf.nn.relu(convolution(tf.constant(picture.transpose(0, 2, 3, 1)), 32, 7, 2))
    x = tf.nn.max_pool2d(x, 3, 2, "VALID")
    for blocks, after, halve in teacher.LEVELS:
        for block in range(blocks):
            down = halve and block == 0
            y = convolution(tf.nn.relu(convolution(x, after, 3, 2 if down else 1)), after, 3, 1)
            short = tf.nn.avg_pool2d(x, 2, 2, "VALID") if down else x
            side = max(y.shape[1], short.shape[1])
            padded = [
                tf.pad(t, [[0, 0], [0, side - t.shape[1]], [0, side - t.shape[1]], [0, after - t.shape[3]]])
                for t in (y, short)
            ]
            x = tf.nn.relu(padded[0] + padded[1])
    wanted = tf.reduce_mean(x, [1, 2]) @ tensors[-1].astype(np.float32)
    assert (2, 2, 2, 256) == x.shape
    np.testing.assert_allclose(wanted, found, atol=1e-4 * float(np.abs(found).max()))


@pytest.mark.parametrize("cut", [0, 1000, 5_000_000])
def test_another_file_is_refused(file: bytes, cut: int) -> None:
    """An empty, a short and a half file are told from dlib's embedder."""
    with pytest.raises(DataError, match=r"no dlib face embedder: found \d+ tensors, expected 59"):
        teacher.dlib_tensors(file[:cut])
