"""Features of what a gift says beside its parties and amount: facts of the ledger, context keys, origin of credits."""

from __future__ import annotations

# name: direction, history columns needed, description, false alarms
FACTS: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "amount": ("high", (), "micro-credits of this gift: thieves take what there is", "large customers"),
    "amount_digits": (
        "none",
        (),
        "decimal digits of this amount without trailing zeros: 1 for a menu's round sums, many for a rest",
        "people who type round sums, which is most",
    ),
    "amount_under": (
        "none",
        (),
        "thousandths by which this amount stays under the next of 1, 2, 2.5, 5, 10 times a power of ten: structuring",
        "prices that end in 9",
    ),
    "sender_available": (
        "none",
        ("sender_available",),
        "micro-credits the sender had before this gift: how much there is to steal",
        "every well-funded customer",
    ),
    "sender_age_s": (
        "low",
        ("sender_age_s",),
        "seconds since the sender was founded: orgs made for one fraud are young",
        "every customer was new once",
    ),
    "recipient_age_s": (
        "low",
        ("recipient_age_s",),
        "seconds since the recipient was founded: drops are made when they are needed",
        "students, guests and invited friends",
    ),
    "identity": (
        "low",
        ("identity",),
        "how far the sender's identity is verified: 0 none, 1 basic, 2 full; farms and thieves show none",
        "small customers who never needed it",
    ),
    "topup_age_s": (
        "low",
        ("topup_age_s",),
        "seconds since the youngest purchase that this gift spends, null if it spends none: stolen cards hurry",
        "customers who buy for the gift",
    ),
    "same_owner": (
        "none",
        ("same_owner",),
        "1 if both parties name one owner, else 0: moving one's own credits is no theft, but layering looks so too",
        "owners of several teams",
    ),
    "promo_amount": (
        "high",
        ("promo_amount",),
        "micro-credits of this gift that began as a promotion or free tier: free-tier farming",
        "students who return their grants",
    ),
    "young_amount": (
        "high",
        ("young_amount",),
        "micro-credits of this gift from purchases under 7 d old: stolen cards before the bank calls back",
        "customers who buy for the gift",
    ),
}

# key: which gifts, what it catches, false alarms
KEYS: dict[str, tuple[str, str, str]] = {
    "ip": ("from this address", "farms and crews behind one address", "offices, campuses, mobile networks, VPN exits"),
    "device": ("from this device", "one hand behind many orgs", "an agency's or a classroom's machine"),
    "fingerprint": (
        "paid by this means of payment",
        "one stolen card behind many orgs, or spread from one",
        "a company card that several teams share",
    ),
}

# name: source, aggregate, window, what it needs, description, false alarms
ORIGIN: dict[str, tuple[str, str, int, str, str, str]] = {
    "recipient_young_funders": (
        "graph",
        "young_funders",
        30 * 86_400,
        "sender_age_s",
        "of the recipient's latest eight funders in 30 d, those under 30 d old at their latest gift: free-tier farms",
        "classrooms and newly founded teams",
    ),
    "recipient_promo_sum_7d": (
        "recipient",
        "promo_sum",
        7 * 86_400,
        "promo_amount",
        "micro-credits of promotions and free tiers among what the recipient was sent in 7 d: free-tier farms",
        "courses to which students return their grants",
    ),
}
