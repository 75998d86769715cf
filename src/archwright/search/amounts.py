"""Numbers as people write them: three significant digits, SI prefixes, no floats of 17 digits."""

from __future__ import annotations

import math

__all__ = ["amount", "chance", "in_unit", "number", "span"]

_PREFIXES = {
    "p": -12, "n": -9, "µ": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_SPELLED = {"u": "µ", "μ": "µ", "K": "k"}
_SCALED = ("s", "W", "J", "B", "Hz", "FLOP", "FLOPs", "OP", "V", "A")
"""Units that take prefixes; seconds only those below one."""


def amount(value: float, unit: str = "") -> str:
    """Return a value with its unit.

    >>> amount(0.0385, "s"), amount(1304.93, "W"), amount(7.65e-6, "J"), amount(2.3, "W")
    ('38.5 ms', '1.30 kW', '7.65 µJ', '2.30 W')
    >>> amount(10.602, "$/h"), amount(0.342, "$/M tokens"), amount(0.0854, "share")
    ('$10.60/h', '$0.342/M tokens', '8.54 %')
    >>> amount(192_000.0, "ns"), amount(12.8e9, "B/s"), amount(28311552.0)
    ('192 µs', '12.8 GB/s', '28,311,552')
    >>> amount(math.inf, "s"), amount(math.nan, "W"), amount(-0.5, "J")
    ('endless', 'unknown', '−500 mJ')

    Args:
        value: infinite is written as endless for seconds, NaN as unknown.
        unit: such as ``s``, ``J/token``, ``$/h``, ``%``; a share is written in percent.
    """
    if math.isnan(value):
        return "unknown"
    if value < 0:
        return f"−{amount(-value, unit)}"
    head, slash, rest = unit.partition("/")
    if math.isinf(value):
        return "endless" if _base(head)[1] == "s" and not slash else "∞"
    if head in ("$", "USD"):
        return f"{_dollars(value)}{slash}{rest}"
    if unit == "share":
        return f"{_digits(100 * value)} %"
    if unit == "%":
        return f"{value:.1f} %"
    prefix, base = _base(head)
    if base:
        scaled, prefix = _scale(value * 10.0 ** _PREFIXES[prefix], base)
        return f"{_digits(scaled)} {prefix}{base}{slash}{rest}"
    return f"{number(value)} {unit}".rstrip()


def number(value: float) -> str:
    """Return a bare number: whole ones whole, others to four significant digits.

    >>> number(12.0), number(1234567.0), number(0.33333), number(1e-7), number(2.5e15)
    ('12', '1,234,567', '0.3333', '1 × 10^−7', '2.5 × 10^15')
    """
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    sign, size = ("−" if value < 0 else ""), abs(value)
    if size and not 1e-4 <= size < 1e15:
        digits, _, power = f"{size:.3e}".partition("e")
        digits = digits.rstrip("0").rstrip(".")
        return f"{sign}{digits} × 10^{int(power)}".replace("^-", "^−")
    if size >= 1000 or size.is_integer():
        return f"{sign}{size:,.0f}"
    return f"{sign}{size:.4g}"


def span(low: float, high: float, unit: str = "", *, endless: str = "endless") -> str:
    """Return an interval, its unit once where both ends share it.

    >>> span(0.0174, 0.392, "s"), span(0.5, 1.5, "s"), span(0.567, math.inf, "s")
    ('17.4 to 392 ms', '500 ms to 1.50 s', '567 ms to endless')

    Args:
        low, high: its ends; NaN where unknown.
        unit: of both.
        endless: what an upper end without bound is called.
    """
    if math.isnan(low) or math.isnan(high):
        return "unknown"
    first, last = amount(low, unit), endless if math.isinf(high) else amount(high, unit)
    head, _, own = first.partition(" ")
    if own and not first.startswith("$") and last.endswith(f" {own}"):
        first = head
    return f"{first} to {last}"


def chance(share: float) -> str:
    """Return a chance in whole percent; near the ends what it is over or under.

    >>> chance(0.5559), chance(0.999), chance(0.001)
    ('56 %', 'over 99 %', 'under 1 %')
    """
    if math.isnan(share):
        return "unknown"
    if share > 0.995:
        return "over 99 %"
    return "under 1 %" if share < 0.005 else f"{100 * share:.0f} %"


def in_unit(value: float, unit: str) -> tuple[float, str]:
    """Return what to multiply a value by, and the unit in which people then read it.

    >>> in_unit(0.0385, "s"), in_unit(12.0, "$/h"), in_unit(7.65e-6, "J/token")
    ((1000.0, 'ms'), (1.0, '$/h'), (1000000.0, 'µJ/token'))
    """
    head, slash, rest = unit.partition("/")
    prefix, base = _base(head)
    if not base or not math.isfinite(value) or value == 0:
        return 1.0, unit
    now = _PREFIXES[prefix]
    _, best = _scale(abs(value) * 10.0**now, base)
    factor = float(f"1e{now - _PREFIXES[best]}")
    return factor, f"{best}{base}{slash}{rest}"


def _dollars(value: float) -> str:
    if value >= 10_000:
        return f"${value:,.0f}"
    if value >= 1 or value == 0:
        return f"${value:,.2f}"
    if value >= 0.001:
        return f"${value:.3f}"
    return f"${value:.2g}"


def _digits(value: float) -> str:
    """Three significant digits, with the zeros that say so; whole numbers whole."""
    if value == 0 or (value < 1000 and float(value).is_integer()):
        return f"{value:.0f}"
    if value >= 999.5:
        return f"{float(f'{value:.3g}'):,.0f}"
    if value < 1e-3:
        return number(value)
    return f"{value:#.3g}".rstrip(".")


def _base(unit: str) -> tuple[str, str]:
    """Cut a unit into prefix and base; no base where it takes no prefix."""
    if unit in _SCALED:
        return "", unit
    prefix = _SPELLED.get(unit[:1], unit[:1])
    if unit[1:] in _SCALED and prefix in _PREFIXES:
        return prefix, unit[1:]
    return "", ""


def _scale(value: float, base: str) -> tuple[float, str]:
    """Return the value at the prefix that leaves one to three digits before the point."""
    if value == 0:
        return value, ""
    power = 3 * math.floor(math.floor(math.log10(float(f"{value:.3g}"))) / 3)
    least, most = (0 if base == "B" else -12), (0 if base == "s" else 18)
    power = min(max(power, least), most)
    prefix = next(name for name, at in _PREFIXES.items() if at == power)
    return value / 10.0**power, prefix
