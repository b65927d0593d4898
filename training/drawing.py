"""Small charts as SVG, for a card. Law: the same numbers give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 270
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 52, 44
POINTS = 400
Points = Sequence[tuple[float, float]]
COLOURS = ("#1f5fbf", "#b0562a", "#777777")
INK, GRID = "#333333", "#e4e4e4"


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale with its name and the places of its marks; `log` where it goes by factors."""

    name: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def share(self, value: float) -> float:
        """0 at the low end and 1 at the high one, no further."""
        if self.log:
            value, low, high = (math.log(max(each, self.low)) for each in (value, self.low, self.high))
        else:
            low, high = self.low, self.high
        return min(1.0, max(0.0, (value - low) / (high - low)))


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one name; with `bars` a low and a high end of each, as intervals."""

    name: str
    points: Points
    bars: Points = ()
    dashed: bool = False
    dots: bool = False


def linear(name: str, high: float, *, percent: bool = False, low: float = 0.0) -> Axis:
    """An axis of four or five round steps from `low` up to at least `high`."""
    rough = max(high - low, 1e-9) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * each for each in (1, 2, 2.5, 5, 10) if size * each >= rough * 0.999)
    count = math.ceil((high - low) / step - 1e-9) or 1
    ticks = [low + step * number for number in range(count + 1)]
    return Axis(name, low, ticks[-1], [(at, f"{at * 100:.4g}%" if percent else f"{at:.4g}") for at in ticks])


def decades(name: str, least: int) -> Axis:
    """An axis by factors of ten from 10^least to 1."""
    return Axis(name, 10.0**least, 1.0, [(10.0**each, f"{10.0**each:.6g}") for each in range(least, 1)], log=True)


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series], marks: Sequence[tuple[float, str]] = ()) -> bytes:
    """Series over two axes; `marks` are upright lines with a word, such as thresholds."""
    drawn = [part for one, colour in zip(series, COLOURS, strict=False) for part in _series(one, x, y, colour)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" font-family="sans-serif" font-size="10" role="img" aria-label="{escape(title)}">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            f'<text x="{LEFT}" y="18" font-size="13" fill="{INK}">{escape(title)}</text>',
            *_axes(x, y),
            *(_mark(_across(x, at), word, row) for row, (at, word) in enumerate(marks)),
            *drawn,
            *_legend(series),
            "</svg>\n",
        ]
    ).encode()


def _across(x: Axis, value: float) -> float:
    return LEFT + x.share(value) * (WIDTH - LEFT - RIGHT)


def _up(y: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM)


def _axes(x: Axis, y: Axis) -> list[str]:
    found = []
    for at, word in y.ticks:
        up = _up(y, at)
        found.append(f'<path d="M{LEFT} {up:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        found.append(f'<text x="{LEFT - 5}" y="{up + 3:.1f}" text-anchor="end" fill="{INK}">{word}</text>')
    for at, word in x.ticks:
        place = f'x="{_across(x, at):.1f}" y="{HEIGHT - BOTTOM + 14}"'
        found.append(f'<text {place} text-anchor="middle" fill="{INK}">{word}</text>')
    middle, across = (TOP + HEIGHT - BOTTOM) / 2, (LEFT + WIDTH - RIGHT) / 2
    return [
        *found,
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="{INK}"/>',
        f'<text x="{across}" y="{HEIGHT - 10}" text-anchor="middle" fill="{INK}">{escape(x.name)}</text>',
        f'<text x="12" y="{middle}" text-anchor="middle" fill="{INK}" transform="rotate(-90 12 {middle})">'
        f"{escape(y.name)}</text>",
    ]


def _legend(series: Sequence[Series]) -> list[str]:
    """One line under the title, so that no name lies upon the points."""
    found, at = [], float(LEFT)
    for one, colour in zip(series, COLOURS, strict=False):
        if not one.name:
            continue
        dash = ' stroke-dasharray="4 3"' if one.dashed else ""
        found.append(f'<path d="M{at:.0f} 33h16" stroke="{colour}" stroke-width="2"{dash}/>')
        found.append(f'<text x="{at + 20:.0f}" y="36" fill="{INK}">{escape(one.name)}</text>')
        at += 34 + 5.6 * len(one.name)
    return found


def _mark(across: float, word: str, row: int) -> str:
    end = across > WIDTH - RIGHT - 60
    place = f'x="{across + (-4 if end else 4):.1f}" y="{TOP + 9 + 12 * row}" text-anchor="{"end" if end else "start"}"'
    return (
        f'<path d="M{across:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{INK}" stroke-dasharray="2 3"/>'
        f'<text {place} fill="{INK}">{escape(word)}</text>'
    )


def _series(one: Series, x: Axis, y: Axis, colour: str) -> list[str]:
    thin = one.points[:: max(1, len(one.points) // POINTS)]
    thin = [*thin, *one.points[-1:]] if len(thin) < len(one.points) else thin
    places = [f"{_across(x, a):.1f},{_up(y, b):.1f}" for a, b in thin if a == a and b == b]
    dash = ' stroke-dasharray="4 3"' if one.dashed else ""
    found = [f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>']
    for (at, _), (low, high) in zip(one.points, one.bars, strict=False):
        if low == low and high == high:
            found.append(f'<path d="M{_across(x, at):.1f} {_up(y, low):.1f}V{_up(y, high):.1f}" stroke="{colour}"/>')
    if one.dots:
        found += [
            f'<circle cx="{place.split(",")[0]}" cy="{place.split(",")[1]}" r="2.5" fill="{colour}"/>'
            for place in places
        ]
    return found
