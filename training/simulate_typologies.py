"""The named frauds and, for each, the honest behaviour that looks like it: data, one row a story.

Law: a typology never comes without a look-alike of the same shape, so no shape alone is proof.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.simulate_circles import Bleed, Chain, Cycle, Ring
from training.simulate_drafts import DRAFT, joined
from training.simulate_orgs import DAY, HOUR, Ints, Table, World
from training.simulate_scene import Circle, Crew, Scene
from training.simulate_shapes import Drain, FanIn, FanOut, Resale, Shape, Split

MULES = Circle(crew=0.5, fresh=0.3)
FRIENDS = Circle(known=0.5, fresh=0.2)


@dataclass(frozen=True, slots=True)
class Story:
    """One kind of case; `weight` is its share of the gifts. Without `mirrors` it is a fraud, with it a look-alike."""

    name: str
    shape: Shape
    description: str
    weight: float = 1.0
    mirrors: str | None = None


TYPOLOGIES = (
    Story(
        "account_takeover_drain",
        Drain((2, 8), (0.25, 0.9), (1.0, 120.0), 0.75, MULES),
        "a thief in somebody's account gives its balance away, mostly from a machine it never used",
        1.5,
    ),
    Story(
        "stolen_card_resale",
        Resale((3, 10), (60, 1500), (0.05, 6.0), (2.0, 90.0), 0.6, (0.1, 30.0), 0.95, 0.5, Circle(crew=0.2, fresh=0.3)),
        "credits bought with a stolen card are sold on before the bank calls it back; buyers are real customers",
        1.5,
    ),
    Story(
        "free_tier_farming",
        FanIn((8, 26), (0.1, 14.0), (0.5, 1.0), (2.0, 96.0), 0.6, 0.4, MULES),
        "free grants of many young orgs, few machines behind them, flow to one collector",
        1.3,
    ),
    Story(
        "structuring",
        Split((4, 12), (100, 250, 500), (0.88, 0.98), (1, 3), (15.0, 600.0), 0.6, 0.4, MULES),
        "a large sum in gifts just under a round limit",
    ),
    Story(
        "broker_fan_out",
        FanOut((15, 50), (10, 20, 50), (3.0, 72.0), 0.6, 0.6, 0.5, Circle(fresh=0.2)),
        "a broker fills orders: menu-sized gifts to many buyers who never met it",
        1.3,
    ),
    Story(
        "circular",
        Cycle((3, 5), (1, 3), (30, 500), (0.93, 1.0), (24.2, 40.0), 0.3, Circle(crew=0.5, fresh=0.4)),
        "credits go round to look like custom, each hop soon after the lock opens",
        0.7,
    ),
    Story(
        "dormant_takeover",
        Drain((1, 6), (0.3, 0.95), (1.0, 200.0), 0.8, MULES, ("dormant",)),
        "an org that nobody looked after for months is emptied",
        0.8,
    ),
    Story(
        "layering_chain",
        Chain((3, 6), (1, 4), (60, 800), (0.85, 0.99), (24.1, 36.0), 0.6, 0.5, Circle(crew=0.3, fresh=0.6)),
        "a sum passes from org to org, each hop soon after the lock opens, to hide where it began",
        0.8,
    ),
    Story(
        "collusive_ring",
        Ring((4, 8), (10, 36), (1.0, 8.0), (10, 150), 0.4, Circle(crew=0.5, fresh=0.3)),
        "a few orgs under one hand give crosswise for days to build standing and mix funds",
        0.8,
    ),
    Story(
        "slow_bleed",
        Bleed((8, 24), (18.0, 70.0), (0.3, 1.2), (1, 2), 0.5, MULES),
        "a thief stays unseen in an account: small gifts for weeks",
        0.9,
    ),
)
LOOKALIKES = (
    Story(
        "closing_account",
        Drain((2, 9), (0.2, 0.9), (2.0, 240.0), 0.25, FRIENDS),
        "a team winds up and gives what is left to others",
        1.5,
        "account_takeover_drain",
    ),
    Story(
        "project_kickoff",
        Resale(
            (3, 10), (40, 1500), (0.1, 48.0), (1.0, 90.0), 0.5, (0.2, 40.0), 0.5, 0.15, Circle(known=0.3, fresh=0.4)
        ),
        "a new customer buys for a project and equips its contractors the same day",
        1.5,
        "stolen_card_resale",
    ),
    Story(
        "course_returns",
        FanIn((8, 30), (5.0, 60.0), (0.2, 1.0), (2.0, 120.0), 0.7, 0.05, FRIENDS),
        "students give what is left of their grants back to the course, from one campus",
        1.3,
        "free_tier_farming",
    ),
    Story(
        "split_payroll",
        Split((4, 12), (100, 250, 500), (0.85, 0.99), (1, 8), (1.0, 600.0), 0.15, 0.12, Circle(known=0.6, fresh=0.1)),
        "allowances of nearly the same size, paid in parts that stay below an approval limit",
        1.0,
        "structuring",
    ),
    Story(
        "prize_giveaway",
        FanOut((12, 50), (10, 20, 50), (1.0, 72.0), 0.2, 0.25, 0.1, Circle(known=0.05, fresh=0.3)),
        "prizes and vouchers to many winners",
        1.3,
        "broker_fan_out",
    ),
    Story(
        "settling_up",
        Cycle((2, 5), (1, 3), (10, 400), (0.8, 1.1), (4.0, 80.0), 0.06, Circle(known=0.9, fresh=0.1)),
        "partners repay one another for shared work",
        0.7,
        "circular",
    ),
    Story(
        "returning_dormant",
        Drain((1, 6), (0.1, 0.8), (2.0, 400.0), 0.5, Circle(known=0.6, fresh=0.2), ("dormant",)),
        "a seasonal org comes back, often on a new laptop, and gives to old partners",
        0.8,
        "dormant_takeover",
    ),
    Story(
        "grant_passthrough",
        Chain((2, 4), (2, 6), (60, 900), (0.85, 1.0), (24.1, 90.0), 0.1, 0.08, Circle(known=0.5, fresh=0.4)),
        "a university passes a research grant to a laboratory, a group, its students",
        0.8,
        "layering_chain",
    ),
    Story(
        "gift_exchange",
        Ring((4, 9), (8, 36), (0.5, 6.0), (8, 120), 0.05, Circle(known=0.8, fresh=0.15)),
        "friends and teams give to each other over a holiday",
        0.8,
        "collusive_ring",
    ),
    Story(
        "standing_allowance",
        Bleed((8, 24), (20.0, 80.0), (0.3, 1.2), (1, 2), 0.1, Circle(known=0.3, fresh=0.4)),
        "a small allowance, every day or two, to somebody new",
        0.9,
        "slow_bleed",
    ),
)
STORIES = (*TYPOLOGIES, *LOOKALIKES)
NAMES = ("honest", *(story.name for story in STORIES))  # by the number that a draft carries
TRUTH = np.array([False, *(story.mirrors is None for story in STORIES)])


def told(
    rng: np.random.Generator, world: World, crews: list[Crew], when: Ints, span: tuple[int, int], wanted: float
) -> tuple[Table, list[Table]]:
    """Drafts of about `wanted` gifts of frauds, half as many again of look-alikes, and what fills their purses.

    Cases begin near the moments of honest gifts (`when`), so that neither season, growth nor hour gives them away.
    """
    parts: list[Table] = []
    filled: list[Table] = []
    for number, story in enumerate(STORIES, start=1):
        family, budget = (TYPOLOGIES, wanted) if story.mirrors is None else (LOOKALIKES, wanted * 1.5)
        gifts = budget * story.weight / sum(other.weight for other in family)
        for _ in range(int(gifts / story.shape.usual + rng.random())):
            at = int(rng.choice(when) + rng.normal(0.0, 2.0) * HOUR)
            at = min(max(at, span[0] + HOUR), span[1] - min(DAY, (span[1] - span[0]) // 8))
            crew = crews[rng.integers(len(crews))] if story.mirrors is None else None
            scene = Scene(world, rng, span[0], at, crew)
            rows = story.shape.gifts(scene)
            rows["story"], rows["case"] = number, len(parts)
            parts.append(rows)
            filled.append(scene.fillings())
    drafts = joined(parts, DRAFT)
    return drafts[(drafts["at"] >= span[0]) & (drafts["at"] < span[1])], filled
