"""Every feature of a history by an oracle that is slow and obviously right: each straight from its description."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import takewhile

from detector.feature_table import CROWD, TABLE

SECOND = 1_000_000
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
MONTH = 30 * DAY
WINDOWS = {"1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": MONTH}
PARTIES = ("sender", "recipient")
KEYS = ("ip", "device", "fingerprint")
Value = int | float | None


@dataclass(frozen=True)
class Gift:
    at: int
    sender: str
    recipient: str
    amount: int
    fraud: bool | None = None
    label_at: int | None = None
    sender_available: int | None = None
    verdict: str | None = None
    ip: str | None = None
    device: str | None = None
    fingerprint: str | None = None
    sender_age_s: int | None = None
    recipient_age_s: int | None = None
    identity: str | None = None
    topup_age_s: int | None = None
    same_owner: bool | None = None
    promo_amount: int | None = None
    young_amount: int | None = None

    @property
    def taught(self) -> bool:
        return self.verdict in (None, "approve")

    @property
    def known_at(self) -> float:
        """When its label is known; never, without one."""
        return float("inf") if self.fraud is None or self.label_at is None else max(self.label_at, self.at)


class Oracle:
    """Every feature of every gift, straight from the descriptions in the table."""

    def __init__(self, gifts: list[Gift], labelled: bool = True) -> None:
        self.gifts, self.labelled = gifts, labelled
        self.short = cache(self.short_list)
        self.ancestors = cache(self.ancestor_list)
        self.hops = cache(self.longest_chain)
        self.fresh = cache(lambda i: not self.earlier(i, MONTH, self.pair_of(i)))
        self.excess: dict[bool, list[int]] = {False: [], True: []}
        self.vectors = [self.vector(i) for i in range(len(gifts))]

    def pair_of(self, i: int) -> dict[str, str]:
        return {"sender": self.gifts[i].sender, "recipient": self.gifts[i].recipient}

    def earlier(self, i: int, span: int, parties: dict[str, str], tried: bool = False) -> list[int]:
        """Earlier gifts of these parties in the window before gift i, that taught or (`tried`) not."""
        floor = self.gifts[i].at - span
        of = [j for j in range(i) if all(getattr(self.gifts[j], role) == org for role, org in parties.items())]
        of = [j for j in of if tried or self.gifts[j].taught]
        return [j for j in of if self.gifts[j].at > floor]

    def seconds(self, i: int, js: list[int]) -> int | None:
        return (self.gifts[i].at - self.gifts[js[-1]].at) // SECOND if js else None

    def vector(self, i: int) -> dict[str, Value]:
        gift = self.gifts[i]
        found = self.facts(gift)
        for source, role, org, other in (
            ("sender", "sender", gift.sender, "recipient"),
            ("sender_received", "recipient", gift.sender, "sender"),
            ("recipient", "recipient", gift.recipient, "sender"),
            ("recipient_sent", "sender", gift.recipient, "recipient"),
        ):
            found |= self.activity(i, source, {role: org}, other)
            found |= self.labels(i, source, role, org)
        pair = self.earlier(i, MONTH, self.pair_of(i))
        found |= {"pair_count_30d": min(len(pair), 32), "pair_gap_s": self.seconds(i, pair)}
        found |= self.habit(i, "sender_habit", False) | self.habit(i, "sender_clean", self.labelled)
        found |= self.marks(i) | self.graph(i)
        found |= self.tried(i, "sender", "recipient") | self.tried(i, "recipient", "sender")
        for key in KEYS:
            found |= self.context(i, key)
        return found | ratios(found)

    def facts(self, gift: Gift) -> dict[str, Value]:
        amount = min(gift.amount, 10**15)
        powers = [10**power for power in range(17)]
        marks = [one for power in powers for one in (power, 2 * power, 2.5 * power, 5 * power) if one == int(one)]
        over = int(min(mark for mark in marks if mark >= amount))
        said = ("amount", "sender_available", "sender_age_s", "recipient_age_s", "topup_age_s")
        return {
            **{name: getattr(gift, name) for name in (*said, "promo_amount", "young_amount")},
            "amount_digits": len(str(amount).rstrip("0")),
            "amount_under": (over - amount) * 1000 // over,
            "identity": None if gift.identity is None else ["none", "basic", "full"].index(gift.identity),
            "same_owner": None if gift.same_owner is None else int(gift.same_owner),
        }

    def tried(self, i: int, role: str, other: str) -> dict[str, Value]:
        parties = {role: getattr(self.gifts[i], role)}
        found: dict[str, Value] = {}
        for label in ("1h", "24h", "7d"):
            found[f"{role}_tried_count_{label}"] = len(self.earlier(i, WINDOWS[label], parties, tried=True))
        day = self.earlier(i, DAY, parties, tried=True)
        found[f"{role}_tried_sum_24h"] = sum(min(self.gifts[j].amount, 10**15) for j in day)
        found[f"{role}_tried_{other}s_24h"] = len({getattr(self.gifts[j], other) for j in day})
        return found | {f"{role}_tried_gap_s": self.seconds(i, self.earlier(i, 7 * DAY, parties, tried=True))}

    def context(self, i: int, key: str) -> dict[str, Value]:
        names = [name for name, row in TABLE.items() if row.source == key]
        value, now, gifts = getattr(self.gifts[i], key), self.gifts[i].at, self.gifts
        if value is None:
            return dict.fromkeys(names)
        seen = self.earlier(i, MONTH, {key: value})[-CROWD:]
        known = [j for j in range(i) if getattr(gifts[j], key) == value and gifts[j].known_at <= now]
        known = sorted(known, key=lambda j: (gifts[j].known_at, j))[-CROWD:]
        found: dict[str, Value] = {f"{key}_gap_s": self.seconds(i, seen)}
        for label, span in WINDOWS.items():
            js = [j for j in seen if gifts[j].at > now - span]
            told = [j for j in known if gifts[j].known_at > now - span]
            found |= {
                f"{key}_count_{label}": len(js),
                f"{key}_senders_{label}": len({gifts[j].sender for j in js}),
                f"{key}_recipients_{label}": len({gifts[j].recipient for j in js}),
                f"{key}_labels_{label}": len(told) if self.labelled else None,
                f"{key}_frauds_{label}": sum(gifts[j].fraud is True for j in told) if self.labelled else None,
            }
        return {name: found[name] for name in names}

    def activity(self, i: int, source: str, parties: dict[str, str], other: str) -> Iterator[tuple[str, Value]]:
        for label, span in WINDOWS.items():
            js = self.earlier(i, span, parties)
            yield f"{source}_count_{label}", len(js)
            yield f"{source}_sum_{label}", sum(min(self.gifts[j].amount, 10**15) for j in js)
            yield f"{source}_{other}s_{label}", len({getattr(self.gifts[j], other) for j in js})
        yield f"{source}_gap_s", self.seconds(i, self.earlier(i, MONTH, parties))

    def habit(self, i: int, name: str, labelled: bool) -> dict[str, Value]:
        def usual(j: int) -> bool:
            if labelled and self.gifts[j].known_at <= self.gifts[i].at:
                return self.gifts[j].fraud is False
            return excess[j] < 300

        excess = self.excess[name == "sender_clean"]
        amount = min(self.gifts[i].amount, 10**15)
        latest = self.earlier(i, MONTH, {"sender": self.gifts[i].sender})[-64:]
        held = sorted(min(self.gifts[j].amount, 10**15) for j in latest if usual(j))
        excess.append(min(100 * amount * len(held) // sum(held), 10_000) if len(held) >= 3 else 0)
        return {
            f"{name}_size": len(held),
            f"{name}_sum": sum(held),
            f"{name}_max": held[-1] if held else None,
            f"{name}_median": held[len(held) // 2] if held else None,
            f"{name}_at_least": sum(one >= amount for one in held),
            f"{name}_half": sum(2 * one >= amount for one in held),
            f"{name}_excess": excess[i],
        }

    def marks(self, i: int) -> dict[str, Value]:
        gift, excess = self.gifts[i], self.excess[False]
        found: dict[str, Value] = {}
        for days in (3, 14):
            js = self.earlier(i, days * DAY, {"sender": gift.sender})
            found[f"sender_excess200_{days}d"] = sum(200 <= excess[j] < 300 for j in js)
            found[f"sender_excess300_{days}d"] = sum(excess[j] >= 300 for j in js)
        js = self.earlier(i, 7 * DAY, {"recipient": gift.recipient})
        found["recipient_excess300_7d"] = sum(excess[j] >= 300 for j in js)
        apart = [(gift.at - self.gifts[j].at) % DAY for j in self.earlier(i, MONTH, {"sender": gift.sender})[-64:]]
        return found | {"sender_same_hour": sum(min(one, DAY - one) <= HOUR for one in apart)}

    def labels(self, i: int, source: str, role: str, org: str) -> dict[str, Value]:
        if not self.labelled:
            return {name: None for name, row in TABLE.items() if row.source == source and row.needs}
        now, gifts = self.gifts[i].at, self.gifts
        known = [j for j in range(i) if getattr(gifts[j], role) == org and gifts[j].known_at <= now]
        known.sort(key=lambda j: (gifts[j].known_at, j))
        found: dict[str, Value] = {}
        for label, span in (("7d", 7 * DAY), ("30d", MONTH)):
            recent = [j for j in known if gifts[j].known_at > now - span]
            frauds = [j for j in recent if gifts[j].fraud]
            found |= {f"{source}_labels_{label}": len(recent), f"{source}_frauds_{label}": len(frauds)}
        streak = list(takewhile(lambda j: gifts[j].fraud, reversed(recent)))
        good = [j for j in known if not gifts[j].fraud][-1:]

        def plain(js: list[int]) -> int:
            return sum(0 < self.excess[True][j] < 200 and self.gifts[j].taught for j in js)

        return found | {
            f"{source}_frauds_plain_30d": plain(frauds),
            f"{source}_streak": len(streak),
            f"{source}_streak_plain": plain(streak[:8]),
            f"{source}_streak_age_s": self.seconds(i, streak),
            f"{source}_good_age_s": self.seconds(i, [j for j in good if gifts[j].at > now - 2 * MONTH]),
            f"{source}_fraud_age_s": self.seconds(i, frauds),
        }

    def short_list(self, i: int, role: str, org: str) -> dict[str, int]:
        """Before gift i: the org's eight latest distinct funders (it in the role of recipient) or recipients, newest
        first, each with its latest gift."""
        other = {"recipient": "sender", "sender": "recipient"}[role]
        latest: dict[str, int] = {}
        for j in reversed(self.earlier(i, MONTH, {role: org})):
            latest.setdefault(getattr(self.gifts[j], other), j)
        return dict(list(latest.items())[:8])

    def funders(self, i: int, org: str) -> dict[str, int]:
        return self.short(i, "recipient", org)

    def recipients(self, i: int, org: str) -> dict[str, int]:
        return self.short(i, "sender", org)

    def ancestor_list(self, i: int) -> dict[str, int]:
        """Who paid gift i's sender, and who paid them, through fresh gifts: sixteen at most, each with its depth."""
        sender = self.gifts[i].sender
        found = dict.fromkeys(self.funders(i, sender), 1)
        for gift in self.funders(i, sender).values():
            if self.fresh(gift):
                for org, depth in self.ancestors(gift).items():
                    if len(found) < 16 and depth < 8 and org != sender:
                        found.setdefault(org, depth + 1)
        return found

    def longest_chain(self, i: int) -> int:
        if not self.fresh(i):
            return 0
        before = self.funders(i, self.gifts[i].sender).values()
        return min(1 + max(map(self.hops, before), default=0), 15)

    def graph(self, i: int) -> dict[str, Value]:
        s, r = self.gifts[i].sender, self.gifts[i].recipient
        s_in, r_in, s_out, r_out = self.funders(i, s), self.funders(i, r), self.recipients(i, s), self.recipients(i, r)
        siblings = twins = coparty = 0
        for org, j in r_in.items():
            if org != s:
                siblings += bool((set(s_in) - {r}) & set(self.funders(j, org)))
                twins += len((set(s_out) - {r}) & set(self.recipients(j, org)))
        for org, j in s_out.items():
            if org != r:
                coparty += len((set(r_in) - {s}) & set(self.funders(j, org)))
        age, week = self.gifts[i].sender_age_s, self.earlier(i, 7 * DAY, {"recipient": r})
        promo = [min(max(self.gifts[j].promo_amount or 0, 0), 10**15) for j in week]
        young = [self.gifts[j].sender_age_s for j in r_in.values()]
        return {
            "recipient_young_funders": None if age is None else sum(x is not None and x < 30 * 86_400 for x in young),
            "recipient_promo_sum_7d": None if self.gifts[i].promo_amount is None else sum(promo),
            "common_funders": len(set(s_in) & set(r_in)),
            "common_recipients": len(set(s_out) & set(r_out)),
            "siblings": siblings,
            "twins": twins,
            "coparty": coparty,
            "recipient_fresh_funders": sum(map(self.fresh, r_in.values())),
            "sender_fresh_recipients": sum(map(self.fresh, s_out.values())),
            "sender_fresh_funders": sum(map(self.fresh, s_in.values())),
            "cycle": self.ancestors(i)[r] + 1 if r in self.ancestors(i) else 0,
            "hops": self.hops(i),
        }


def ratios(found: dict[str, Value]) -> dict[str, Value]:
    def times(*names: str) -> float | None:
        product = 1.0
        for name in names:
            value = found[name]
            if value is None:
                return None
            product *= float(value)
        return product

    def over(part: float | None, whole: str) -> float | None:
        divisor = found[whole]
        return part / float(divisor) if part is not None and divisor is not None and divisor > 0 else None

    def risk(party: str, label: str) -> float | None:
        frauds, labels = found[f"{party}_frauds_{label}"], found[f"{party}_labels_{label}"]
        return None if frauds is None or labels is None else (float(frauds) + 0.01) / (float(labels) + 2.0)

    def refused(party: str) -> float | None:
        tries = float(found[f"{party}_tried_count_7d"] or 0)
        return (tries - float(found[f"{party}_count_7d"] or 0)) / tries if tries else None

    day_30 = {party: None if (x := times(f"{party}_count_24h")) is None else x * 30.0 for party in PARTIES}
    return {
        "sender_clean_ratio": over(times("amount", "sender_clean_size"), "sender_clean_sum"),
        "sender_habit_ratio": over(times("amount", "sender_habit_size"), "sender_habit_sum"),
        "sender_clean_median_ratio": over(times("amount"), "sender_clean_median"),
        "sender_clean_max_ratio": over(times("amount"), "sender_clean_max"),
        "sender_habit_max_ratio": over(times("amount"), "sender_habit_max"),
        "recipient_amount_ratio": over(times("amount", "recipient_count_30d"), "recipient_sum_30d"),
        "sender_passthrough_7d": over(times("amount"), "sender_received_sum_7d"),
        **{f"{party}_burst": over(day_30[party], f"{party}_count_30d") for party in PARTIES},
        "sender_spread": over(times("sender_recipients_30d"), "sender_count_30d"),
        "recipient_spread": over(times("recipient_senders_30d"), "recipient_count_30d"),
        **{f"{party}_risk_{label}": risk(party, label) for party in PARTIES for label in ("7d", "30d")},
        "drained": over(times("amount"), "sender_available"),
        "promo_share": over(times("promo_amount"), "amount"),
        "young_share": over(times("young_amount"), "amount"),
        "age_ratio": over(times("recipient_age_s"), "sender_age_s"),
        "topup_age_ratio": over(times("topup_age_s"), "sender_age_s"),
        "recipient_promo_share_7d": over(times("recipient_promo_sum_7d"), "recipient_sum_7d"),
        **{f"{party}_refused_share_7d": refused(party) for party in PARTIES},
        **{f"{key}_risk_{label}": risk(key, label) for key in KEYS for label in ("7d", "30d")},
    }
