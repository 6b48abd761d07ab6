"""What other languages, papers and keyboards write, and what it is called here."""

from __future__ import annotations

# First words of a line.
MEANT = {
    "parameter": "param", "parameters": "param", "params": "param", "weight": "param", "loss": "objective",
    "func": "function", "fn": "function", "hyperparameter": "hyper", "hparam": "hyper", "constant": "const",
    "variable": "state", "var": "state", "buffer": "state", "import": "use", "include": "use", "assume": "given",
    "require": "given", "prove": "show", "assert": "show", "lemma": "claim", "theorem": "claim", "loop": "iterate",
    "while": "iterate", "for": "iterate", "if": "when", "else": "otherwise", "switch": "option", "flag": "option",
    "optimizer": "rule", "optimiser": "rule", "algorithm": "rule", "def": "formula", "class": "rule",
}  # fmt: skip

# Single characters.
REPLACED = {
    "“": '"', "”": '"', "„": '"', "’": "'", "‘": "'", "`": "'", "×": "*", "∗": "*", "•": "*", "÷": "/",
    "–": "-", "—": "-", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ", "∂": "∇",
    "&": "and", "!": "not", "∧": "and", "∨": "or", "¬": "not", "⋅": "*", "∘": "*", "⩽": "<=", "⩾": ">=", "≔": "=",
    "％": "%", "，": ",", "（": "(", "）": ")", "：": ":",
    "∥": "‖", "⊺": "ᵀ", "⊤": "ᵀ", "⨂": "outer", "∑": "sum", "…": "...",
    "¼": "(1/4)", "¾": "(3/4)", "⅓": "(1/3)", "⅔": "(2/3)", "⅛": "(1/8)",
}  # fmt: skip

# Commands of LaTeX.
COMMANDS = {
    "cdot": "*", "times": "*", "sqrt": "sqrt", "nabla": "∇", "leq": "<=", "geq": ">=", "neq": "!=", "infty": "∞",
    "lVert": "‖", "rVert": "‖", "in": "in", "top": "ᵀ",
}  # fmt: skip
