"""The card as Markdown, from its JSON. Law: what is not known is a dash; a weakness that the numbers show is said."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]
CREDIT = 1_000_000
# A typology of which less than this share is held is named as a weakness, as is a week that falls so far.
WEAK, FALLS = 0.5, 0.15
FEW = 300
# Kinds that are no typology: a fraud among them is an error of its label.
NO_KIND = ("none named", "honest", "normal")

SAID = {
    "recall": "frauds held or blocked",
    "recall_blocked": "frauds blocked",
    "loss_prevented": "fraud credits held or blocked",
    "precision": "frauds among what is held or blocked",
    "good_held": "good gifts held or blocked",
    "good_blocked": "good gifts blocked",
    "recall_at_budget": "frauds found by the cases a day",
    "precision_at_0.5%": "frauds among the top 0.5 % of gifts",
    "recall_at_0.5%": "frauds found in the top 0.5 % of gifts",
    "precision_at_1.0%": "frauds among the top 1 % of gifts",
    "recall_at_1.0%": "frauds found in the top 1 % of gifts",
}


def markdown(shape: Shape) -> str:
    parts = [_summary(shape), _purpose(shape), _data(shape), _thresholds(shape), _figures(shape), _typologies(shape)]
    parts += [_weeks(shape), _weaknesses(shape), _features(shape)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _summary(shape: Shape) -> list[str]:
    every, held, at = shape["held"]["all"], shape["held"], shape["thresholds"]
    chosen = next((row for row in shape["choices"] if row["why"] == "chosen"), None)
    lines = [f"# {shape['name']}", "", f"Made {_when(shape['created_at'])}: {shape['kind']}.", ""]
    if every["frauds"]:
        prevented, lost = held["prevented_microcredits"], held["fraud_microcredits"]
        lines += [
            f"* **Fraud stopped**: {_share(every['loss_prevented'])} of its credits "
            f"({prevented / CREDIT:,.0f} of {lost / CREDIT:,.0f} in {held['days']:g} days) "
            f"and {_share(every['recall'])} of its gifts would have been held or blocked.",
            f"* **Customers delayed**: {_share(every['good_held'], 2)} of good gifts; blocked: "
            f"{_share(every['good_blocked'], 3)}.",
        ]
    else:
        lines.append("* **Fraud stopped**: nobody knows; the slice has no known fraud.")
        lines.append(f"* **Customers delayed**: {_share(every['good_held'], 2)} of gifts.")
    if chosen:
        lines.append(f"* **Work**: {chosen['cases_a_day']:.1f} cases a day, {_one(every['precision'])} of them frauds.")
    lines += [f"* **{verdict.capitalize()}** from a score of {score:.6f}." for verdict, score in at.items()]
    never = [word for word in ("hold", "block") if word not in at]
    why = "too few good gifts, or no room, to say where" if shape["labels"]["fraud"] else "without labels"
    lines += [f"* It never says {word}: {why}." for word in never]
    return [*lines, "", "A score is 0 to 1, high = more suspicious. Brackets are 95 % intervals."]


def _purpose(shape: Shape) -> list[str]:
    return [
        "## What it is for, and what it is not for",
        "* For: ranking gifts of prepaid credit between customers, when they are sent and again when they settle, to "
        "choose which wait for an analyst" + (" and which are blocked." if "block" in shape["thresholds"] else "."),
        "* Not for: judging a person, closing an account, or any decision without a way to appeal; payments of another "
        "platform; gifts unlike those of its window.",
        "* Limits and rules judge beside it: the most severe verdict wins.",
    ]


def _data(shape: Shape) -> list[str]:
    window, labels, parameters = shape["window"], shape["labels"], shape["parameters"]
    return [
        "## What it learned from",
        f"* Gifts of {_when(window['from'])} to {_when(window['to'])}, and of their labels those known by "
        f"{_when(parameters['as_of'])}.",
        f"* {labels['fraud']:,} known frauds, {labels['good']:,} gifts cleared, {labels['presumed_good']:,} that "
        "nobody called fraud and that count as good.",
        f"* Tried on the gifts from {_when(parameters['held_from'])} on, scored by {shape['held']['held_scored_by']}.",
    ]


def _thresholds(shape: Shape) -> list[str]:
    if not shape["choices"]:
        return []
    costly = any("cost_a_day" in row for row in shape["choices"])
    head = ["hold from", "asked", "cases a day", "good held", "frauds held", "fraud credits held", "frauds among cases"]
    lines = ["## Thresholds, and what each would give", *_table([*head, *(["cost a day"] if costly else [])])]
    for row in shape["choices"]:
        cells = [f"{row['hold']:.6f}", row["why"], f"{row['cases_a_day']:.1f}", _percent(row["good_held"], 2)]
        cells += [_percent(row[name]) for name in ("recall", "loss_prevented", "precision")]
        cells += [f"{row['cost_a_day'] / CREDIT:,.0f}"] if costly else []
        lines.append("| " + " | ".join(cells) + " |")
    stated = shape["parameters"]
    if costly:
        lines += [
            "",
            f"Cost: credits of good gifts delayed, and {stated['missed_cost']:g} times those of fraud let go.",
        ]
    if stated.get("cases_a_day") is not None:
        lines += ["", f"Analysts have time for {stated['cases_a_day']:g} cases a day."]
    return lines


def _figures(shape: Shape) -> list[str]:
    every, fresh = shape["held"]["all"], shape["held"]["senders_not_known"]
    names = [name for name, figure in every.items() if isinstance(figure, dict)]
    lines = ["## On gifts it had not seen", *_table(["", "all senders", "senders not known as compromised"])]
    lines.append(f"| gifts, of them frauds | {_counts(every)} | {_counts(fresh)} |")
    for name in names:
        shown = (_shown(name, figures[name]) for figures in (every, fresh))
        lines.append("| " + " | ".join([SAID.get(name, name.replace("_", " ")), *shown]) + " |")
    held = shape["held"]
    top, most = held["precision_at_100_senders_a_day"], held["precision_at_100_senders_a_day_at_most"]
    lines.append(f"| precision at 100 senders a day, of the most there can be | | {_share(top)} of {_percent(most)} |")
    plain = held["isolation_forest_average_precision"]
    lines.append(f"| IsolationForest's average precision, to compare | {_number(plain)} | |")
    lines += [
        "",
        "At 100 senders a day: the highest scores of each day; who is caught, or becomes known by a label of the last "
        "fortnight or since, is left out from the next day on.",
    ]
    return [*lines, "", *(f"![{name.removesuffix('.svg')}](figures/{name})" for name in shape["pictures"])]


def _typologies(shape: Shape) -> list[str]:
    unseen = {one["kind"]: one["recall"] for one in shape["unseen_typologies"]}
    if not shape["typologies"]:
        return []
    head = ["typology", "gifts", "known frauds", "held or blocked", "their credits", "good ones held"]
    lines = ["## By typology", *_table([*head, *(["held if never labelled"] if unseen else [])])]
    for one in shape["typologies"]:
        cells = [one["kind"], f"{one['gifts']:,}", f"{one['frauds']:,}", _share(one["recall"])]
        cells += [_percent(one["loss_prevented"]), _share(one["good_held"])]
        cells += [_share(unseen[one["kind"]]) if one["kind"] in unseen else "–"] if unseen else []
        lines.append("| " + " | ".join(cells) + " |")
    if unseen:
        lines += [
            "",
            "Never labelled: by a model that learned without that typology, at the asked share of good gifts.",
        ]
    return lines


def _weeks(shape: Shape) -> list[str]:
    head = ["week", "gifts", "frauds", "average precision", "frauds held", "fraud credits held"]
    lines = ["## By week", *_table([*head, "good held", "good blocked", "median score"])]
    for week in shape["weeks"]:
        cells = [str(week["week"]), f"{week['gifts']:,}", f"{week['frauds']:,}", _number(week["average_precision"])]
        cells += [_percent(week["recall"]), _percent(week["loss_prevented"]), _percent(week["good_held"], 2)]
        lines.append(
            "| " + " | ".join([*cells, _percent(week["good_blocked"], 3), f"{week['median_score']:.5f}"]) + " |"
        )
    return lines


def _weaknesses(shape: Shape) -> list[str]:
    return ["## Known weaknesses", *(f"* {fault}" for fault in weaknesses(shape))]


def weaknesses(shape: Shape) -> list[str]:
    """What a careful reader would hold against the model, from its own numbers."""
    every, labels = shape["held"]["all"], shape["labels"]
    found = []
    if shape["parameters"]["simulated"]:
        found.append("Learned from a simulated platform: none of these figures says anything of yours.")
    if not labels["fraud"]:
        found.append(
            "No label taught it: it sees gifts out of proportion, takeovers and chains. Abuse of ordinary size at a "
            "compromised recipient it cannot see until labels of gifts to that recipient come in."
        )
    if every["frauds"] < FEW:
        found.append(f"Only {every['frauds']:,} known frauds to judge it by: read the intervals, not the figures.")
    if labels["presumed_good"] > labels["good"]:
        found.append("Most good gifts are only presumed good: frauds that nobody reported count as false holds.")
    for one in shape["typologies"]:
        if one["kind"] not in NO_KIND and one["frauds"] and one["recall"]["value"] < WEAK:
            found.append(f"Of {one['kind']} it stops {_share(one['recall'])}.")
    missed = [one["kind"] for one in shape["unseen_typologies"] if one["recall"]["value"] < WEAK / 2]
    if missed:
        found.append(f"Had they never been labelled, it would miss most frauds of {', '.join(missed)}.")
    precisions = [one["average_precision"] for one in shape["weeks"] if one["frauds"]]
    if precisions and max(precisions) - min(precisions) > FALLS:
        found.append(f"Average precision is {min(precisions):.2f} in one week and {max(precisions):.2f} in another.")
    off = [one for one in shape["calibration"] if not one["fraud"]["low"] <= one["mean_score"] <= one["fraud"]["high"]]
    if off and every["frauds"]:
        found.append(f"In {len(off)} of {len(shape['calibration'])} parts by score, the score is not what came true.")
    return [
        *found,
        "What was asked of good gifts holds on average while gifts are like those of the window; single weeks stray.",
        "What was never labelled was not learned: an unknown kind of fraud may pass.",
    ]


def _features(shape: Shape) -> list[str]:
    made = ", ".join(f"{name.replace('_', '-')} {version}" for name, version in shape["libraries"].items())
    lines = ["## What moves the score", *_table(["feature", "mean size of what it adds to the logit"])]
    lines += [f"| {name} | {size:.3f} |" for name, size in shape["importance"].items()]
    return [*lines, "", f"Made with {made}."]


def _table(heads: list[str]) -> list[str]:
    return ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]


def _when(text: str) -> str:
    """Whole minutes in UTC."""
    return text[:16].replace("T", " ")


def _counts(figures: Shape) -> str:
    return f"{figures['gifts']:,}, {figures['frauds']:,}"


def _one(figure: Shape) -> str:
    return _percent(figure["value"])


def _share(figure: Shape, places: int = 1) -> str:
    if figure["value"] != figure["value"]:
        return "–"
    low, high = (_percent(figure[end], places) for end in ("low", "high"))
    return f"{_percent(figure['value'], places)} [{low}, {high}]"


def _shown(name: str, figure: Shape) -> str:
    """A share as a percentage, the small ones of good gifts with more places; any other figure as it is."""
    return _share(figure, 3 if name.startswith("good") else 1) if name in SAID else _interval(figure)


def _interval(figure: Shape) -> str:
    return f"{_number(figure['value'])} [{_number(figure['low'])}, {_number(figure['high'])}]"


def _percent(number: float, places: int = 1) -> str:
    return f"{number:.{places}%}" if number == number else "–"


def _number(number: float) -> str:
    return f"{number:.3f}" if number == number else "–"
