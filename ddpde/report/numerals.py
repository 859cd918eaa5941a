"""Numbers as a paper prints them: digits that the error allows, powers of ten spelled out."""

from __future__ import annotations

import math
import re
from typing import TypeGuard

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MISSING = "—"


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a number at all: null and nan mean 'not measured'."""
    return value is not None and math.isfinite(value)


def power(exponent: int) -> str:
    """10ⁿ."""
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def grouped(count: int) -> str:
    """12 800: thousands apart by narrow no-break spaces."""
    return f"{count:,}".replace(",", "\u202f") if abs(count) >= 10000 else str(count)


def sig(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits; powers of ten outside 1e-3 … 1e5."""
    if not known(value):
        return MISSING
    if abs(value) < 1e-200:  # a denormal number is a zero that was not rounded
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if -3 <= int(exponent) < 5:
        text = f"{value:.{max(digits - 1 - int(exponent), 0)}f}"
    else:
        text = f"{mantissa}\u00a0×\u00a0{power(int(exponent))}"
    return text.replace("-", "−")


def short(value: float | None) -> str:
    """A given number (a time, a parameter) without needless digits."""
    if not known(value):
        return MISSING
    text = f"{value + 0.0:.6g}"  # no −0
    if "e" in text:
        mantissa, exponent = text.split("e")
        ten = power(int(exponent))
        text = ten if mantissa == "1" else f"{mantissa}\u00a0×\u00a0{ten}"
    return text.replace("-", "−")


def pm(value: float | None, error: float | None, *, signed: bool = False) -> str:
    """Value ± error, the error to two digits and the value to the same place."""
    if not known(value):
        return MISSING
    if not known(error) or not error or error < 1e-12 * abs(value):
        text = sig(value, 6 if not known(error) else 9)  # exact: as many digits as one likes
        return f"+{text}" if signed and value > 0 else text
    place = math.floor(math.log10(error))
    if float(f"{error / 10.0**place:.1f}") >= 10:
        place += 1
    size = max(abs(value), error)
    sign = "+" if signed else ""
    if 1e-3 <= size < 1e5:
        decimals = min(max(1 - place, 0), 12)
        spread = f"{error:.{decimals}f}" if place >= -6 else sig(error, 2)
        return _minus(f"{value:{sign}.{decimals}f}") + f"\u00a0±\u00a0{spread}"
    exponent = math.floor(math.log10(size))
    scale = 10.0**exponent
    decimals = min(max(1 - place + exponent, 0), 12)
    inner = f"{value / scale:{sign}.{decimals}f}\u00a0±\u00a0{error / scale:.{decimals}f}"
    return f"({_minus(inner)})\u00a0×\u00a0{power(exponent)}"


def fixed(value: float | None, decimals: int) -> str:
    """So many decimal places."""
    return _minus(f"{value:.{decimals}f}") if known(value) else MISSING


def _minus(text: str) -> str:
    """True minus signs, and no minus before a zero."""
    if text.startswith("-") and not text.strip("-0."):
        text = text[1:]
    return text.replace("-", "−")


def listed(items: list[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def counted(count: int, noun: str) -> str:
    """1 check, 2 checks."""
    return f"{grouped(count)} {noun}{'' if count == 1 else 's'}"


def spelled(count: int) -> str:
    """Small numbers as words, as in running text."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[count] if 0 <= count < len(words) else grouped(count)


def proper(text: str) -> str:
    """A sentence with numbers like 1.2e-05 in it, with powers of ten and minus signs."""

    def written(match: re.Match[str]) -> str:
        sign = "+" if match[0].startswith("+") else ""
        return sign + sig(float(match[0]), len(match[1].replace(".", "").lstrip("+-")))

    text = re.sub(r"(?<![\w.])([+-]?\d+(?:\.\d+)?)e[+-]?\d+", written, text)
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)


def tied(text: str) -> str:
    """Running text in which t = 5 or 95 % are not torn apart at the end of a line."""
    text = re.sub(r"(?<!\w)(\w|\|\w\|) (=|→|<) (?=\S)", "\\1\u00a0\\2\u00a0", text)
    return re.sub(r"(?<=\d) %", "\u00a0%", text)
