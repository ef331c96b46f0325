"""A real run on drawn pictures: it learns, is killed and goes on to the same state, and stops on NaN."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from dsr_inception import recipe as rc
from dsr_inception.batches import FEW, Batch, Batches, training_picture, upright_crops
from dsr_inception.embedders import KerasEmbedder, unit
from dsr_inception.errors import TrainingError
from dsr_inception.targets import Targets, make_targets
from dsr_inception.training import Trainer, learning_rate

# Keras converts tensors in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMOKE = Path(rc.__file__).parent / "recipes" / "smoke.yaml"
PEOPLE = 4


def _targets(dim: int = 16) -> Targets:
    prototypes = unit(np.random.default_rng(1).normal(0, 1, (PEOPLE, dim)))
    labels = np.repeat(np.arange(PEOPLE), 4)
    return Targets(prototypes[labels], labels, prototypes, tuple("abcd"))


def _trainer(folder: Path, **changes: Any) -> Trainer:
    import dataclasses

    recipe = dataclasses.replace(rc.load_recipe(SMOKE), **changes)
    grid = np.random.default_rng(0).integers(0, 256, (PEOPLE, 4, 4, 3), dtype=np.uint8)
    pixels = np.repeat(np.repeat(grid, 32, axis=1), 32, axis=2)[np.repeat(np.arange(PEOPLE), 4)]
    names = [f"{'abcd'[i // 4]}/{i % 4}.png" for i in range(4 * PEOPLE)]
    return Trainer(recipe=recipe, pixels=pixels, names=names, targets=_targets(), folder=folder)


def _batch(trainer: Trainer, side: int = 32) -> Batch:
    rows = np.arange(len(trainer._pixels))
    return Batch(np.ascontiguousarray(trainer._pixels[:, :: 128 // side, :: 128 // side]), rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, list[Any]]:
    """Return a trainer after thirty steps on one batch, and their figures; tracing it takes seconds."""
    trainer = _trainer(tmp_path_factory.mktemp("trained"))
    return trainer, [trainer.learn(_batch(trainer)) for _ in range(30)]


def test_learns_to_tell_people_apart(trained: tuple[Trainer, list[Any]]) -> None:
    """On sixteen pictures of four people every one is right after thirty steps, and the loss has halved."""
    found = trained[1]
    assert 1.0 == found[-1][2]
    assert found[-1][0] < found[0][0] / 2


def test_scales_stay_positive(trained: tuple[Trainer, list[Any]]) -> None:
    """No BatchNormalization scale falls below the bound that export needs, though gradients pull there."""
    lowest = min(float(np.min(v)) for v in trained[0].model.trainable_variables if "gamma" in v.path)
    assert 0.0009 < lowest


def test_resumes_to_the_same_state(trained: tuple[Trainer, list[Any]]) -> None:
    """A checkpoint, two more steps: the same two after a restore give the same figures and weights."""
    trainer = trained[0]
    batch = _batch(trainer)
    trainer.save()
    kept = trainer.progress.steps, trainer.progress.pictures, trainer.progress.side_steps
    wanted = [trainer.learn(batch) for _ in range(2)]
    again = _trainer(trainer.folder)
    again.restore()
    assert kept == (again.progress.steps, again.progress.pictures, again.progress.side_steps)
    np.testing.assert_allclose(wanted, [again.learn(batch) for _ in range(2)], rtol=1e-3, atol=1e-3)
    for one, two in zip(trainer.learner.average, again.learner.average, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=2e-3)


def test_nan_loss_stops_with_the_photos_names(
    trained: tuple[Trainer, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that is no number ends the run and names the batch; this test leaves the trainer spoilt."""
    trainer = trained[0]
    monkeypatch.setattr(trainer, "_targets", _targets())
    trainer._targets.vectors[:] = np.nan
    with pytest.raises(TrainingError, match=r"the loss is nan at step 3.*a/0.png, a/1.png"):
        trainer.learn(_batch(trainer))


def test_run_ends_on_sigterm_or_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM ends a long run after the step in progress, the clock a short one; weights and log stay."""
    import dataclasses

    monkeypatch.setattr("dsr_inception.training.LOG_EVERY", 0.1)
    trainer = _trainer(tmp_path, minutes=60)
    threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    path = trainer.run()
    used = trainer.progress.seconds
    written = {"checkpoint.npz", "recogniser.keras", "recogniser.keras.json"}
    assert written <= {p.name for p in tmp_path.iterdir()}
    assert signal.SIGTERM == trainer.stopped
    trainer.stopped = 0
    monkeypatch.setattr(trainer, "recipe", dataclasses.replace(trainer.recipe, minutes=(used + 2) / 60))
    trainer.run()
    assert used + 2 <= trainer.progress.seconds
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["loss"]) > 0 and float(row["speed"]) > 0 for row in rows)
    assert "0.0" == rows[-1]["left"]
    again = keras.saving.load_model(path)
    assert (None, 224, 224, 3) == again.input_shape
    for one, two in zip(
        trainer.learner.average, [v for v in again.variables if "seed" not in v.path], strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    fresh = _trainer(tmp_path / "next")
    fresh.start_from(path)
    np.testing.assert_array_equal(fresh.learner.average[0].numpy(), trainer.learner.average[0].numpy())


def test_checkpoint_never_holds_what_is_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss is looked at before its step is kept: the run stops, the checkpoint is of before."""
    monkeypatch.setattr("dsr_inception.training.SAVE_EVERY", 0.0)
    trainer = _trainer(tmp_path, minutes=60)
    honest, steps = trainer.learner.learn, []

    def spoilt_in_the_end(*batch: Any, **options: Any) -> Any:
        figures = honest(*batch, **options)
        steps.append(figures)
        return figures * np.float32("nan" if len(steps) == 3 else 1.0)

    monkeypatch.setattr(trainer.learner, "learn", spoilt_in_the_end)
    with pytest.raises(TrainingError, match="the loss is nan at step 3"):
        trainer.run()
    again = _trainer(tmp_path)
    again.restore()
    assert 2 == again.progress.steps


def test_gradient_that_is_no_number_stops_too(tmp_path: Path) -> None:
    """The loss is of before the step; the weights after it would be none."""
    trainer = _trainer(tmp_path)
    found = np.array([1.0, 0.5, 0.5, np.inf], np.float32)
    with pytest.raises(TrainingError, match=r"gradient's norm is inf at step 7.*: a/1.png, a/2.png$"):
        trainer._figures(found, Batch(np.zeros((2, 32, 32, 3), np.uint8), np.array([1, 2])), 7, 1e-3)


def test_killed_runs_leftovers_go_when_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-written checkpoint and rows of steps that are taken again; steps rise in the log."""
    import dataclasses

    monkeypatch.setattr("dsr_inception.training.LOG_EVERY", 0.0)
    trainer = _trainer(tmp_path)
    trainer.learn(_batch(trainer))
    trainer.save()
    (tmp_path / "checkpoint.4711.npz").write_bytes(b"cut sh")
    trainer.progress.steps = 5
    trainer._log(np.ones(4, np.float32), 1.0)
    again = _trainer(tmp_path)
    again.restore()
    left = (again.progress.seconds + 2) / 60
    monkeypatch.setattr(again, "recipe", dataclasses.replace(again.recipe, minutes=left))
    again.run()
    assert ["checkpoint.npz"] == [p.name for p in tmp_path.glob("*.npz")]
    with (tmp_path / "log.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == sorted(set(steps))
    assert 2 in steps


def test_missing_or_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    """Resuming without a checkpoint, or from weights of something else, says what to do."""
    trainer = _trainer(tmp_path)
    with pytest.raises(TrainingError, match=r"cannot be resumed.*start again with `pretrain`"):
        trainer.restore()
    for damaged in (b"", b"PK\x03\x04 cut short"):
        (tmp_path / "checkpoint.npz").write_bytes(damaged)
        with pytest.raises(TrainingError, match="cannot be resumed"):
            trainer.restore()
    np.savez(tmp_path / "checkpoint.npz", w0=np.zeros(3))
    with pytest.raises(TrainingError, match="cannot be resumed"):
        trainer.restore()
    (tmp_path / "other.keras").write_bytes(b"no weights")
    with pytest.raises(TrainingError, match=r"other.keras gives no weights"):
        trainer.start_from(tmp_path / "other.keras")


def test_unmatched_targets_are_refused(tmp_path: Path) -> None:
    """Pictures, names and targets must be of one length."""
    with pytest.raises(ValueError, match="2 pictures, 1 names and 16 targets"):
        Trainer(
            recipe=rc.load_recipe(SMOKE),
            pixels=np.zeros((2, 128, 128, 3), np.uint8),
            names=["a"],
            targets=_targets(),
            folder=tmp_path,
        )


def test_rate_warms_up_falls_and_restarts() -> None:
    """Warm-up over steps, cosine over the clock, a restart where the recipe has one."""
    recipe = rc.load_recipe(SMOKE)
    assert pytest.approx(6e-3 / 5) == learning_rate(recipe, 0.0, 1, 1)
    assert pytest.approx(6e-3) == learning_rate(recipe, 0.0, 5, 5)
    assert pytest.approx(3e-3) == learning_rate(recipe, 0.7, 999, 20)
    assert pytest.approx(0.02 * 3e-3) == learning_rate(recipe, 1.0, 999, 99)
    import dataclasses

    plain = dataclasses.replace(recipe, final_learning_rate=0.0)
    assert learning_rate(plain, 0.69, 99, 99) > learning_rate(plain, 0.71, 99, 1) > 1e-3


def test_batches_raise_what_their_thread_failed_with() -> None:
    """A picture that cannot be cropped ends the training loop, not just the thread."""
    phase = rc.Phase(until=1, side=32, batch=2, degraded=0)
    batches = Batches(np.zeros((3, 5, 5), np.uint8), lambda: phase, seed=0)
    with pytest.raises(Exception, match=r".+"):
        batches.next()
    batches.close()


def test_batches_are_seeded_and_visit_everybody() -> None:
    """Same seed, same pictures with any number of threads; one pass holds every photo once."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
    phase = rc.Phase(until=1, side=32, batch=4, degraded=0.5)
    passes = []
    for workers in (1, 3):
        batches = Batches(pixels, lambda: phase, seed=3, workers=workers)
        passes.append([batches.next(), batches.next()])
        batches.close()
    assert list(range(8)) == sorted(np.concatenate([b.rows for b in passes[0]]).tolist())
    np.testing.assert_array_equal(passes[0][0].pictures, passes[1][0].pictures)


def test_processes_cut_what_threads_cut(tmp_path: Path) -> None:
    """Many workers are processes on the photos' file: the same batches in the same order; none is left."""
    drawn = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
    np.save(tmp_path / "photos.npy", drawn)
    phase = rc.Phase(until=1, side=32, batch=4, degraded=0.5)
    passes = []
    for pixels, workers in ((drawn, 1), (np.load(tmp_path / "photos.npy", mmap_mode="r"), FEW + 1)):
        batches = Batches(pixels, lambda: phase, seed=3, workers=workers)
        passes.append([batches.next() for _ in range(3)])
        batches.close()
    for one, two in zip(*passes, strict=True):
        np.testing.assert_array_equal(one.pictures, two.pictures)
        np.testing.assert_array_equal(one.rows, two.rows)
    for child in multiprocessing.active_children():
        child.join(10)
        assert child.exitcode is not None


def test_workers_end_with_a_killed_run(tmp_path: Path) -> None:
    """Kill -9 leaves no process behind that cuts for nobody."""
    np.save(tmp_path / "photos.npy", np.zeros((8, 128, 128, 3), np.uint8))
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    run = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, check=False)
    assert -signal.SIGKILL == run.returncode, run.stderr
    workers = [int(word) for word in run.stdout.split()]
    assert FEW + 1 == len(workers)
    deadline = time.monotonic() + 20
    while any(_is_running(pid) for pid in workers):
        assert time.monotonic() < deadline, f"left behind: {workers}"
        time.sleep(0.05)


KILLED = """
import multiprocessing, os, signal, sys
import numpy as np
from dsr_inception.batches import FEW, Batches
from dsr_inception.recipe import Phase
if __name__ == "__main__":
    pixels = np.load(sys.argv[1] + "/photos.npy", mmap_mode="r")
    batches = Batches(pixels, lambda: Phase(until=1, side=32, batch=4, degraded=0), seed=0, workers=FEW + 1)
    batches.next()
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _is_running(pid: int) -> bool:
    try:
        return "Z" != Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_unmoved_crop_is_the_boxes_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without jitter and degradation, training sees at 224 what ``align`` gives the box."""
    from dsr_inception import batches
    from edge_app.faces.preprocess import align, landmarks_of_aligned

    for name in ("TURN", "SCALE", "SHIFT", "CAMERA"):
        monkeypatch.setattr(batches, name, 0.0)
    photo = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    phase = rc.Phase(until=1, side=224, batch=2, degraded=0)
    wanted = align(photo, landmarks_of_aligned())
    found = {training_picture(photo, phase, np.random.default_rng(seed)).tobytes() for seed in range(8)}
    assert wanted.tobytes() in found
    assert 2 == len(found), "the crop and its mirror image"


def test_targets_are_unit_and_people_are_means() -> None:
    """Targets have length one, prototypes are their people's directions, whitening evens the axes out."""
    from dsr_inception.datasets import Photo

    rng = np.random.default_rng(0)
    raw = (rng.normal(0, 1, (60, 8)) * np.array([9, 5, 3, 2, 1, 1, 1, 1]) + 4).astype(np.float32)
    photos = [Photo(f"p{i // 6}", f"{i}") for i in range(60)]
    spreads = []
    for whiten in (0.0, 1.0):
        targets = make_targets(raw, photos, whiten=whiten)
        np.testing.assert_allclose(1, np.linalg.norm(targets.vectors, axis=1), atol=1e-5)
        spread = np.linalg.svd(targets.vectors, compute_uv=False)
        spreads.append(spread[0] / spread[-1])
    assert spreads[1] < 2 < spreads[0]
    own = targets.vectors[targets.labels == 3].sum(axis=0)
    np.testing.assert_allclose(own / np.linalg.norm(own), targets.prototypes[3], atol=1e-5)
    assert tuple(f"p{i}" for i in range(10)) == targets.people


def test_earlier_weights_are_turned_to_this_runs_targets(tmp_path: Path) -> None:
    """Embeddings of other weights come to lie as the targets do; what they say of two faces stays."""
    weights = _trainer(tmp_path / "earlier").write_weights()
    trainer = _trainer(tmp_path / "next", seed=2)
    trainer.start_from(weights)
    crops = upright_crops(trainer._pixels, np.arange(len(trainer._pixels)), 224)
    before = KerasEmbedder(keras.saving.load_model(weights)).embed(crops)
    after = KerasEmbedder(trainer.model).embed(crops)
    np.testing.assert_allclose(before @ before.T, after @ after.T, atol=1e-4)
    wanted = trainer._targets.vectors
    assert (before * wanted).sum(axis=1).mean() < 0.3 < (after * wanted).sum(axis=1).mean()


def test_targets_do_not_hang_on_the_axes_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine's linear algebra may turn principal axes over: the targets stay what they are."""
    from dsr_inception.datasets import Photo

    rng = np.random.default_rng(0)
    raw = (rng.normal(0, 1, (40, 8)) * np.array([9, 7, 5, 4, 3, 2, 1, 1]) + 4).astype(np.float32)
    photos = [Photo(f"p{i // 4}", f"{i}") for i in range(40)]
    wanted = make_targets(raw, photos, whiten=0.5)
    honest = np.linalg.svd

    def turned(*arguments: Any, **options: Any) -> Any:
        left, spread, axes = honest(*arguments, **options)
        signs = np.where(np.arange(len(axes)) % 2, -1, 1)
        return left * signs, spread, axes * signs[:, None]

    monkeypatch.setattr(np.linalg, "svd", turned)
    np.testing.assert_allclose(wanted.vectors, make_targets(raw, photos, whiten=0.5).vectors, atol=1e-5)


def test_quantised_phase_learns_too(tmp_path: Path) -> None:
    """A phase that rounds as an engine does goes on learning from where the one before it stopped."""
    import dataclasses

    phases = tuple(dataclasses.replace(p, quantised=1) for p in rc.load_recipe(SMOKE).phases)
    trainer = _trainer(tmp_path, phases=phases)
    found = [trainer.learn(_batch(trainer)) for _ in range(20)]
    assert found[-1][0] < found[0][0]


def test_gpu_recipe_starts_and_learns_on_a_small_slice(tmp_path: Path) -> None:
    """Loss, optimiser and bfloat16 on sixteen drawn pictures at 32: it learns, weights stay float32."""
    import dataclasses

    gpu = rc.load_recipe(SMOKE.parent / "gpu.yaml")
    small = tuple(dataclasses.replace(phase, side=32, batch=16) for phase in gpu.phases)
    changes = {f.name: getattr(gpu, f.name) for f in dataclasses.fields(gpu)}
    trainer = _trainer(tmp_path, **(changes | {"phases": small, "warmup_steps": 2}))
    assert trainer.learner.fast
    found = [trainer.learn(_batch(trainer)) for _ in range(12)]
    assert found[-1][0] < 0.8 * found[0][0]
    assert {"mixed_bfloat16"} == {trainer.model.get_layer("s1_f1").dtype_policy.name}
    assert {"float32"} == {str(v.dtype) for v in trainer.learner.weights}
