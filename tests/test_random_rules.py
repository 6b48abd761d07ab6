"""A look at what `make fuzz` does for a night: random rules in every form that they run in, beside the judge."""

from __future__ import annotations

from random import Random

from bench.fuzz import campaign


def test_random_rules_agree_with_the_judge() -> None:
    tally = campaign.run(60, seed="0", thin=True)
    assert tally.rules == 60 and sum(tally.refused.values()) < 10
    assert not tally.defects, tally.defects


def test_rules_follow_from_the_seed() -> None:
    texts = [campaign.kind_of(number).rule(Random(f"0/{number}")).text for number in (0, 2) for _ in range(2)]
    assert texts[0] == texts[1] and texts[2] == texts[3] and texts[0] != texts[2]
