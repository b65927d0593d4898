"""Bars as SVG: paired distributions for drifts, ranks for a card. Law: the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from training.drawing import COLOURS, INK, WIDTH

EDGE = 40
PANEL = 120  # the height of one pair of distributions
ROW = 16  # the height of one ranked bar
NAMES = 170  # the width of their names
SIDES = COLOURS[2], COLOURS[0]
Pair = tuple[str, Sequence[float], Sequence[float]]


def ranks(title: str, sizes: Sequence[tuple[str, float]]) -> bytes:
    """Names with their sizes, as bars, in the order given."""
    height, most = EDGE + ROW * len(sizes), max((size for _, size in sizes), default=1.0) or 1.0
    found = []
    for row, (name, size) in enumerate(sizes):
        top, wide = 28 + ROW * row, size / most * (WIDTH - NAMES - 60)
        found += [
            f'<text x="{NAMES - 6}" y="{top + 10}" text-anchor="end" fill="{INK}">{escape(name)}</text>',
            f'<rect x="{NAMES}" y="{top + 2}" width="{wide:.1f}" height="{ROW - 5}" fill="{COLOURS[0]}"/>',
            f'<text x="{NAMES + wide + 5:.1f}" y="{top + 10}" fill="{INK}">{size:.3f}</text>',
        ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'font-family="sans-serif" font-size="10" role="img" aria-label="{escape(title)}">',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="12" y="18" font-size="13" fill="{INK}">{escape(title)}</text>',
            *found,
            "</svg>\n",
        ]
    ).encode()


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
    found.append(f'<path d="M{left + EDGE / 2} {bottom}h{WIDTH - EDGE}" stroke="{INK}"/>')
    return "\n".join(found)
