"""What users of the compiled class write: keywords of its constructor, keys of its states, its own name.

A name that Python reads otherwise, or that the class has for itself, is refused where the file declares it; a state
whose own name is the runtime's gets another key.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable

from dotopt.compiler.resolve.names import Binding
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Diagnostic, Label, diagnostic
from dotopt.grammar.spelling import ascii

# Arguments of every optimizer, and what a group of parameters holds besides the hyperparameters.
OPTIMIZER = frozenset((
    "self", "params", "foreach", "maximize", "capturable", "differentiable", "fused", "state_dtype", "param_rounding",
    "backend", "param_names", "name", "initial_lr", "shared", "rule",
))  # fmt: skip
MODULE = frozenset(("self", "block", "pad_token_id"))  # arguments of the other classes
# what is kept for a parameter besides states
STATE = frozenset(("step", "training_point", "compensation", "low_word", "rounding_key"))


def python_name(node: s.Declaration) -> str:
    """The keyword that Python users write, or the key of a state: the alias, else the name in ASCII."""
    return node.alias or ascii(node.name)


def state_key(name: str) -> str:
    """The key of a state that the file gives none: its name, unless the optimizer keeps something else there.

    >>> state_key("m̂"), state_key("step")
    ('mhat', 'step_')
    """
    key = ascii(name)
    return f"{key}_" if key in STATE else key


def spelled(file: s.File, declared: Iterable[tuple[Binding, s.Declaration]]) -> list[Diagnostic]:
    """What is wrong with the names of `file` in Python: E229 (the same twice), E238 (a keyword), E239 (the class)."""
    found: list[Diagnostic] = []
    known: dict[tuple[str, str, int | None], Binding] = {}
    declared = list(declared)
    nodes = (*file.statements, *(node for _, node in declared))
    own = OPTIMIZER if any(isinstance(x, s.Declaration) and x.word == "param" for x in nodes) else MODULE
    if keyword.iskeyword(file.head.name):
        found.append(diagnostic("E239", file.head.span, name=file.head.name))
    for binding, node in declared:
        if node.word not in ("hyper", "option", "state") and not (node.word == "input" and node.alias):
            continue
        kind = {"state": "state", "input": "input"}.get(node.word, "hyperparameter")
        name = state_key(node.name) if kind == "state" and node.alias is None else python_name(node)
        key = (kind, name, node.alias_index)
        if key in known:
            first = Label(known[key].span, "the first one")
            found.append(diagnostic("E229", binding.span, alias=name, name=node.name, kind=kind, labels=(first,)))
        known.setdefault(key, binding)
        if reason := _reason(name, node.word, own):
            found.append(diagnostic("E238", binding.span, alias=name, kind=kind, reason=reason))
    return found


def _reason(name: str, word: str, own: frozenset[str]) -> str:
    if word == "state":
        return "the optimizer keeps something of its own there" if name in STATE else ""
    if keyword.iskeyword(name):
        return "it is a word of Python"
    return "every compiled class has an argument or a group entry of that name" if name in own else ""
