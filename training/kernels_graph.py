"""Kernel of the graph of gifts: one pass in order of time, with hard caps. Law: a row sees earlier rows.

Each org keeps short lists of its latest distinct funders (who paid it) and recipients, newest first, with the latest
gift of each and that gift's digest: what was known when it was sent. A free place in a list holds the number of
orgs, which is no org's code. To compare lists, one of them is stamped: `stamp[org]` is i + 1 if gift i stamped it.
"""

from __future__ import annotations

import numpy as np

from detector.feature_table import DEPTH, FAR, HOPS, NEAR
from training.kernels import HORIZON, I32, I64, Bools, jit

# A digest: was the gift fresh, its hops, was its sender young; then the funders of its other party and the recipients
# of that one.
FRESH, CHAIN, YOUNG, FUNDERS, RECIPIENTS = 0, 1, 2, 3, 3 + NEAR
DIGEST = 3 + 2 * NEAR
COLUMNS = (
    "common_funders",
    "common_recipients",
    "siblings",
    "twins",
    "coparty",
    "recipient_fresh_funders",
    "sender_fresh_recipients",
    "sender_fresh_funders",
    "cycle",
    "hops",
    "young_funders",
)


@jit
def forget(ids: I32, gifts: I32, size: int, at: I64, floor: int, free: int) -> int:
    """Frees the places of gifts at or before `floor`; returns how many stay."""
    while size and at[gifts[size - 1]] <= floor:
        size -= 1
        ids[size] = free
    return size


@jit
def remember(ids: I32, gifts: I32, digests: I32, size: int, who: int, gift: int) -> int:
    """Puts `who` first among the ids, its digest to be written; the oldest falls out of a full list. Returns how many
    there are."""
    place = 0
    while place < size and ids[place] != who:
        place += 1
    if place == size:
        size = min(size + 1, NEAR)
        place = size - 1
    for c in range(place, 0, -1):
        ids[c], gifts[c] = ids[c - 1], gifts[c - 1]
        for d in range(DIGEST):
            digests[c, d] = digests[c - 1, d]
    ids[0], gifts[0] = who, gift
    return size


@jit
def stamped(stamp: I32, ids: I32, size: int, without: int, i: int) -> None:
    for c in range(size):
        if ids[c] != without:
            stamp[ids[c]] = i + 1


@jit
def overlap(stamp: I32, ids: I32, first: int, i: int) -> int:
    """How many of the NEAR ids from `first` on gift i stamped."""
    n = 0
    for c in range(first, first + NEAR):
        n += stamp[ids[c]] == i + 1
    return n


@jit
def ancestry(
    sender: int,
    recipient: int,
    ids: I32,
    gifts: I32,
    size: int,
    fresh: I64,
    far: I32,
    depths: I32,
    fars: I32,
    stamp: I32,
    i: int,
) -> int:
    """Writes the ancestors of gift i and their depths: the sender's funders, then, through their fresh gifts, theirs.
    Returns the gifts in the circle that gift i closes, 0 if its recipient is none of them."""
    cycle = 0
    stamp[sender] = i + 1
    for a in range(size):
        far[i, a], depths[i, a] = ids[a], 1
        stamp[ids[a]] = i + 1
        if ids[a] == recipient:
            cycle = 2
    n = size
    for a in range(size):
        e = gifts[a]
        if fresh[e]:
            for c in range(fars[e]):
                x, depth = far[e, c], depths[e, c] + 1
                if n == FAR or depth > DEPTH:
                    break
                if stamp[x] != i + 1:
                    stamp[x] = i + 1
                    far[i, n], depths[i, n] = x, depth
                    n += 1
                    if x == recipient:
                        cycle = depth + 1
    fars[i] = n
    return cycle


@jit
def graph(
    sender: I64,
    recipient: I64,
    at: I64,
    fresh: I64,
    young: Bools,
    taught: Bools,
    orgs: int,
    far: I32,
    depths: I32,
    out: I64,
) -> None:
    """The columns COLUMNS, by row. Only gifts that taught are remembered. `fresh` is 1 for the first gift of its pair
    within the horizon, `young` tells a young sender; `far` and `depths` are room for each gift's ancestors."""
    funder, payee = np.full((orgs, NEAR), orgs, np.int32), np.full((orgs, NEAR), orgs, np.int32)
    funded, paid = np.zeros((orgs, NEAR), np.int32), np.zeros((orgs, NEAR), np.int32)
    funders, payees = np.zeros(orgs, np.int64), np.zeros(orgs, np.int64)
    # The digests of gifts that an org was sent are about the sender, those of gifts that it sent about the recipient.
    came, went = np.zeros((orgs, NEAR, DIGEST), np.int32), np.zeros((orgs, NEAR, DIGEST), np.int32)
    fars, hops = np.empty(len(at), np.int32), out[9]
    by_funder, by_payee = np.zeros(orgs + 1, np.int32), np.zeros(orgs + 1, np.int32)
    by_other, by_ancestor = np.zeros(orgs + 1, np.int32), np.zeros(orgs + 1, np.int32)
    about_s, about_r = np.empty(DIGEST, np.int32), np.empty(DIGEST, np.int32)
    for i in range(len(at)):
        s, r, floor = sender[i], recipient[i], at[i] - HORIZON
        funders[s] = forget(funder[s], funded[s], funders[s], at, floor, orgs)
        funders[r] = forget(funder[r], funded[r], funders[r], at, floor, orgs)
        payees[s] = forget(payee[s], paid[s], payees[s], at, floor, orgs)
        payees[r] = forget(payee[r], paid[r], payees[r], at, floor, orgs)
        stamped(by_funder, funder[s], funders[s], r, i)
        stamped(by_payee, payee[s], payees[s], r, i)
        stamped(by_other, funder[r], funders[r], s, i)
        siblings = twins = coparty = fresh_funders = fresh_payees = fresh_in = longest = youths = 0
        for b in range(funders[r]):
            digest = came[r, b]
            fresh_funders += digest[FRESH]
            youths += digest[YOUNG]
            if funder[r, b] != s:
                siblings += overlap(by_funder, digest, FUNDERS, i) > 0
                twins += overlap(by_payee, digest, RECIPIENTS, i)
        for b in range(payees[s]):
            fresh_payees += went[s, b, FRESH]
            if payee[s, b] != r:
                coparty += overlap(by_other, went[s, b], FUNDERS, i)
        for a in range(funders[s]):
            fresh_in += came[s, a, FRESH]
            longest = max(longest, came[s, a, CHAIN])
        hops[i] = min(longest + 1, HOPS) if fresh[i] else 0
        out[0, i], out[1, i] = overlap(by_funder, funder[r], 0, i), overlap(by_payee, payee[r], 0, i)
        out[2, i], out[3, i], out[4, i] = siblings, twins, coparty
        out[5, i], out[6, i], out[7, i], out[10, i] = fresh_funders, fresh_payees, fresh_in, youths
        out[8, i] = ancestry(s, r, funder[s], funded[s], funders[s], fresh, far, depths, fars, by_ancestor, i)
        if not taught[i]:
            continue
        about_s[FRESH], about_s[CHAIN] = about_r[FRESH], about_r[CHAIN] = fresh[i], hops[i]
        about_s[YOUNG] = about_r[YOUNG] = young[i]
        for c in range(NEAR):
            about_s[FUNDERS + c], about_s[RECIPIENTS + c] = funder[s, c], payee[s, c]
            about_r[FUNDERS + c], about_r[RECIPIENTS + c] = funder[r, c], payee[r, c]
        funders[r] = remember(funder[r], funded[r], came[r], funders[r], s, i)
        payees[s] = remember(payee[s], paid[s], went[s], payees[s], r, i)
        for d in range(DIGEST):
            came[r, 0, d], went[s, 0, d] = about_s[d], about_r[d]
