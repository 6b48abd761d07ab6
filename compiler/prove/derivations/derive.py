r"""What can be derived about a rule without being asked: nothing is claimed in the file, nothing is guessed here.

    largest step         stable on a quadratic while lr < …            `largest_step`
    modified equation    the flow that the steps follow up to lr²       `modified_equation`
    weight norm          ‖w'‖² in terms of ‖w‖²                         `weight_norm`

Each line has a certificate that the checker has verified, or says how far it goes. `derive` claims of a file, whose
unknowns the file names, are decided with the other claims (`report`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import sympy

from dotopt.compiler.emit.latex.equations import rows
from dotopt.compiler.ir import Program
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.derivations import closed_form
from dotopt.compiler.prove.derivations.largest_step import largest_steps
from dotopt.compiler.prove.derivations.modified_equation import modified_equations
from dotopt.compiler.prove.derivations.weight_norm import weight_norms
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source
from dotopt.grammar import spelling

MOST_CHOICES = 8  # combinations of options


@dataclass(frozen=True)
class Derivation:
    """One derived line: `text` in the spelling of `.opt` files, `latex` the same; `defaults` is its value there.

    `status` is `proved`, `proved at the defaults`, `numeric` or `none`; `where` are conditions on knobs and options.
    """

    what: str
    status: str
    text: str = ""
    latex: str = ""
    defaults: str = ""
    where: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    reason: str = ""
    certificate: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def derivations(file: s.File, library: Library | None = None) -> Iterator[Derivation]:
    """Everything that is found for a rule, for each choice of its options, lines that repeat left out.

    >>> found = derivations(Library().file("SignSGD"))
    >>> [(d.what, d.status) for d in found]
    [('largest step', 'none'), ('modified equation', 'none')]
    """
    first = lower(file, Static(), library)
    if first.kind != "optimizer":
        return
    options = [o for o in first.options if all(isinstance(v, bool) for v in o.values) or len(o.values) <= 3]
    usual = {o.name: o.default for o in first.options}
    choices = [dict(zip((o.name for o in options), c, strict=True)) for c in product(*(o.values for o in options))]
    choices.sort(key=lambda c: sum(value != usual[name] for name, value in c.items()))  # the usual one first
    seen: set[tuple[str, ...]] = set()
    for named in choices[:MOST_CHOICES]:
        changed = tuple(_option(k, v) for k, v in named.items() if v != usual[k])
        program = lower(file, Static(options=usual | named), library)
        for derive in (steps, flows, norms):
            for found in derive(program):
                key = (found.what, found.text, found.reason, *found.where)
                unasked = changed and found.status == "none"
                if key not in seen and not unasked:
                    seen.add(key)
                    yield replace(found, where=(*changed, *found.where))


def _option(name: str, value: bool | str) -> str:
    return name if value is True else f"not {name}" if value is False else f"{name} == {value}"


def steps(program: Program) -> Iterator[Derivation]:
    """The largest stable learning rates."""
    for found in largest_steps(program):
        certificate = dict(found.certificate) if found.certificate is not None else None
        status = found.status if certificate is None or verify(certificate) else "none"
        text = f"{found.rate} < {found.text}" if found.text else ""
        latex = rf"{spelling.latex(found.rate)} < {found.latex}" if found.text else ""
        given = (f"{found.sigma} = {found.curvature}", *found.notes) if status != "none" else ()
        yield Derivation(
            "largest step", status, text, latex, found.at_defaults, found.where, given, found.reason, certificate
        )


def flows(program: Program) -> Iterator[Derivation]:
    """The modified equations."""
    for found in modified_equations(program):
        if found.certificate is None:
            yield Derivation("modified equation", "none", where=found.where, reason=found.reason)
            continue
        certificate = dict(found.certificate)
        status = "proved" if verify(certificate) else "none"
        words = (f"g = ∇f({found.variable})", f"H = ∇²f({found.variable})", f"up to O({found.rate}^3), f smooth enough")
        text = f"ddt({found.variable}) = {found.text}"
        yield Derivation("modified equation", status, text, found.latex, "", found.where, words, "", certificate)


def norms(program: Program) -> Iterator[Derivation]:
    """How the norm of the weights changes."""
    for found in weight_norms(program):
        certificate = dict(found.certificate)
        status = "proved" if verify(certificate) else "none"
        grows = ("the norm never shrinks",) if found.grows else ()
        latex = latex_of(found.text, [h.name for h in program.hypers])
        given = (*grows, *found.assumptions)
        yield Derivation("weight norm", status, found.text, latex, "", found.where, given, "", certificate)


def constants(claim: str, certificate: dict[str, Any], assumptions: tuple[str, ...]) -> Iterator[Derivation]:
    """The values of the unknowns of a `derive` claim, from its certificate."""
    parts = [certificate]
    seen = set()
    while parts:
        part = parts.pop(0)
        for name, (top, bottom) in (part.get("values") or {}).items() if part.get("constants") else ():
            inverses = part.get("inverses", {})
            value = sympy.factor(_rational(top, inverses) / _rational(bottom, inverses))
            if name not in seen:
                seen.add(name)
                formula, latex = f"{name} = {closed_form.text(value)}", closed_form.latex(value)
                left = spelling.latex(name)
                status = "proved" if verify(certificate) else "none"
                yield Derivation(
                    f"constant of {claim}", status, formula, f"{left} = {latex}",
                    assumptions=assumptions, certificate=certificate,
                )  # fmt: skip
        for name, (multiplier, _) in zip(part.get("multipliers", ()), part.get("products", ()), strict=False):
            value = sympy.factor(_rational(multiplier, part["inverses"]))
            text, latex = f"{closed_form.text(value)} times the {name}", closed_form.latex(value)
            status = "proved" if verify(certificate) else "none"
            yield Derivation(f"multiplier of {claim}", status, text, latex, certificate=certificate)
        parts += [inner for inner in part.get("parts", ()) if isinstance(inner, dict)]


def _rational(terms: list[list[Any]], inverses: dict[str, Any]) -> sympy.Expr:
    """An encoded polynomial on symbols, quotients multiplied out."""
    total = sympy.Integer(0)
    for coefficient, monomial in terms:
        term = sympy.Rational(coefficient)
        for name, power in monomial:
            base = 1 / _rational(inverses[name], inverses) if name in inverses else sympy.Symbol(name)
            term *= base**power
        total += term
    return total


def latex_of(equation: str, scalars: Iterable[str] = ()) -> str:
    r"""An equation in the spelling of `.opt` files, in LaTeX; products with `scalars` need no sign.

    >>> print(latex_of("‖w'‖² == (1 - η*λ)²*‖w‖²", ["η", "λ"]))
    \Vert w'\Vert ^{2} = (1 - \eta \lambda)^{2} \Vert w\Vert ^{2}
    """
    left, _, right = re.sub(r"(\w)'", r"\1_next", equation).partition(" == ")
    known = "".join(f"const {name} = 1\n" for name in scalars)
    lines = f"theorem Line\n{known}left = {left}\nright = {right}\n"
    *_, a, b = (row.right for row in rows(parse(Source("line.opt", lines))))
    return re.sub(r"_\{\\mathrm\{next\}\}", "'", f"{a} = {b}")


__all__ = ["Derivation", "constants", "derivations", "latex_of"]
