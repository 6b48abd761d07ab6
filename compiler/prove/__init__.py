"""Decides claims: each is proved with a certificate, refuted with numbers, or left open with a reason.

    statement   a claim in the context of its file becomes premises and goals on IR nodes
    goals       the forms of claims
    decide      one sentence: the procedures in their order
    refute      counterexamples: worlds, evaluated exactly
    facts, normal, words, polynomial, smt   the normal forms
    report      a file becomes a report

A proof is about real numbers and the equations as written; it never rests on samples. A refutation is a world of exact
numbers in which the premises hold and the sentence fails.
"""

from dotopt.compiler.prove.report import ClaimReport, Report, check_claim, check_file

__all__ = ["ClaimReport", "Report", "check_claim", "check_file"]
