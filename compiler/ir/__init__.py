"""The intermediate representation: one hash-consed node class, and the program of one rule.

    node    = leaf(role, name, type)[indices]                       what is given
            | const(value) | bool(value) | inf | pi
            | neg | abs | sign | sqrt | exp | ... (a)               entrywise, one argument
            | add | sub | mul | div | pow | min | max | lt | ... (a, b)    entrywise, broadcasting by axis name
            | select(condition, a, b)
            | sum | mean | amax | amin | norm | std (a; axes, model, ...)  axes are those summed away
            | size(a; axes)                                         how many entries one reduction covers
            | matmul(a, b) | transpose(a) | outer(a, b) | ...       matrices
            | loop(most, *starts; body) and item(node; position)    passes; the results by position
            | fold(domain; kind, body)                              a reduction over an index
            | oracle(*indices, *points, *samples; name, what, ...)  what the user's objective is asked:
                                                                    value, gradient, hessian_vector, …, field
            | apply(*indices, *points, *samples; name, order, ...)  a function that the user passes
            | argmin | root | cg (*options; function, ...)          inner problems, the function as a Lambda
    program = params, states with start and next, hypers, options, equations in order

Two nodes with the same operation, arguments and attributes are one object, so `is` is equality and common
subexpressions are shared. The type is computed on construction; where a file says what is in `Program.places`, beside.
Numbers are exact: floating-point order belongs to the emitters, algebra to the prover.
"""

from dotopt.compiler.ir.groups import COMPARISONS, ENTRYWISE, FUNCTIONS, REDUCTIONS
from dotopt.compiler.ir.nodes import (
    TIME,
    Equation,
    Fold,
    Lambda,
    Loop,
    Node,
    boolean,
    free_indices,
    instance,
    leaf,
    node,
    number,
    rebuild,
    substitute,
)
from dotopt.compiler.ir.program import (
    Callable_,
    Hyper,
    Input,
    Interval,
    Option,
    Param,
    Program,
    Random,
    RoleProgram,
    State,
)
from dotopt.compiler.ir.sentence import sentence

__all__ = [
    "COMPARISONS",
    "ENTRYWISE",
    "FUNCTIONS",
    "REDUCTIONS",
    "TIME",
    "Callable_",
    "Equation",
    "Fold",
    "Hyper",
    "Input",
    "Interval",
    "Lambda",
    "Loop",
    "Node",
    "Option",
    "Param",
    "Program",
    "Random",
    "RoleProgram",
    "State",
    "boolean",
    "free_indices",
    "instance",
    "leaf",
    "node",
    "number",
    "rebuild",
    "sentence",
    "substitute",
]
