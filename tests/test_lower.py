"""Lowering: names, static choices, inlining and types, on the whole corpus and on small cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from dotopt.compiler import ir
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import Library, load
from dotopt.compiler.text.source import Source

ROOT = Path(__file__).resolve().parent.parent
CORPUS = sorted([*ROOT.joinpath("tests/worked").glob("*.opt"), *ROOT.joinpath("stdlib").rglob("*.opt")])


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.parametrize("rank", [None, 0, 1, 2, 4])
def test_corpus(path: Path, rank: int | None) -> None:
    program = lower(load(path), Static(rank=rank), Library(path.parent))
    for root in program.roots:
        assert isinstance(root, ir.Node)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_option(path: Path) -> None:
    """Each value of each option gives a program, and no option leaf is left when all are chosen."""
    file, library = load(path), Library(path.parent)
    options = lower(file, Static(rank=2), library).options
    for option in options:
        for value in option.values:
            chosen = {o.name: o.default for o in options} | {option.name: value}
            program = lower(file, Static(chosen, rank=2), library)
            left = {x.name for root in program.roots for x in root.walk() if x.role == "option"}
            assert not left


def small(text: str, head: str = "rule A", **static: object) -> ir.Program:
    source = f"{head}\nobjective f\nparam θ : real[...]\nhyper η as lr > 0 = 1e-3\n{text}\n"
    return lower(parse(Source("a.opt", source)), Static(**static))  # type: ignore[arg-type]


def test_order_of_lines_does_not_matter() -> None:
    assert small("g = ∇f(θ)\nθ' = θ - η*g").next == small("θ' = θ - η*g\ng = ∇f(θ)").next


def test_history_is_another_spelling_of_primes() -> None:
    state = "state m : like θ = 0\n"
    primes = small(state + "m' = 0.9*m + ∇f(θ)\nθ' = θ - η*m'")
    brackets = small(state + "m[t] = 0.9*m[t-1] + ∇f(θ[t-1])\nθ[t] = θ[t-1] - η*m[t]")
    assert primes.next == brackets.next


def test_ascii_and_unicode_are_one_language() -> None:
    ascii_text = "rule A\nobjective f\nparam theta : real[...]\nhyper eta as lr > 0 = 1e-3\n"
    ascii_text += "theta' = theta - eta*sqrt(norm(grad f(theta))^2)\n"
    assert lower(parse(Source("a.opt", ascii_text))).next == small("θ' = θ - η*√(‖∇f(θ)‖²)").next


def test_options_decide_what_is_allocated() -> None:
    file = Library().file("AdamW")
    assert file is not None
    assert [s.name for s in lower(file, Static({"amsgrad": True})).states] == ["m", "v", "s"]
    assert [s.name for s in lower(file, Static({"amsgrad": False})).states] == ["m", "v"]


def test_shared_scalars() -> None:
    file = Library().file("Prodigy")
    assert file is not None
    shared = {s.name: s.shared for s in lower(file).states}
    assert shared["d"] and shared["n"] and not shared["m"]
    amadamw = Library().file("AMAdamW")
    assert amadamw is not None
    states = {s.name: s.shared for s in lower(amadamw, Static(rank=2)).states}
    assert not states["B"] and states["ζ"]


def test_composition_is_one_program() -> None:
    file = parse(Source("a.opt", "rule X = Lookahead(Cautious(Adan), k=7)\n"))
    program = lower(file)
    assert [p.name for p in program.params] == ["θ"]
    keywords = {h.keyword for h in program.hypers}
    assert {"lr", "betas", "k", "alpha", "floor"} <= keywords
    assert next(h for h in program.hypers if h.keyword == "k").default == ir.number(7)
    leaves = {x.name for root in program.roots for x in root.walk() if x.role == "param"}
    assert leaves == {"θ"}


def test_override_reaches_the_base() -> None:
    """Warm-up multiplies the rate wherever the base uses it."""
    sgd = "rule X = WarmUp(SignSGD)\n"
    program = lower(parse(Source("a.opt", sgd)), Static({}))
    assert "t" in {x.name for x in program.next["θ"].walk()}


def test_pluggable_function() -> None:
    file = Library().file("LionK")
    assert file is not None
    assert any(x.op == "polar" for x in lower(file, Static({"K": "nuclear"})).next["x"].walk())
    assert any(x.op == "sign" for x in lower(file, Static({"K": "norm1"})).next["x"].walk())


def test_inner_objective_is_derived() -> None:
    file = Library().file("GatedDelta")
    assert file is not None
    program = lower(file)
    (state,) = program.states
    assert "outer" in {x.op for x in state.next.walk()}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("θ' = θ - η*b\nb = c\nc = b", "E206"),
        ("θ' = θ - η*unheard_of", "E201"),
        ("F(x) = F(x)\nθ' = θ - F(θ)", "E218"),
        ("θ' = θ - norm(∇f(θ), over=rows)", "E314"),
        ("θ' = θ - norm(θ, θ)", "E313"),
        ("θ' = θ @ ∇f(θ)", "E301"),
        ("state L : real[n] = 0\nL' = L\nθ' = θ - L", "E301"),
        ("state L : real = 0\nL' = ∇f(θ)\nθ' = θ - L", "E301"),
        ("θ' = cases\n  θ if t > 3\n  0*θ if t < 2", "E308"),
        ("θ' = ∇²f(θ)", "E504"),
        ("operator F\nθ' = ∇F(θ)", "E502"),
        ("objective h(x, y)\nθ' = ∇h(θ, θ)", "E501"),
        ("option form in {a, b} = a\nθ' = θ if form == c else 0*θ", "E215"),
        ("state m : like θ = 0\nm' = m + 1\nwhen θ > 0:\n  θ' = m\notherwise:\n  θ' = θ", "E307"),
    ],
)
def test_mistakes(text: str, code: str) -> None:
    with pytest.raises(OptError) as caught:
        small(text)
    assert code in [d.code for d in caught.value.diagnostics]


def test_several_mistakes_in_one_run() -> None:
    with pytest.raises(OptError) as caught:
        small("a = first_one\nb = second_one\nθ' = θ - a - b")
    assert len(caught.value.diagnostics) == 2
