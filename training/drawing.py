"""Small charts as SVG: lines for a card, paired bars for drifts. Law: the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, EDGE = 360, 240, 40
POINTS = 400
Points = Sequence[tuple[float, float]]
Pair = tuple[str, Sequence[float], Sequence[float]]
PANEL = 120  # the height of one pair of distributions
COLOURS = ("#1f5fbf", "#b0562a", "#777777")
SIDES = COLOURS[2], COLOURS[0]


def chart(title: str, x: str, y: str, lines: dict[str, Points], most: tuple[float, float] = (1.0, 1.0)) -> bytes:
    """Lines over axes that begin at 0 and end at `most`."""
    marks = [_line(points, most, colour) for points, colour in zip(lines.values(), COLOURS, strict=False)]
    marks += [
        f'<text x="{WIDTH - EDGE}" y="{EDGE + 14 * number}" text-anchor="end" fill="{colour}">{escape(name)}</text>'
        for number, (name, colour) in enumerate(zip(lines, COLOURS, strict=False))
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            f'font-size="10" role="img" aria-label="{escape(title)}">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            f'<text x="{WIDTH / 2}" y="16" text-anchor="middle" font-size="12">{escape(title)}</text>',
            *_axes(x, y, most),
            *marks,
            "</svg>\n",
        ]
    ).encode()


def _axes(x: str, y: str, most: tuple[float, float]) -> list[str]:
    bottom, right = HEIGHT - EDGE, WIDTH - EDGE
    found = [f'<path d="M{EDGE} {EDGE - 10}V{bottom}H{right}" fill="none" stroke="#333333"/>']
    for tick in (0.0, 0.5, 1.0):
        across, up = EDGE + tick * (right - EDGE), bottom - tick * (bottom - EDGE)
        found.append(f'<text x="{across:.1f}" y="{bottom + 13}" text-anchor="middle">{tick * most[0]:.3g}</text>')
        found.append(f'<text x="{EDGE - 4}" y="{up + 3:.1f}" text-anchor="end">{tick * most[1]:.3g}</text>')
    found.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>')
    middle = HEIGHT / 2
    found.append(
        f'<text x="11" y="{middle}" text-anchor="middle" transform="rotate(-90 11 {middle})">{escape(y)}</text>'
    )
    return found


def _line(points: Points, most: tuple[float, float], colour: str) -> str:
    thin = points[:: max(1, len(points) // POINTS)]
    thin = [*thin, *points[-1:]]
    across, up = WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE
    places = [
        f"{EDGE + min(1.0, a / most[0]) * across:.1f},{HEIGHT - EDGE - min(1.0, b / most[1]) * up:.1f}"
        for a, b in thin
        if a == a and b == b
    ]
    return f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def pairs(title: str, names: tuple[str, str], drawn: Sequence[Pair]) -> bytes:
    """Two columns of panels, each a caption and two distributions over the same bins, the last bin for nulls."""
    height = EDGE + PANEL * ((len(drawn) + 1) // 2)
    legend = " ".join(
        f'<tspan fill="{colour}">■ {escape(name)}</tspan>' for name, colour in zip(names, SIDES, strict=True)
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {height}" font-family="sans-serif" '
            f'font-size="10" role="img" aria-label="{escape(title)}">',
            f'<rect width="{2 * WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="{EDGE / 2}" y="18" font-size="12">{escape(title)}</text>',
            f'<text x="{2 * WIDTH - EDGE / 2}" y="18" text-anchor="end">{legend}, nulls last</text>',
            *[_panel(place % 2 * WIDTH, EDGE + place // 2 * PANEL, one) for place, one in enumerate(drawn)],
            "</svg>\n",
        ]
    ).encode()


def _panel(left: int, top: int, pair: Pair) -> str:
    caption, *sides = pair
    most, bins = max((*sides[0], *sides[1], 1e-9)), len(sides[0])
    wide, tall, bottom = (WIDTH - EDGE) / bins, PANEL - EDGE, top + PANEL - 20
    found = [f'<text x="{left + EDGE / 2}" y="{top + 10}">{escape(caption)}</text>']
    for side, (shares, colour) in enumerate(zip(sides, SIDES, strict=True)):
        for place, share in enumerate(shares):
            x, high = left + EDGE / 2 + wide * (place + 0.08 + 0.42 * side), share / most * tall
            found.append(
                f'<rect x="{x:.1f}" y="{bottom - high:.1f}" width="{wide * 0.42:.1f}" height="{high:.1f}" '
                f'fill="{colour}"/>'
            )
    found.append(f'<path d="M{left + EDGE / 2} {bottom}h{WIDTH - EDGE}" stroke="#333333"/>')
    return "\n".join(found)
