"""Numbers and text as a person reads them: bytes, counts, durations, and text without control characters.

Memory is in decimal units (1 GB is 10^9 bytes), as recipes and disk makers write it.
"""

import math
from typing import TypeGuard
from unicodedata import category

__all__ = [
    "ABSENT",
    "binary_count",
    "byte_unit",
    "clock",
    "figure_text",
    "human_bytes",
    "human_count",
    "human_duration",
    "human_flops_per_second",
    "is_finite",
    "plural",
    "time_unit",
    "visible_text",
]

ABSENT = "–"  # noqa: RUF001 (an en dash, for a value that there is none of)

_BYTE_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_FLOPS_UNITS = ((10**15, "PFLOP/s"), (10**12, "TFLOP/s"), (10**9, "GFLOP/s"), (10**6, "MFLOP/s"))
_COUNT_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def byte_unit(largest: float) -> tuple[int, str]:
    """Divisor and name of the unit in which `largest` bytes, the top of an axis, reads well."""
    for size, name in _BYTE_UNITS:
        if largest >= size:
            return size, name
    return 1, "bytes"


def time_unit(longest: float) -> tuple[int, str]:
    """Seconds in, and name of, the unit in which `longest` seconds, the end of an axis, read well."""
    for seconds, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if longest >= 2 * seconds:
            return seconds, name
    return 1, "seconds"


def human_bytes(number: float | None) -> str:
    """Bytes in three significant digits, such as `1.84 GB`."""
    if not is_finite(number):
        return ABSENT
    size, name = byte_unit(abs(number))
    if size < 10**12 and abs(number) / size >= 999.5:
        size, name = byte_unit(size * 1000)
    return f"{_three_digits(number / size)} {name}" if size > 1 else f"{number:.0f} {name}"


def human_count(number: float | None) -> str:
    """A count in at most three significant digits, such as `3.28M`; below 1,000 as it is."""
    if not is_finite(number):
        return ABSENT
    if abs(number) < 999.5:
        return f"{number:.0f}"
    # Rounding first lets 999,999 become 1M rather than 1000K.
    rounded = float(f"{number:.3g}")
    size, name = next(unit for unit in _COUNT_UNITS if abs(rounded) >= unit[0])
    digits = _three_digits(rounded / size)
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + name


def human_flops_per_second(number: float | None) -> str:
    """Floating-point operations a second in three significant digits, such as `12.4 TFLOP/s`."""
    if not is_finite(number):
        return ABSENT
    size, name = next((unit for unit in _FLOPS_UNITS if abs(number) >= 0.9995 * unit[0]), (1, "FLOP/s"))
    return f"{_three_digits(number / size)} {name}"


def binary_count(number: int) -> str:
    """A number of tokens as contexts are named: `64K` is 65,536; others as `human_count`."""
    for power, name in ((20, "M"), (10, "K")):
        if number >= 1 << power and number % (1 << power) == 0:
            return f"{number >> power}{name}"
    return human_count(number)


def human_duration(seconds: float | None) -> str:
    """A duration in words, such as `3 h 12 min`, in the two units that matter."""
    if not is_finite(seconds):
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {whole % 60} s"
    return f"{whole} s"


def figure_text(number: float | None, form: str = ".3f") -> str:
    """A number in its form, or the sign for an absent one."""
    return ABSENT if number is None else format(number, form)


def clock(seconds: float | None) -> str:
    """A duration as a clock shows it: `12:04`, or `1:02:33` from an hour."""
    if not is_finite(seconds):
        return ABSENT
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def visible_text(text: str) -> str:
    """`text` with the replacement sign for every control character; newlines and tabs stay.

    A model that writes bytes can write an escape sequence, or half of a surrogate pair.
    """
    return "".join(
        character if character in "\n\t" or category(character) not in ("Cc", "Cs") else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def is_finite(number: float | None) -> TypeGuard[float]:
    """Whether there is a number, and it is one that can be shown."""
    return number is not None and math.isfinite(number)


def _three_digits(number: float) -> str:
    magnitude = abs(number)
    return f"{number:.{0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2}f}"


def plural(number: int, noun: str) -> str:
    """A number with its noun, such as `1 step` or `3,000 steps`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
