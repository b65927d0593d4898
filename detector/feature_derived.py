"""The derived rows of the feature table: SQL expressions over its facts and aggregates, null where undefined."""

from __future__ import annotations

from typing import NamedTuple


class Derived(NamedTuple):
    """A feature that is calculated from others; null wherever it would be divided by zero."""

    name: str
    expression: str
    direction: str
    description: str
    false_alarms: str


def share(name: str, part: str, whole: str, direction: str, description: str, false_alarms: str) -> Derived:
    """part / whole where the whole is positive, else null."""
    text = f"CASE WHEN {whole} > 0 THEN {part} / {whole} END"
    return Derived(name, text, direction, description, false_alarms)


HIGHER = "a customer with a first large need"
DERIVED: list[Derived] = [
    share(
        "sender_clean_ratio",
        "amount * sender_clean_size",
        "sender_clean_sum",
        "high",
        "this amount over the mean of the sender's clean habit: account takeover",
        HIGHER,
    ),
    share(
        "sender_habit_ratio",
        "amount * sender_habit_size",
        "sender_habit_sum",
        "high",
        "this amount over the mean of the sender's habit: account takeover",
        HIGHER,
    ),
    share(
        "sender_clean_median_ratio",
        "amount",
        "sender_clean_median",
        "high",
        "this amount over the median of the clean habit: account takeover",
        HIGHER,
    ),
    share(
        "sender_clean_max_ratio",
        "amount",
        "sender_clean_max",
        "high",
        "this amount over the largest of the clean habit: more than ever before",
        HIGHER,
    ),
    share(
        "sender_habit_max_ratio",
        "amount",
        "sender_habit_max",
        "high",
        "this amount over the largest of the habit: more than ever before",
        HIGHER,
    ),
    share(
        "recipient_amount_ratio",
        "amount * recipient_count_30d",
        "recipient_sum_30d",
        "high",
        "this amount over the mean that the recipient was sent in 30 d: an odd gift out",
        "a sponsor among members",
    ),
    share(
        "sender_passthrough_7d",
        "amount",
        "sender_received_sum_7d",
        "none",
        "this amount over what the sender was sent in 7 d: near 1 when credits are passed on",
        "resellers and team accounts",
    ),
    share(
        "sender_burst",
        "sender_count_24h * 30",
        "sender_count_30d",
        "high",
        "the sender's gifts of a day against its daily mean of 30 d: dormant, then a burst",
        "monthly hand-outs",
    ),
    share(
        "recipient_burst",
        "recipient_count_24h * 30",
        "recipient_count_30d",
        "high",
        "gifts to the recipient of a day against its daily mean of 30 d: a collector that opens",
        "hackathons",
    ),
    share(
        "sender_spread",
        "sender_recipients_30d",
        "sender_count_30d",
        "high",
        "recipients a gift of the sender in 30 d: 1 when it never pays one twice",
        "one-off rewards",
    ),
    share(
        "recipient_spread",
        "recipient_senders_30d",
        "recipient_count_30d",
        "high",
        "senders a gift to the recipient in 30 d: 1 when nobody pays it twice",
        "fund-raising projects",
    ),
    *(
        Derived(
            f"{party}_risk_{label}",
            f"({party}_frauds_{label} + 0.01) / ({party}_labels_{label} + 2)",
            "high",
            f"share of frauds among the labels of gifts the {party} "
            f"{'sent' if party == 'sender' else 'was sent'}, known in {label}, smoothed by two labels of 0.5 %: "
            "who was hit, or receives, is hit or receives again",
            "victims whose account is theirs again",
        )
        for party in ("sender", "recipient")
        for label in ("7d", "30d")
    ),
    share(
        "drained",
        "amount",
        "sender_available",
        "high",
        "this amount over all that the sender had: near 1 when a thief takes everything",
        "customers who hand on a whole grant",
    ),
    share(
        "promo_share",
        "promo_amount",
        "amount",
        "high",
        "share of this gift that began as a promotion or free tier: free-tier farming",
        "students who return their grants",
    ),
    share(
        "young_share",
        "young_amount",
        "amount",
        "high",
        "share of this gift from purchases under 7 d old: stolen cards before the bank calls back",
        "customers who buy for the gift",
    ),
    share(
        "age_ratio",
        "recipient_age_s",
        "sender_age_s",
        "low",
        "the recipient's age over the sender's: an old org that suddenly pays one made yesterday",
        "teachers and their students",
    ),
    share(
        "topup_age_ratio",
        "topup_age_s",
        "sender_age_s",
        "none",
        "age of the youngest purchase spent over the sender's: near 1 when an org was founded to buy and give",
        "new customers",
    ),
    share(
        "recipient_promo_share_7d",
        "recipient_promo_sum_7d",
        "recipient_sum_7d",
        "high",
        "promotional share of what the recipient was sent in 7 d: a collector of free grants",
        "courses to which students return their grants",
    ),
    *(
        share(
            f"{party}_refused_share_7d",
            f"({party}_tried_count_7d - {party}_count_7d)",
            f"{party}_tried_count_7d",
            "high",
            f"share of the gifts that the {party} {'tried' if party == 'sender' else 'was offered'} in 7 d that were "
            "not approved: probing, or a known drop",
            "a new customer that meets its first limits",
        )
        for party in ("sender", "recipient")
    ),
    *(
        Derived(
            f"{key}_risk_{label}",
            f"({key}_frauds_{label} + 0.01) / ({key}_labels_{label} + 2)",
            "high",
            f"share of frauds among the labels of gifts {what}, known in {label}, smoothed by two labels of 0.5 %: "
            "where fraud came from before",
            "addresses and machines that strangers share",
        )
        for key, what in (
            ("ip", "from this address"),
            ("device", "from this device"),
            ("fingerprint", "paid by this means of payment"),
        )
        for label in ("7d", "30d")
    ),
]
