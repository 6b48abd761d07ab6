"""Random sentences, decided, and tried on numbers by an evaluator that shares nothing with the engine."""

from __future__ import annotations

from collections import Counter

from bench.fuzz.sentences import tried


def test_nothing_false_is_proved_and_nothing_true_refuted() -> None:
    statuses: Counter[str] = Counter()
    for text, report, fails in tried(60, seed=7):
        statuses[report.status] += 1
        assert not (report.status == "proved" and fails), (text, fails)
        assert not (report.status == "refuted" and not fails), (text, report.counterexample)
        assert not report.reason.startswith("internal"), (text, report.reason)
    assert statuses["proved"] > 10 and statuses["refuted"] > 10, statuses
