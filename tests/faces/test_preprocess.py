from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_app.faces.preprocess import (
    ARCFACE_TEMPLATE_112,
    PREPROCESS_SHA256,
    align,
    landmarks_of_aligned,
    normalise,
    similarity_transform,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_app.faces.detect import CenterFace


def test_parameters_have_not_changed() -> None:
    """Every artefact in the field carries this hash: a new one means a new id and new models."""
    assert "03923d3a0e3f685eed61167a7afe8b9d071a7791abf19cae933b28ab2f59f56a" == PREPROCESS_SHA256


@pytest.mark.parametrize(
    ("scale", "degrees", "shift"), [(1.0, 0, (0, 0)), (0.3, 35, (90, 12)), (4.0, -80, (-7, 300))]
)
def test_transform_finds_the_similarity(scale: float, degrees: float, shift: tuple[int, int]) -> None:
    """A scaled, turned and moved template is brought back exactly."""
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = ARCFACE_TEMPLATE_112 @ turn.T + np.array(shift)
    matrix = similarity_transform(moved, ARCFACE_TEMPLATE_112)
    np.testing.assert_allclose(ARCFACE_TEMPLATE_112, moved @ matrix[:, :2].T + matrix[:, 2], atol=1e-3)


def test_transform_never_mirrors() -> None:
    """Mirrored points get the best rotation, not a reflection: a face is never turned inside out."""
    mirrored = ARCFACE_TEMPLATE_112 * np.array([-1, 1]) + np.array([112, 0])
    matrix = similarity_transform(mirrored, ARCFACE_TEMPLATE_112)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize(
    "points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((5, 3)), np.zeros((1, 2)), np.zeros(10)]
)
def test_points_without_a_transform_are_refused(points: npt.NDArray[Any]) -> None:
    """Points that coincide, are not finite or of another shape give an error, not a crop of noise."""
    with pytest.raises(ValueError, match="received"):
        similarity_transform(points, ARCFACE_TEMPLATE_112)


def test_crop_is_rgb_and_upright(portrait: npt.NDArray[np.uint8], detector: CenterFace) -> None:
    """A turned photo gives the same crop as the upright one, red first."""
    landmarks = detector.detect(portrait)[0].landmarks
    crop = align(portrait, landmarks)
    turned = np.ascontiguousarray(np.rot90(portrait))
    moved = np.stack([landmarks[:, 1], portrait.shape[1] - 1 - landmarks[:, 0]], axis=1)
    assert np.abs(crop.astype(int) - align(turned, moved)).mean() < 1.0
    assert (224, 224, 3) == crop.shape
    assert crop[:, :, 0].mean() > crop[:, :, 2].mean() + 20  # skin is red, not blue


def test_outside_of_the_picture_is_black(portrait: npt.NDArray[np.uint8]) -> None:
    """A face at the edge is filled up with black, never with repeated pixels."""
    crop = align(portrait, ARCFACE_TEMPLATE_112 - 60)
    assert not crop[:100, :100].any()
    assert crop[-50:, -50:].any()


@pytest.mark.parametrize("picture", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_picture_of_another_kind_is_refused(picture: npt.NDArray[Any]) -> None:
    """Grey and float pictures are refused; capture has made BGR of them before."""
    with pytest.raises(ValueError, match="image must be"):
        align(picture, ARCFACE_TEMPLATE_112)


def test_normalise_maps_bytes_to_one() -> None:
    """0 becomes -1 and 255 becomes 1."""
    np.testing.assert_array_equal([-1.0, 0.0, 1.0], normalise(np.array([0, 127.5, 255])).astype(np.float32))
    assert np.float32 == normalise(np.zeros((1, 2, 2, 3), np.uint8)).dtype


@pytest.mark.parametrize("size", [128, 256])
def test_aligned_sets_go_the_same_way(size: int) -> None:
    """A photo of an aligned set is scaled about its middle and nothing else."""
    matrix = similarity_transform(landmarks_of_aligned(size), ARCFACE_TEMPLATE_112 * 2)
    middle = matrix[:, :2] @ np.array([size / 2, size / 2]) + matrix[:, 2]
    np.testing.assert_allclose([112, 112], middle, atol=1e-3)
    assert pytest.approx(2 * 136 / size, abs=1e-4) == matrix[0, 0]
