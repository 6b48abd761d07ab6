"""Tree to IR: names become nodes, local functions and formulas are inlined, static choices are made.

    declare     statements -> scopes: what each name stands for, and the types
    names       what a name stands for, each definition lowered once
    expression  expression + scope -> node; here the rules of types are enforced (E3xx)
    calls       by what is called: builtins (one row each), functions (local, inlined), formulas (of the library),
                oracle (what the user gives, and gradients), inner (argmin, root, prox)
    loops       iterate, comprehensions, windows
    compose     the base rule of a transform, inlined
    assemble    the program: kind, states, live equations in order
"""

from dotopt.compiler.lower.assemble import lower
from dotopt.compiler.lower.context import Context, Static
from dotopt.compiler.lower.declare import open_file
from dotopt.compiler.lower.expression import value
from dotopt.compiler.lower.scope import Scope

__all__ = ["Context", "Scope", "Static", "lower", "open_file", "value"]
