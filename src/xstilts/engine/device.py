"""The device a step runs on: its precision, its memory, and its description for the record."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.metadata
import platform
import resource
import sys
from pathlib import Path
from typing import Any, Literal

import torch

from xstilts.errors import fail

Precision = Literal["auto", "fp32", "bf16"]

PACKAGES = ("xstilts", "torch", "transformers", "adapters", "peft", "accelerate", "tokenizers")
KINDS = ("auto", "cpu", "cuda", "cuda:N", "mps")
RESET_PEAK = "5"  # written to clear_refs, sets the peak of resident memory back to what is in use (man 5 proc)


def choose(asked: str) -> tuple[str, Literal["fp32", "bf16"]]:
    """Resolve a device name, and say what ``precision = "auto"`` means there.

    Args:
        asked: as the user wrote it; ``auto`` is a GPU where there is one.

    Raises:
        XstiltsError: no such device, or it cannot be used here.
    """
    if asked.partition(":")[0] not in ("auto", "cpu", "cuda", "mps"):
        raise fail("--device", "not a device that trains", asked, KINDS)
    name = asked
    if asked == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise fail("--device", f"cannot be used here ({str(error).splitlines()[0]})", asked, KINDS) from error
    return name, "bf16" if name.startswith("cuda") and torch.cuda.is_bf16_supported() else "fp32"


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Run matrix products in bf16, or change nothing; ``auto`` is bf16 where a GPU has it."""
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def reset_peak_memory(device: torch.device) -> None:
    """Start measuring the peak anew, after giving back what earlier steps of the process only kept."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError, AttributeError):  # glibc's: it keeps freed buffers of hundreds of shapes
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):  # no Linux, or not allowed: the peak is then that of the whole process
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)


def peak_memory(device: torch.device) -> int:
    """Peak since the reset in bytes: allocated on a GPU; resident in the process, libraries included, on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, device and number of threads."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "python": platform.python_version(),
        **versions,
        "device": f"{device.type}: {name}",
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }
