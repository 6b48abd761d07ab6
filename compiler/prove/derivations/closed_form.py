r"""Closed forms as text in the spelling of `.opt` files, and in LaTeX.

    text(e, first=σ)     2*(1 + β1)/((1 - β1)*σ + (1 + β1)*λ)
    latex(e, first=σ)    \frac{2 (1 + \beta_1)}{(1 - \beta_1)\,\sigma + (1 + \beta_1)\,\lambda}

A quotient of products of sums. A sum that contains `first` is ordered by its powers; in others positive terms come
first, and of two factors `1 - x` and `x - 1` the first is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sympy

from dotopt.grammar import spelling

Form = Literal["text", "latex"]


def text(e: sympy.Expr, first: sympy.Symbol | None = None) -> str:
    """The expression as it would stand in a file.

    >>> β, s, λ = sympy.symbols("β σ λ")
    >>> text(-2*(β + 1)/(s*(β - 1))), text((β + 1)/(s - β*s + λ + β*λ), s)
    ('2*(1 + β)/((1 - β)*σ)', '(1 + β)/((1 - β)*σ + (1 + β)*λ)')
    """
    return Writer("text", first).quotient(e)


def latex(e: sympy.Expr, first: sympy.Symbol | None = None) -> str:
    r"""The expression in LaTeX.

    >>> β, s = sympy.symbols("β1 σ")
    >>> latex(-2*(β + 1)/(s*(β - 1)))
    '\\frac{2 (1 + \\beta_{1})}{(1 - \\beta_{1})\\,\\sigma}'
    """
    return Writer("latex", first).quotient(e)


def decimals(e: sympy.Expr, first: sympy.Symbol) -> str:
    """A closed form whose only letter is `first`, with decimals and the number above 1.

    >>> s = sympy.Symbol("σ")
    >>> decimals(3800/(100*s + 19), s), decimals(sympy.Rational(19, 5)/s, s)
    ('38/(σ + 0.19)', '3.8/σ')
    """
    top, bottom = sympy.fraction(sympy.cancel(e))
    if e.free_symbols - {first} or not bottom.has(first):
        return text(e, first)
    lead = sympy.Poly(bottom, first).LC()
    top, bottom = sympy.expand(top / lead), sympy.expand(bottom / lead)
    if not top.is_number:
        return text(e, first)
    terms = sympy.Poly(bottom, first).terms()
    if any(k and c != 1 for (k,), c in terms):
        return text(e, first)
    parts = [(f"{first}^{k}" if k > 1 else str(first)) if k else f"{float(c):.6g}" for (k,), c in terms]
    return f"{float(top):.6g}/" + (parts[0] if len(parts) == 1 else f"({' + '.join(parts)})")


@dataclass(frozen=True)
class Writer:
    """Writes in one of the two forms."""

    form: Form
    first: sympy.Symbol | None = None

    def quotient(self, e: sympy.Expr) -> str:
        """The whole expression."""
        top, bottom = sympy.fraction(sympy.factor(sympy.together(e)))
        sign_top, above = self.factors(top)
        sign_bottom, below = self.factors(bottom)
        minus = "-" if sign_top * sign_bottom < 0 else ""
        if not below:
            return minus + self.product(above, alone=not minus)
        if self.form == "latex":
            return rf"{minus}\frac{{{self.product(above)}}}{{{self.product(below)}}}"
        under = self.product(below, alone=False)
        simple = len(below) == 1 or (under.startswith("(") and self._closes(under))
        return f"{minus}{self.product(above, alone=False)}/{under if simple else f'({under})'}"

    @staticmethod
    def _closes(under: str) -> bool:
        depth = 0
        for i, c in enumerate(under):
            depth += (c == "(") - (c == ")")
            if depth == 0:
                return i == len(under) - 1
        return False

    def factors(self, e: sympy.Expr) -> tuple[int, list[tuple[sympy.Expr, int]]]:
        """The sign, and the factors with their powers: the number, sums, then letters; `first` is last."""
        number, rest = sympy.factor_list(e)
        sign = -1 if number < 0 else 1
        found: list[tuple[sympy.Expr, int]] = []
        for base, power in rest:
            if base.is_Add and self._turned(base):
                base, sign = sympy.expand(-base), sign * (-1) ** power
            found.append((base, power))
        found.sort(key=lambda f: (not f[0].is_Add, f[0] == self.first, str(f[0])))
        return sign, ([(abs(number), 1)] if abs(number) != 1 else []) + found

    def _turned(self, e: sympy.Expr) -> bool:
        """Whether the negative of the sum is nicer: more positive terms, then a positive number."""
        if self.first is not None and self.first in e.free_symbols:
            return self.factors(sympy.Poly(e, self.first).LC())[0] < 0
        positive = sum(1 if term.as_coeff_Mul()[0] > 0 else -1 for term in sympy.Add.make_args(e))
        constant = e.as_coeff_Add()[0]
        return positive < 0 or (positive == 0 and constant < 0)

    def product(self, factors: list[tuple[sympy.Expr, int]], alone: bool = True) -> str:
        """A product; a sum that stands alone needs no brackets."""
        if not factors:
            return "1"
        if alone and len(factors) == 1 and factors[0][1] == 1:
            return self.sum(factors[0][0])
        text = ""
        previous: sympy.Expr | None = None
        for base, power in factors:
            inner = self.sum(base)
            inner = f"({inner})" if base.is_Add or (base.is_Rational and not base.is_Integer and power > 1) else inner
            if power != 1:
                inner += f"^{power}" if self.form == "text" or power < 10 else f"^{{{power}}}"
            if previous is not None:
                times = "*" if self.form == "text" else " " if base.is_Add or previous.is_number else r"\,"
                text += times
            text += inner
            previous = base
        return text

    def sum(self, e: sympy.Expr) -> str:
        """A sum of products, or one of its terms."""
        if not e.is_Add:
            return self.atom(e)
        terms = self._terms(e)
        written = ""
        for sign, factors in terms:
            body = self.product(factors, alone=not factors or not factors[0][0].is_Add or len(factors) > 1)
            written += (" - " if sign < 0 else " + ") + body if written else ("-" if sign < 0 else "") + body
        return written

    def _terms(self, e: sympy.Expr) -> list[tuple[int, list[tuple[sympy.Expr, int]]]]:
        if self.first is not None and self.first in e.free_symbols:
            by_power = sympy.Poly(e, self.first).terms()
            return [self.factors(c * self.first**k) for (k,), c in by_power]
        terms = [self.factors(term) for term in sympy.Add.make_args(e)]
        return sorted(terms, key=lambda t: (t[0] < 0, sum(p for b, p in t[1] if not b.is_number), self.product(t[1])))

    def atom(self, e: sympy.Expr) -> str:
        """A number or a letter."""
        if e.is_Symbol:
            return spelling.latex(str(e)) if self.form == "latex" else str(e)
        if e.is_Rational and not e.is_Integer and self.form == "latex":
            return rf"\tfrac{{{e.p}}}{{{e.q}}}"
        return str(e)


__all__ = ["decimals", "latex", "text"]
