"""Derived constants, modified equations and norms: against numbers that the derivation has not seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.prove import check_claim
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.derivations.derive import constants, derivations
from dotopt.compiler.prove.derivations.modified_equation import ModifiedEquation, modified_equations
from dotopt.compiler.prove.derivations.weight_norm import weight_norms
from dotopt.compiler.prove.procedures.trees import draw
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source
from dotopt.runtime import cli


def program(name: str, **options: bool | str):
    """A rule of the library, for matrices."""
    file = Library().file(name)
    chosen = {o.name: o.default for o in lower(file).options} | options
    return lower(file, Static(options=chosen, rank=2))


def decide(text: str, claim: int = 0):
    """The report on a claim of a file given as text."""
    file = parse(Source("small.opt", text))
    return check_claim(file, file.claims[claim], Library(Path(".")), 4_000_000)


# ---- modified equations ----------------------------------------------------------------------------------------------

FLOWS = {
    "gradient descent": ("SGD", {}, 0, {}),
    "heavy ball": ("SGD", {}, 1, {"μ": 0.35}),
    "Nesterov": ("SGD", {"nesterov": True}, 1, {"μ": 0.35}),
    "QHM": ("QHM", {}, 0, {"β": 0.35, "ν": 0.6}),
}


def gradient(x):
    """Of f(x, y) = x²/2 + y² + sin(x + 2 y)/3, with H and the third derivative along a vector."""
    c = np.cos(x[0] + 2 * x[1]) / 3
    return np.array([x[0] + c, 2 * x[1] + 2 * c])


def hessian(x):
    s = -np.sin(x[0] + 2 * x[1]) / 3
    return np.array([[1 + s, 2 * s], [2 * s, 2 + 4 * s]])


def third(x, v):
    a = np.array([1.0, 2.0])
    return -np.cos(x[0] + 2 * x[1]) / 3 * (a @ v) ** 2 * a


def field(equation: ModifiedEquation, knobs: dict[str, float], h: float, most: int):
    """The right side of a modified equation, up to the power `most` of the rate."""
    weights = {(k, draw(tree)): float(c.subs(knobs)) for k, tree, c in equation.terms if k <= most}

    def right(_, x):
        g, H = gradient(x), hessian(x)
        trees = {"g": g, "H @ g": H @ g, "H @ H @ g": H @ H @ g, "∇³f(g, g)": third(x, g)}
        return sum(c * h**k * trees[tree] for (k, tree), c in weights.items())

    return right


def steps(case: str, knobs: dict[str, float], h: float, count: int, x, m):
    """`count` steps of the rule, written out here by hand."""
    for _ in range(count):
        g = gradient(x)
        match case:
            case "gradient descent":
                x = x - h * g
            case "heavy ball" | "Nesterov":
                m = knobs["μ"] * m + g
                x = x - h * (m if case == "heavy ball" else g + knobs["μ"] * m)
            case "QHM":
                m = knobs["β"] * m + (1 - knobs["β"]) * g
                x = x - h * ((1 - knobs["ν"]) * g + knobs["ν"] * m)
    return x, m


@pytest.mark.parametrize("case", FLOWS)
@pytest.mark.parametrize("most", [1, 2])
def test_the_flow_follows_the_steps_to_its_order(case: str, most: int) -> None:
    """Halving the rate divides the distance after a fixed time by 2^(most + 1), once momentum has settled."""
    name, options, number, knobs = FLOWS[case]
    equation = list(modified_equations(program(name, **options)))[number]
    assert equation.certificate is not None and verify(dict(equation.certificate))
    errors = []
    for h in (0.004, 0.002):
        x, m = steps(case, knobs, h, 28, np.array([1.5, -1.0]), np.zeros(2))
        count = round(0.6 / h)
        flow = solve_ivp(field(equation, knobs, h, most), (0, count * h), x, rtol=1e-12, atol=1e-13)
        errors.append(np.linalg.norm(steps(case, knobs, h, count, x, m)[0] - flow.y[:, -1]))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(most + 1, abs=0.35)


def test_coefficients_of_heavy_ball() -> None:
    """Those that were computed before in another way: Kovachki and Stuart (arXiv:1906.04285) to the first power."""
    found = {(k, draw(tree)): c for k, tree, c in list(modified_equations(program("SGD")))[1].terms}
    b = sympy.Symbol("μ")
    wanted = {
        (0, "g"): -1 / (1 - b),
        (1, "H @ g"): -(1 + b) / (2 * (1 - b) ** 3),
        (2, "H @ H @ g"): -(1 + 4 * b + b**2) / (3 * (1 - b) ** 5),
        (2, "∇³f(g, g)"): -(1 + 10 * b + b**2) / (12 * (1 - b) ** 5),
    }
    assert found.keys() == wanted.keys()
    assert all(sympy.simplify(found[k] - wanted[k]) == 0 for k in wanted)


def test_a_spoiled_expansion_does_not_verify() -> None:
    certificate = dict(next(modified_equations(program("SGD"))).certificate or {})
    rows = [dict(row) for row in certificate["rows"]]
    rows[0]["coefficient"] = [["1", []]]
    assert not verify({**certificate, "rows": rows})


HEAD = "theorem T\nuse SGD\nobjective f\nfor all θ : real[d], h > 0, w > 0\ng = ∇f(θ)\n"


@pytest.mark.parametrize(
    ("flow", "left", "order", "status"),
    [
        ("-g", "SGD(θ; lr=h, weight_decay=w)", 2, "refuted"),
        ("-g - w*θ", "SGD(θ; lr=h, weight_decay=w)", 2, "proved"),
        ("-g - w*θ", "SGD(θ; lr=h, weight_decay=w)", 3, "refuted"),
        ("-g", "2*SGD(θ; lr=h) - θ(h)", 2, "proved"),
        ("-g", "2*SGD(θ; lr=h)", 2, "refuted"),
        ("-∇f(θ - g)", "SGD(θ; lr=h)", 2, "open"),
    ],
)
def test_the_point_itself_is_not_forgotten_in_expansions(flow: str, left: str, order: int, status: str) -> None:
    claim = f"claim a:\n  flow\n  ddt(θ) = {flow}\n  show {left} == θ(h) + O(h^{order})\n"
    assert decide(HEAD + claim).status == status


# ---- the norm of weights ---------------------------------------------------------------------------------------------


def test_norm_of_projected_steps_with_and_without_decay() -> None:
    found = [(n.text, n.where) for n in weight_norms(program("AdamP"))]
    assert "‖w'‖² == (1 - η*ρ*λ)²*‖w‖² + ‖η/(1 - β1^t)*q‖²" in [text for text, _ in found]
    assert all("ε == 0" in where for _, where in found)
    assert all(verify(dict(n.certificate)) for n in weight_norms(program("SGDP")))


@pytest.mark.parametrize("name", ["Adam", "Lion", "AdamW"])
def test_rules_that_are_not_orthogonal_to_the_weights_have_no_identity(name: str) -> None:
    assert not list(weight_norms(program(name)))


def test_a_plain_step_needs_an_objective_without_scale() -> None:
    (plain, *_) = weight_norms(program("SGD"))
    assert plain.grows and "does not change with the scale" in plain.assumptions[0]


# ---- constants of claims ---------------------------------------------------------------------------------------------

SMOOTH = "theorem T\nobjective f : smooth(L)\nfor all x : real[d], L > 0\ny = x - ∇f(x)/L\n"


def test_constants_outside_of_flows() -> None:
    found = decide(SMOOTH + "claim a:\n  derive c\n  show f(y) <= f(x) - c*‖∇f(x)‖²\n")
    assert found.status == "proved"
    (constant, *_) = constants("a", found.certificate or {}, ())
    assert constant.text == "c = 1/(2*L)"


@pytest.mark.parametrize(
    "claim",
    [
        "derive c\n  show f(y) <= f(x) - c*‖∇f(x)‖² and c > 5",  # c would have to be the same in both
        "derive c\n  show f(y) <= f(x) - c*‖∇f(x)‖²\n  show c > 5",
        "derive c\n  show f(y) <= f(x) - c*‖∇f(x)‖ - 1",
    ],
)
def test_constants_that_do_not_exist_are_neither_found_nor_refuted_by_others(claim: str) -> None:
    assert decide(SMOOTH + f"claim a:\n  {claim}\n").status == "open"


def test_the_constant_of_lion_k_in_discrete_time_is_found() -> None:
    file = Library().file("LionKSteps")
    index = [c.name for c in file.claims].index("constant")
    found = check_claim(file, file.claims[index], Library(), 4_000_000)
    assert found.status == "proved" and verify(found.certificate or {})
    (constant, *multipliers) = constants("constant", found.certificate or {}, ())
    value = sympy.sympify(constant.text.removeprefix("c = "), {n: sympy.Symbol(n) for n in ("β1", "β2", "η", "λ")})
    b1, b2, lr, decay = sympy.symbols("β1 β2 η λ")
    assert sympy.simplify(value - lr * b1 / (lr * decay * (1 - b1) + (1 - b2) * (1 - lr * decay))) == 0
    assert len([m for m in multipliers if "square" not in m.text]) == 7


# ---- the command -----------------------------------------------------------------------------------------------------


def test_derive_on_a_file_that_claims_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.opt"
    path.write_text(
        "rule Mine\nobjective f\nparam x : real[...]\nhyper η as lr > 0 = 0.1\nx' = x - 2*η*∇f(x)\n", encoding="utf-8"
    )
    assert cli.main(["derive", str(path), "--latex"]) == 0
    text = capsys.readouterr().out
    assert "η < 1/σ" in text and r"\dot{x} = -2\,\nabla f" in text and "‖x'‖² == ‖x‖²" in text
    assert cli.main(["derive", str(path), "--format", "json"]) == 0
    lines = json.loads(capsys.readouterr().out)["derived"]
    assert {line["status"] for line in lines} == {"proved"} and all(verify(line["certificate"]) for line in lines)


def test_nothing_is_derived_of_what_is_no_optimizer() -> None:
    assert not list(derivations(Library().file("NewtonSchulz")))
