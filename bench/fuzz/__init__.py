"""Machines that look for the next defects.

sentences    random claims: what the engine says of them, against numbers of an evaluator of its own
terms        random expressions, as trees, so that they can be made smaller
rules        rules as lists of statements
statements   random optimizers: every kind of statement, every name
sequences    random rules over sequences: memories of every recurrence
runs         one rule, run in several ways beside the judge
optimizers   optimizers on every backend
modules      rules over sequences in every parallel form, and their gradients
shrink       the smallest rule and data that fail in the same way
campaign     many rules in child processes, which may crash and hang
detects      every repair, taken out: whether a run like this finds the defect again

    python -m bench.fuzz [COUNT [SEED]]
"""
