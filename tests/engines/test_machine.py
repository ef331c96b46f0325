from __future__ import annotations

from typing import TYPE_CHECKING

from edge_app.engines.machine import cpu_flags, find_gpu, find_l4t

if TYPE_CHECKING:
    from pathlib import Path


def test_l4t_release_is_read_where_jetpack_writes_it(tmp_path: Path) -> None:
    """The first line of ``/etc/nv_tegra_release`` of JetPack 6.2; None elsewhere."""
    path = tmp_path / "nv_tegra_release"
    path.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n")
    assert ("36.4.3", None) == (find_l4t(path), find_l4t(tmp_path / "none"))


def test_instruction_sets_are_read_on_both_architectures(tmp_path: Path) -> None:
    """x86 calls them flags, ARM features; a file that is not there has none."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert {"fpu", "avx512_bf16", "amx_bf16"} == cpu_flags(path)
    path.write_text("processor : 0\nFeatures\t: fp asimd bf16\n")
    assert {"fp", "asimd", "bf16"} == cpu_flags(path)
    assert frozenset() == cpu_flags(tmp_path / "none")


def test_gpu_is_asked_of_the_driver() -> None:
    """Where there is none, None; where there is one, its capability has the form that engines carry."""
    gpu = find_gpu()
    assert gpu is None or 2 == len(gpu.compute_capability.split("."))
