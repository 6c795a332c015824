"""Amounts of memory: what is free, what this process holds, how amounts are written and read."""

import re
from contextlib import suppress
from pathlib import Path

from gat.errors import InputError

__all__ = ["available", "field", "gib", "parse_bytes", "resident"]

UNITS = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}


def gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


def parse_bytes(text: str) -> int:
    """Bytes of an amount as people write it: "16GiB", "800 MB", "1.5e9".

    kB, MB, GB and TB count in thousands, KiB, MiB, GiB and TiB in 1024s, a plain number in bytes.
    Raises InputError for anything else, and for less than one byte.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*(?:e\d+)?)\s*([a-z]*)\s*", text.lower())
    unit = UNITS.get(match[2]) if match else None
    # The limit keeps an exponent from becoming infinity.
    if match is None or unit is None or not 1 <= float(match[1]) * unit < 2**63:
        raise InputError(
            f"expected an amount of memory such as '16GiB', '800MB' or a number of bytes, got "
            f"{text!r}"
        )
    return int(float(match[1]) * unit)


def available() -> int | None:
    """What can still be taken without swapping; None where the system does not tell."""
    free = field("/proc/meminfo", "MemAvailable:")
    # A container's own limit; files it has read count as used there, and can be dropped.
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        used -= field(str(group / "memory.stat"), "inactive_file ", 1) or 0
        free = limit - used if free is None else min(free, limit - used)
    return free


def resident() -> int:
    """Bytes this process holds in memory now."""
    held = field("/proc/self/status", "VmRSS:")
    if held is not None:
        return held
    import psutil

    return int(psutil.Process().memory_info().rss)


def field(path: str, start: str, unit: int = 1024) -> int | None:
    """The number on the line that starts so, in a file of "name: number kB" lines."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * unit for line in lines if line.startswith(start)), None)
