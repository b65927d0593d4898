"""Artifacts as people and programs read them."""

from __future__ import annotations

from typing import Any

from training.shelf import Piece

HEADLINES = ("average_precision", "recall_at_0.5%", "precision_at_0.5%", "roc_auc")
Shadow = dict[str, Any] | None


def shape(piece: Piece) -> dict[str, Any]:
    """One artifact as data."""
    found: dict[str, Any] = {
        "name": piece.name,
        "sha256": piece.sha256 or None,
        "roles": list(piece.roles),
        "path": str(piece.path) if piece.path else None,
        "in_database": piece.kept,
        "loadable": piece.model is not None,
        "refused": piece.refused,
    }
    if piece.model is not None:
        manifest = piece.model.manifest
        found |= {
            "trained_from": manifest.window.start.isoformat(),
            "trained_until": manifest.window.end.isoformat(),
            "as_of": manifest.parameters.get("as_of"),
            "labels": manifest.labels,
            "thresholds": piece.model.thresholds,
            "figures": headlines(piece),
        }
    return found


def headlines(piece: Piece) -> dict[str, float]:
    figures = piece.model.manifest.figures if piece.model else {}
    return {name: figures[name]["value"] for name in HEADLINES if isinstance(figures.get(name), dict)}


def number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"


def table(pieces: list[Piece], shadows: dict[str, dict[str, Any]]) -> str:
    """One line each."""
    if not pieces:
        return "there is no artifact yet: lockgate train makes one"
    rows = [
        ("name", "sha256", "role", "where", "trained until", "avg precision", "recall at 0.5%", "loadable", "shadow")
    ]
    for piece in pieces:
        figures, model = headlines(piece), piece.model
        where = [*(["disk"] if piece.path else []), *(["database"] if piece.kept else [])]
        rows.append(
            (
                piece.name,
                piece.sha256[:12],
                ", ".join(piece.roles),
                "+".join(where),
                f"{model.manifest.window.end:%Y-%m-%d}" if model else "",
                number(figures.get("average_precision")),
                number(figures.get("recall_at_0.5%")),
                "yes" if model else f"no: {piece.refused}",
                agreement(shadows.get(piece.sha256)),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def agreement(shadow: Shadow) -> str:
    """A challenger's record on one line."""
    if not shadow:
        return ""
    mix = ", ".join(f"{count:,} {verdict}" for verdict, count in shadow["verdicts"].items())
    text = f"{shadow['decisions']:,} decisions: {mix}; {shadow['changed']:,} changed"
    text += f" ({shadow['stopped']:,} stopped, {shadow['freed']:,} let through)"
    return text + (f"; {shadow['faults']:,} faults, such as {shadow['a_fault']!r}" if shadow["faults"] else "")


def card(piece: Piece, shadow: Shadow) -> None:
    """The card on the terminal."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(piece.card()))
    console.print(f"sha256   {piece.sha256}", highlight=False)
    console.print(f"role     {', '.join(piece.roles) or 'none'}", highlight=False)
    console.print(f"loads    {'yes' if piece.model else f'no: {piece.refused}'}", highlight=False)
    if shadow:
        console.print(f"shadow   {agreement(shadow)}", highlight=False)
    figures = sorted((piece.path / "figures").glob("*")) if piece.path else []
    for path in figures:
        console.print(f"figure   {path}", highlight=False, soft_wrap=True)


def difference(one: Piece, other: Piece) -> dict[str, Any]:
    """What differs, field by field: [of the first, of the second]."""
    sides = [flat(piece) for piece in (one, other)]
    fields = {
        name: [side.get(name) for side in sides]
        for name in dict.fromkeys([*sides[0], *sides[1]])
        if sides[0].get(name) != sides[1].get(name)
    }
    figures = [headlines(piece) for piece in (one, other)]
    both = {name: [side.get(name) for side in figures] for name in HEADLINES if any(name in side for side in figures)}
    return {"one": one.name, "other": other.name, "changed": fields, "figures": both, "verdicts": None}


def flat(piece: Piece) -> dict[str, Any]:
    """An artifact as names and plain values."""
    model = piece.loaded()
    manifest = model.manifest
    found: dict[str, Any] = {
        "sha256": piece.sha256,
        "created at": manifest.created_at.isoformat(),
        "feature table": manifest.feature_table_hash,
        "features": len(manifest.features),
        "window from": manifest.window.start.isoformat(),
        "window to": manifest.window.end.isoformat(),
        "kind": "boosted trees" if model.trees else "surprises",
    }
    parts: dict[str, dict[str, Any]] = {
        "labels": manifest.labels,
        "threshold": model.thresholds,
        "parameter": manifest.parameters,
    }
    for part, values in parts.items():
        found |= {f"{part} {name}": value for name, value in values.items()}
    return found


def compared(shape: dict[str, Any]) -> str:
    """A difference side by side."""
    rows = [("", shape["one"], shape["other"])]
    rows += [(name, *map(short, pair)) for name, pair in shape["changed"].items()]
    rows += [(name.replace("_", " "), *map(number, pair)) for name, pair in shape["figures"].items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    if told := shape["verdicts"]:
        lines.append(f"{told['changed']:,} of {told['gifts']:,} verdicts change")
        lines += [f"  {move}: {count:,}" for move, count in told["moves"].items()]
    return "\n".join(lines)


def short(value: Any) -> str:
    text = "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
    return text if len(text) <= 32 else f"{text[:31]}…"
