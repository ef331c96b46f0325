"""Three recognisers behind one face: ours, the MobileFaceNet peer, and dlib's CC0 embedder.

Every one takes the same aligned crops, (N, 224, 224, 3) uint8 RGB as ``edge_app.faces.preprocess.align``
makes them, and gives unit vectors, so that figures stand side by side on the same pictures. The peer's
112x112 template is ours at half the size. dlib wants its own chip: its five-point predictor runs on the
crop, at the place where faces lie in the template.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Protocol

import cv2
import numpy as np

from dsr_inception.errors import DataError
from edge_app.faces.preprocess import CROP_SIZE, normalise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Crops = npt.NDArray[np.uint8]
    Vectors = npt.NDArray[np.float32]

BATCH: Final = 16
OURS: Final = "dsr-inception"
#: Where a face detector's box lies in the 224 crop (left, top, right, bottom), measured on LFW.
DLIB_BOX: Final = (19, 48, 199, 229)
DLIB_MEAN: Final = (122.782, 117.001, 104.298)
DLIB_CHIP: Final = 150
DLIB_WEIGHTS: Final = "dlib_face_recognition_resnet_model_v1.dat"
DLIB_POINTS: Final = "shape_predictor_5_face_landmarks.dat"


class Embedder(Protocol):
    """Aligned crops in, unit vectors out."""

    name: str

    def embed(self, crops: Crops) -> Vectors:
        """Return (N, D) float32 of unit length for (N, 224, 224, 3) uint8 RGB."""
        ...


def unit(vectors: npt.ArrayLike) -> Vectors:
    """Return each row divided by its length, (N, D) float32."""
    array = np.asarray(vectors, np.float32)
    length = np.maximum(np.linalg.norm(array, axis=-1, keepdims=True), 1e-12)
    return np.asarray(array / length, np.float32)


def _session(model: Path | bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class OnnxEmbedder:
    """Any ONNX recogniser that takes (N, 3, S, S) and gives (N, D).

    Args:
        path: of the model file.
        name: how tables call it.
        side: the input's side; the 224 crop is reduced to it.
        raw: give 0..255 where True, -1..1 where False.
        threads: of ONNX Runtime.

    Raises:
        DataError: the file is missing or no ONNX model.
    """

    def __init__(
        self, path: Path, *, name: str, side: int = CROP_SIZE, raw: bool = False, threads: int = 1
    ) -> None:
        self.name = name
        self._side, self._raw = side, raw
        try:
            self._session = _session(path, threads)
        except Exception as error:  # ONNX Runtime's own errors have no common base
            said = str(error).splitlines()[0]
            raise DataError(f"{path} is no recogniser that ONNX Runtime can open: {said}") from error
        self._input = self._session.get_inputs()[0].name
        first = self._session.get_inputs()[0].shape[0]
        self._batch = first if isinstance(first, int) else BATCH

    def embed(self, crops: Crops) -> Vectors:
        """See `Embedder`."""
        found: list[npt.NDArray[Any]] = []
        for start in range(0, len(crops), self._batch):
            part: npt.NDArray[Any] = crops[start : start + self._batch]
            if self._side != CROP_SIZE:
                size = (self._side, self._side)
                part = np.stack([cv2.resize(c, size, interpolation=cv2.INTER_AREA) for c in part])
            ready = part.astype(np.float32) if self._raw else normalise(part)
            fed = np.ascontiguousarray(ready.transpose(0, 3, 1, 2))
            found.append(self._session.run(None, {self._input: fed})[0])
        return unit(np.concatenate(found))


class KerasEmbedder:
    """A Keras recogniser, for choices during training."""

    def __init__(self, model: Any, *, name: str = "keras") -> None:
        self.name = name
        self._model = model

    def embed(self, crops: Crops) -> Vectors:
        """See `Embedder`."""
        parts = (normalise(crops[i : i + BATCH]) for i in range(0, len(crops), BATCH))
        return unit(np.concatenate([np.asarray(self._model(part, training=False)) for part in parts]))


class DlibEmbedder:
    """dlib's face embedder, converted to ONNX (`teacher`), with its five-point predictor.

    Args:
        folder: holds ``dlib_face_recognition_resnet_model_v1.dat`` and
            ``shape_predictor_5_face_landmarks.dat`` of the package face-recognition-models 0.3.0 (CC0).
        threads: of ONNX Runtime.

    Raises:
        DataError: one of the two is missing or another file.
    """

    name = "dlib"

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        lacking = [name for name in (DLIB_WEIGHTS, DLIB_POINTS) if not (folder / name).is_file()]
        if lacking:
            raise DataError(
                f"{folder} holds no {' and no '.join(lacking)}: give --dlib the folder of the package "
                "face-recognition-models 0.3.0 that holds both (docs/training.md)"
            )
        import dlib

        from dsr_inception.teacher import onnx_from_dlib

        self._session = _session(onnx_from_dlib((folder / DLIB_WEIGHTS).read_bytes()), threads)
        try:
            self._predictor = dlib.shape_predictor(str(folder / DLIB_POINTS))
        except RuntimeError as error:
            raise DataError(f"{folder / DLIB_POINTS} is damaged: {error}; unpack it again") from error
        self._box = dlib.rectangle(*DLIB_BOX)
        self._chip = dlib.get_face_chip

    def chip(self, crop: Crops) -> Crops:
        """Return dlib's own 150x150 chip of one 224 crop."""
        crop = np.ascontiguousarray(crop)
        shape = self._predictor(crop, self._box)
        return np.asarray(self._chip(crop, shape, DLIB_CHIP, 0.25), np.uint8)

    def embed(self, crops: Crops) -> Vectors:
        """See `Embedder`."""
        return unit(self.descriptors(crops))

    def descriptors(self, crops: Crops) -> Vectors:
        """Return dlib's descriptors as they are, (N, 128), lengths kept: distillation centres them."""
        found: list[npt.NDArray[Any]] = []
        for start in range(0, len(crops), BATCH):
            chips = np.stack([self.chip(c) for c in crops[start : start + BATCH]]).astype(np.float32)
            fed = ((chips - np.array(DLIB_MEAN, np.float32)) / 256).transpose(0, 3, 1, 2)
            found.append(self._session.run(None, {"input": np.ascontiguousarray(fed)})[0])
        return np.concatenate(found).astype(np.float32)


class Mirrored:
    """An embedder as the box uses it: the mean of a face's and its mirror image's vectors, of unit length.

    The same as `edge_app.embedding.recogniser` does, on many crops at once; a test compares them.
    """

    def __init__(self, inner: Embedder) -> None:
        self.inner, self.name = inner, inner.name

    def embed(self, crops: Crops) -> Vectors:
        """See `Embedder`."""
        both = [self.inner.embed(c) for c in (crops, np.ascontiguousarray(crops[:, :, ::-1]))]
        return unit(both[0] + both[1])


class Single:
    """An embedder under the name that says it sees one crop only."""

    def __init__(self, embedder: Embedder) -> None:
        self.name = f"{embedder.name}, single crop"
        self.embed = embedder.embed


class Kept:
    """An embedder whose vectors are kept between runs: what depends on no new weights is computed once.

    Args:
        embedder: asked for what is not there yet.
        source: the file whose weights it has; its hash is part of the key.
        cache: folder of the vectors, keyed by weights and pictures.
    """

    def __init__(self, embedder: Embedder, source: Path, cache: Path) -> None:
        self.name = embedder.name
        self._embedder = embedder
        self._folder = cache / f"{embedder.name}-{file_hash(source)[:12]}"

    def embed(self, crops: Crops) -> Vectors:
        """See `Embedder`."""
        return np.asarray(
            kept(self._folder, picture_hash(crops), lambda: self._embedder.embed(crops)), np.float32
        )


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def picture_hash(crops: Crops) -> str:
    """Return a hash of pictures and their number, hexadecimal."""
    return hashlib.blake2b(
        np.ascontiguousarray(crops).tobytes(), digest_size=16, key=str(crops.shape).encode()
    ).hexdigest()


def kept(folder: Path | None, key: str, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the array kept in `folder` under `key`, made and kept if it is not there; None keeps nothing."""
    if folder is None:
        return make()
    path = folder / f"{key}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part.npy")
        np.save(aside, make())
        aside.replace(path)
    return np.asarray(np.load(path, allow_pickle=False))


def all_embedders(
    model: Path,
    data: Path | None,
    dlib_folder: Path | None,
    *,
    alone: bool = False,
    single: bool = False,
    cache: Path | None = None,
) -> list[Embedder]:
    """Return ours, and the comparisons whose files are at hand: the peer in the data folder, dlib's.

    All of them average a face with its mirror image, as the box does.

    Args:
        model: our recogniser, .onnx.
        data: the folder of face sets, or None: without the peer.
        dlib_folder: of the ``.dat`` files, or None.
        alone: ours only.
        single: each also without the mirror image, named ``NAME, single crop``.
        cache: where vectors are kept between runs, or None.
    """
    peer = data / "models" / "peer_mobilefacenet_y1.onnx" if data is not None else None
    found: list[tuple[Embedder, Path]] = [(OnnxEmbedder(model, name=OURS), model)]
    if peer is not None and peer.is_file() and not alone:
        found.append((OnnxEmbedder(peer, name="mobilefacenet-peer", side=112, raw=True), peer))
    if dlib_folder is not None and not alone:
        found.append((DlibEmbedder(dlib_folder), dlib_folder / DLIB_WEIGHTS))
    plain = [Kept(embedder, source, cache) if cache else embedder for embedder, source in found]
    return [*map(Mirrored, plain), *(Single(embedder) for embedder in plain if single)]
