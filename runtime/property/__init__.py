"""Property tests of `.opt` files without any Python written: random rules' inputs, every backend against the reference.

draw        random shapes, dtypes, hyperparameters in their ranges, gradient histories with hard numbers
runs        an optimizer and the reference, step by step
compare     where they differ, by the tolerances of `tolerance`
equations   the reference against SymPy's lambdify, equation by equation
claims      every numeric claim at random points
suite       all of it for one file
"""

from dotopt.runtime.property.outcome import Failed, Passed, Report, Result, Untested
from dotopt.runtime.property.search import Budget
from dotopt.runtime.property.suite import properties, test_file

test = test_file

__all__ = ["Budget", "Failed", "Passed", "Report", "Result", "Untested", "properties", "test", "test_file"]
