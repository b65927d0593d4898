"""A trace as one SVG: a box for each grant, from the purchase on the left to where its credits are now. Pure.

Law: the same tree gives the same bytes. The bar in a box shows what became of the grant's credits, to scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from ledger.trace import Node, Tree
from ledger.trace_text import WORDS, became, clip, credits, day
from ledger.views import stamp

MOST_DRAWN = 200
BOX_W, BOX_H, GAP_X, GAP_Y = 208, 74, 44, 14
LEFT, TOP, FOOT = 20, 84, 18
LEAST_W = 860
BAR_W, BAR_H = BOX_W - 20, 9
INK, SOFT, LINE = "#222222", "#666666", "#b8b8b8"
# Distinguishable without colour vision by lightness too; the legend names them in this order.
COLOURS = {
    "unspent": "#2e8b57", "in_lock": "#e3a21a", "consumed": "#3b6fb6", "expired": "#b3b3b3", "revoked": "#b5322e",
    "gifted": "#e4eaf2", "went_back": "#8a63a8",
}  # fmt: skip


def draw(tree: Tree) -> str:
    """The whole drawing; says how many grants it left out."""
    nodes = tree.nodes[:MOST_DRAWN]
    places = place(nodes)
    width = max(LEAST_W, 2 * LEFT + max((x for x, _ in places.values()), default=0) + BOX_W)
    height = max((y for _, y in places.values()), default=TOP) + BOX_H + FOOT
    title = f"Where the credits of {tree.kind} {tree.name} came from and went"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="sans-serif" font-size="11" role="img" aria-label="{escape(title)}">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            text(LEFT, 24, title, size=15),
            text(LEFT, 42, subtitle(tree, len(nodes)), colour=SOFT),
            *legend(),
            *(edge(one, places) for one in nodes if one.parent in places),
            *(part for one in nodes for part in box(one, *places[one.id])),
            "</svg>\n",
        ]
    )


def place(nodes: list[Node]) -> dict[str, tuple[int, int]]:
    """Where each box stands: a row for each grant that nothing was cut from, the others midway beside theirs."""
    slices: dict[str | None, list[str]] = {}
    for one in nodes:
        slices.setdefault(one.parent, []).append(one.id)
    rows: dict[str, float] = {}
    leaves = [one.id for one in nodes if one.id not in slices]
    rows.update({name: float(row) for row, name in enumerate(leaves)})
    for one in reversed(nodes):
        if one.id in slices:
            rows[one.id] = (rows[slices[one.id][0]] + rows[slices[one.id][-1]]) / 2
    return {one.id: (one.depth * (BOX_W + GAP_X) + LEFT, round(TOP + rows[one.id] * (BOX_H + GAP_Y))) for one in nodes}


def subtitle(tree: Tree, drawn: int) -> str:
    left_out = len(tree.nodes) - drawn
    more = f"; {left_out} more grants are not drawn" if left_out else ""
    cut = tree.totals["not_shown"]
    beyond = f"; slices worth {credits(cut)} are not shown" if cut else ""
    taken, owed = (sum(one[name] for one in tree.revocations) for name in ("taken", "receivable"))
    revoked = f"; {credits(taken)} taken back by revocation, {credits(owed)} owed for it" if tree.revocations else ""
    return f"as of {stamp(tree.now)}, in credits{revoked}{more}{beyond}"


def legend() -> Iterator[str]:
    x = LEFT
    for name, colour in COLOURS.items():
        yield f'<rect x="{x}" y="54" width="10" height="10" fill="{colour}" stroke="{LINE}" stroke-width="0.5"/>'
        yield text(x + 15, 63, WORDS[name], colour=SOFT)
        x += 32 + 7 * len(WORDS[name])


def edge(one: Node, places: dict[str, tuple[int, int]]) -> str:
    """From a grant to a slice of it; dashed where the slice was repaid."""
    (x, y), (right, low) = places[one.parent or ""], places[one.id]
    x, y, low = x + BOX_W, y + BOX_H // 2, low + BOX_H // 2
    dashes = ' stroke-dasharray="4 3"' if one.gift and one.gift.repaid else ""
    middle = x + GAP_X // 2
    curve = f"M{x} {y}C{middle} {y} {middle} {low} {right} {low}"
    return f'<path d="{curve}" fill="none" stroke="{LINE}" stroke-width="1.5"{dashes}/>'


def box(one: Node, x: int, y: int) -> Iterator[str]:
    """Org, amount, how it came, and the bar; everything else, exactly, in the title that a pointer shows."""
    stroke = INK if one.in_focus else LINE
    yield f"<g><title>{escape(hint(one))}</title>"
    yield f'<rect x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="5" fill="#ffffff" stroke="{stroke}"/>'
    yield text(x + 10, y + 18, clip(one.org, 16), size=12, weight="bold")
    yield text(x + BOX_W - 10, y + 18, clip(credits(one.amount), 14), size=12, anchor="end")
    yield text(x + 10, y + 33, how(one), colour=SOFT, size=10)
    yield from bar(one, x + 10, y + 41)
    yield text(x + 10, y + 64, clip(became(one), 38), colour=SOFT, size=9)
    yield "</g>"


def how(one: Node) -> str:
    if one.gift is None:
        return f"{one.origin}, {day(one.at)}"
    more = f", {one.cut} slices not shown" if one.cut else ""
    return f"{'repaid' if one.gift.repaid else 'gift'}, {day(one.at)}{more}"


def hint(one: Node) -> str:
    lines = [one.id, f"of {one.org}, {credits(one.amount)} credits", became(one)]
    lines += [f"by {one.gift.transfer}"] if one.gift else []
    lines += [f"{credits(each.amount)} {each.status} for {each.recipient} by {each.transfer}" for each in one.waiting]
    return "\n".join(lines)


def bar(one: Node, x: int, y: int) -> Iterator[str]:
    """What became of the grant's credits, to scale."""
    whole = one.amount + one.came_back
    before = 0
    for name, colour in COLOURS.items():
        start, end = (round(BAR_W * share / whole, 1) for share in (before, before + one.fates[name]))
        before += one.fates[name]
        if end > start:
            yield f'<rect x="{x + start:g}" y="{y}" width="{end - start:.4g}" height="{BAR_H}" fill="{colour}"/>'
    yield f'<rect x="{x}" y="{y}" width="{BAR_W}" height="{BAR_H}" fill="none" stroke="{LINE}" stroke-width="0.6"/>'


def text(
    x: int, y: int, words: str, *, size: int = 11, colour: str = INK, anchor: str = "start", weight: str = "normal"
) -> str:
    style = f'font-size="{size}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(words)}</text>'
