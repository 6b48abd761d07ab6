"""Decides claims: each is proved with a certificate, refuted with numbers, or left open with a reason.

    statements    a claim in its file becomes premises and goals on IR nodes
    forms         normal forms, and the facts that premises give them
    procedures    what decides: `goals` by the form of the claim, `decide` one sentence
    worlds        counterexamples, evaluated exactly
    derivations   what is found out about a rule without being asked
    claim         one claim within its budget; `report`: a file; `cache`, `checker`: certificates are believed when they
                  are verified again; `mutants`: claims that are probably false

A proof is about real numbers and the equations as written; it never rests on samples. A refutation is a world of exact
numbers in which the premises hold and the sentence fails.
"""

from dotopt.compiler.prove.report import ClaimReport, Report, check_claim, check_file

__all__ = ["ClaimReport", "Report", "check_claim", "check_file"]
