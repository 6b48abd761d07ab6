"""Machines that look for the next defects.

sentences    random claims: what the engine says of them, against numbers of an evaluator of its own
terms        random expressions, as trees, so that they can be made smaller
rules        random optimizers: every kind of statement, every name
data         what a rule is run on: shapes, gradients, knobs, options
runs         one rule on one backend, beside the judge
shrink       the smallest rule and data that fail in the same way
campaign     many rules in child processes, which may crash and hang
detects      every repair, taken out: whether a run like this finds the defect again

    python -m bench.fuzz [COUNT [SEED]]
"""
