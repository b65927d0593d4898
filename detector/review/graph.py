"""The neighbourhood of a gift, drawn in text: its rings first, then who gave to whom, two steps out."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.text import Text

from detector.explain_shapes import Edge, Graph, Node
from detector.review.told import Ink, brief, count

LONGEST_RING = 4
MOST_RINGS = 5
MOST_BRANCHES = 12
Near = Mapping[str, Sequence[Edge]]


def drawn(graph: Graph, sender: str, recipient: str, width: int, ink: Ink) -> Text:
    """The whole picture. Money flows to the right and down; red is what was held or blocked."""
    nodes = {node.id: node for node in graph.nodes}
    near = neighbours(graph.edges)
    text = Text()
    for ring in rings(graph.edges, sender, recipient):
        lines = textwrap.wrap(" → ".join(ring), max(12, width - 8), break_on_hyphens=False)
        text.append("↻ ring  ", ink.bad).append(("\n" + " " * 8).join(lines) + "\n", f"bold {ink.bad}")
    seen: set[str] = set()
    for org, role in ((sender, "sends"), (recipient, "receives")):
        if len(text):
            text.append("\n")
        text.append_text(named(org, nodes, ink, strong=True)).append(f"  {role}\n", ink.soft)
        seen.add(org)
        branches(text, org, {sender, recipient}, nodes, near, seen, width, ink)
    if graph.cut:
        text.append("\nToo wide to show whole: the largest amounts are here.\n", ink.warn)
    return text


def branches(
    text: Text, org: str, parties: set[str], nodes: Mapping[str, Node], near: Near, seen: set[str], width: int, ink: Ink
) -> None:
    """The org's neighbours as branches, and theirs as twigs, where they were not drawn before."""
    edges = sorted(near.get(org, ()), key=lambda edge: (-edge.stopped, -edge.amount))
    shown, hidden = edges[:MOST_BRANCHES], edges[MOST_BRANCHES:]
    for place, edge in enumerate(shown):
        last = place == len(shown) - 1 and not hidden
        other = edge.recipient if edge.sender == org else edge.sender
        known = other in seen
        branch(text, "└" if last else "├", edge, org, nodes, known, width, ink)
        if not known:
            seen.add(other)
            twigs = [twig for twig in near.get(other, ()) if org not in (twig.sender, twig.recipient)]
            twigs.sort(key=lambda twig: (-twig.stopped, -twig.amount))
            stem = "    " if last else "│   "
            for number, twig in enumerate(twigs[:MOST_BRANCHES]):
                end = number == min(len(twigs), MOST_BRANCHES) - 1
                far = twig.recipient if twig.sender == other else twig.sender
                branch(text, stem + ("└" if end else "├"), twig, other, nodes, far in seen, width, ink)
    if hidden:
        text.append(f"└  and {count(len(hidden), 'more neighbour')}\n", ink.soft)


def branch(
    text: Text, stem: str, edge: Edge, org: str, nodes: Mapping[str, Node], known: bool, width: int, ink: Ink
) -> None:
    """One edge: arrow, the org at its other end, and what went along it, right-aligned."""
    gives = edge.sender == org
    other = edge.recipient if gives else edge.sender
    line = Text(f"{stem}{'─▶' if gives else '◀─'} ", ink.bad if edge.stopped else ink.soft)
    figures = Text(f"×{edge.gifts:,}", ink.soft).append(f" {brief(edge.amount):>5}", ink.ink)
    figures.append(f" {edge.stopped:>2} stopped" if edge.stopped else " " * 11, ink.bad)
    room = max(6, width - line.cell_len - figures.cell_len - 1)
    name = named(other, nodes, ink, strong=False)
    if known:
        name.append(" ↑", ink.soft)
    name.truncate(room, overflow="ellipsis", pad=True)
    text.append_text(line).append_text(name).append(" ").append_text(figures).append("\n")


def named(org: str, nodes: Mapping[str, Node], ink: Ink, *, strong: bool) -> Text:
    """An org with what is known against it, or for it."""
    node = nodes.get(org)
    text = Text(org, f"bold {ink.accent}" if strong else ink.ink)
    if node is not None and node.frauds:
        text.append(f" ✗{node.frauds}", ink.bad)
    if node is not None and node.listed:
        text.append(f" {node.listed} list", ink.good if node.listed == "allow" else ink.bad)
    return text


def neighbours(edges: Sequence[Edge]) -> dict[str, list[Edge]]:
    near: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        if edge.sender != edge.recipient:
            near[edge.sender].append(edge)
            near[edge.recipient].append(edge)
    return near


def rings(edges: Sequence[Edge], *parties: str) -> list[tuple[str, ...]]:
    """Ways on which credits come back to one of the parties, the shortest first; each once."""
    gives: dict[str, list[str]] = defaultdict(list)
    for edge in sorted(edges, key=lambda one: -one.amount):
        gives[edge.sender].append(edge.recipient)
    found: dict[frozenset[str], tuple[str, ...]] = {}

    def follow(path: tuple[str, ...]) -> None:
        for following in gives.get(path[-1], ()):
            if following == path[0] and len(path) > 1:
                found.setdefault(frozenset(path), (*path, following))
            elif following not in path and len(path) < LONGEST_RING:
                follow((*path, following))

    for party in parties:
        follow((party,))
    return sorted(found.values(), key=len)[:MOST_RINGS]
