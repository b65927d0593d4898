"""What the rows of the feature table are called, what abuse each catches and whom it wrongly points at."""

# source: what it is about, what its counterparts are called, what it catches, false alarms
TRIED: dict[str, tuple[str, str, str, str]] = {
    "sender_tried": (
        "gifts the sender tried, refused, held and blocked ones too",
        "recipients",
        "a thief who probes what passes",
        "scripts that send again what was refused",
    ),
    "recipient_tried": (
        "gifts tried to the recipient, refused, held and blocked ones too",
        "senders",
        "a drop that one victim after another is made to pay",
        "a popular project on the day it is announced",
    ),
}

# source: what it is about, what its counterparts are called, what it catches, false alarms
ABOUT: dict[str, tuple[str, str, str, str]] = {
    "sender": (
        "gifts the sender sent",
        "recipients",
        "account takeover, draining and spreading stolen credits",
        "agencies and teachers who hand out credits in runs",
    ),
    "sender_received": (
        "gifts the sender was sent",
        "senders",
        "credits that are gathered to be passed on",
        "team accounts that members fund",
    ),
    "recipient": (
        "gifts the recipient was sent",
        "senders",
        "fan-in: free-tier farms and brokers that collect",
        "teams, classrooms and popular projects",
    ),
    "recipient_sent": (
        "gifts the recipient sent",
        "recipients",
        "layers: a recipient that passes everything on",
        "resellers and agencies between a customer and its teams",
    ),
}

# word: direction, description, false alarms
HABITS: dict[str, tuple[str, str, str]] = {
    "size": (
        "none",
        "gifts in {habit}: of the latest 64 in 30 d, those not three times the habit of their time; how sure it is",
        "new customers have none",
    ),
    "sum": ("none", "micro-credits of the gifts in {habit}: the scale of what is usual", "growing customers"),
    "max": (
        "none",
        "largest gift in {habit}, null if it is empty: the reach of what is usual",
        "one honest large gift lifts it",
    ),
    "median": (
        "none",
        "upper median of the gifts in {habit}, null if it is empty: what is usual, whatever single gifts do",
        "customers with two kinds of gifts, small and large",
    ),
    "at_least": (
        "low",
        "gifts in {habit} at least as large as this one: none for a takeover that takes more than ever",
        "a first large purchase for a project",
    ),
    "half": (
        "low",
        "gifts in {habit} at least half as large as this one: none for an amount of another order",
        "a first large purchase for a project",
    ),
    "excess": (
        "high",
        "this gift in percent of the mean of {habit}, 0 if under three gifts, 10,000 at most: account takeover",
        "yearly grants, end-of-term settlements",
    ),
}

# name: source, low, high, days, description, false alarms
MARKS: dict[str, tuple[str, int, int, int, str, str]] = {
    f"sender_excess{low}_{days}d": (
        "sender",
        low,
        high,
        days,
        f"gifts of the sender in {days} d that were {percents} of its habit then: a takeover in steps",
        "a customer whose needs just grew",
    )
    for days in (3, 14)
    for low, high, percents in ((200, 300, "200 to 299 %"), (300, 100_000, "300 % or more"))
} | {
    "recipient_excess300_7d": (
        "recipient",
        300,
        100_000,
        7,
        "gifts to the recipient in 7 d that were 300 % or more of their sender's habit then: a drop for stolen credits",
        "a fund-raising project that many support at once",
    )
}

# aggregate: direction, description, false alarms
LABELS: dict[str, tuple[str, str, str]] = {
    "labels": ("none", "labels of {about} that became known in {label}: how sure the fraud count is", "none"),
    "frauds": (
        "high",
        "frauds among {about} that became known in {label}: who was hit, or receives, is hit or receives again",
        "victims whose account is theirs again; recipients that never knew",
    ),
    "frauds_plain": (
        "high",
        "frauds of a usual amount (under 200 % of the habit) among {about}, known in {label}: abuse that fits in",
        "wrong labels on ordinary gifts",
    ),
    "streak": (
        "high",
        "how many of the latest known labels of {about} are fraud, one by one: an account still in wrong hands",
        "few labels: a streak of one says little",
    ),
    "streak_plain": (
        "high",
        "of the streak's latest eight, those of a usual amount: abuse that hides in the habit",
        "wrong labels on ordinary gifts",
    ),
    "streak_age_s": (
        "none",
        "seconds since the first gift of the streak of {about}, null without one: abuse lasts days, then moves on",
        "victims whose account is theirs again",
    ),
    "good_age_s": (
        "high",
        "seconds since the latest of {about} to become known as good, null if over 60 d ago: trust gone stale",
        "seasonal customers",
    ),
    "fraud_age_s": (
        "low",
        "seconds since the latest of {about} to become known as fraud, null if none in 30 d: fresh abuse returns",
        "victims whose account is theirs again",
    ),
}

# name: direction, description, false alarms. A gift is fresh if it is the first of its pair in 30 d; funders and
# recipients of an org are its eight latest distinct ones in 30 d, each with its latest gift.
GRAPH: dict[str, tuple[str, str, str]] = {
    "common_funders": ("high", "orgs that fund both parties: one hand behind both", "members of one team"),
    "common_recipients": ("high", "orgs that both parties fund: one drop for both", "customers of one agency"),
    "siblings": (
        "high",
        "other funders of the recipient that shared a funder with the sender when they paid: a gather after a scatter",
        "classrooms that one teacher funds",
    ),
    "twins": (
        "high",
        "recipients that the recipient's other funders, when they paid, shared with the sender: a bipartite ring",
        "hackathon teams that sponsor one another",
    ),
    "coparty": (
        "high",
        "funders that the sender's other recipients, when paid, shared with this recipient: a bipartite ring",
        "hackathon teams that sponsor one another",
    ),
    "recipient_fresh_funders": (
        "high",
        "funders of the recipient whose latest gift to it was fresh: fan-in by strangers",
        "a project that was just announced",
    ),
    "sender_fresh_recipients": (
        "high",
        "recipients of the sender whose latest gift from it was fresh: fan-out to strangers",
        "a teacher at the start of a term",
    ),
    "sender_fresh_funders": (
        "high",
        "funders of the sender whose latest gift to it was fresh: new money that is passed on",
        "a reseller with new customers",
    ),
    "cycle": (
        "high",
        "gifts in the shortest remembered chain that this one closes into a circle, 0 if none: circular gifts",
        "partners that pay each other back (2)",
    ),
    "hops": ("high", "gifts in the longest chain of fresh gifts that ends in this one: layering", "resale chains"),
}
