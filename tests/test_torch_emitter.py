"""The emitter of optimizers: memory is shared by no two names, every size of text compiles, and names never meet."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import dotopt
from dotopt.compiler.text.errors import OptError
from tests.emitted import HEAD, agree, compiled, emitted

LOOPS = {
    "two variables from one gradient": (
        "iterate r from g, p from g repeat 3:\n    r' = r - 0.1*p\n    p' = r' + 0.5*p\nx' = x - η*p\n"
    ),
    "a variable that starts as the parameter": (
        "iterate y from x repeat k:\n    y' = y - 0.1*g\nm' = y + x\nx' = 2*x - η*m'\n"
    ),
    "a variable that becomes another state": (
        "iterate y from g, z from m repeat 2:\n    y' = z + 1\n    z' = y\nx' = x - η*(y + 2*z)\nm' = 0.5*m + z + x\n"
    ),
    "variables that change places": (
        "iterate y from x, z from m repeat 3:\n    y' = z\n    z' = y\nm' = 0.5*y + g\nx' = z - η*m'\n"
    ),
    "a loop in a loop": (
        "iterate y from g, u from x repeat 2:\n    iterate z from y, w from y repeat 2:\n"
        "        z' = z - 0.1*w\n        w' = z' + 0.25*w\n    y' = 0.5*w + u\n    u' = y' - z\n"
        "m' = u + y\nx' = x - η*m'\n"
    ),
    "a loop in one branch": (
        "iterate r from g, p from g repeat 2:\n    r' = r - 0.1*p\n    p' = r' + 0.5*p\n"
        "m' = p if t == 2 else 0.5*m + g\nx' = x - η*m'\n"
    ),
    "a loop that ends by a condition": (
        "iterate y from g, s from 1 until s < 0.3 at most 5:\n    y' = 0.5*y + x\n    s' = 0.5*s\nx' = x - η*y\n"
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_variables_of_loops_keep_their_memory(name: str, tmp_path: Path) -> None:
    state = "state m : like x = 0\n" if "m'" in LOOPS[name] else ""
    knob = "hyper k : int >= 0 = 0\n" if "repeat k" in LOOPS[name] else ""
    agree(HEAD + knob + state + "g = ∇f(x)\n" + LOOPS[name], tmp_path)


def test_a_newton_step_by_conjugate_gradients(tmp_path: Path) -> None:
    text = (
        "g = ∇f(x)\niterate d from 0*g, r from g, p from g, s from sum(g², over=model) repeat 3:\n"
        "    q = ∇²f(x) @ p\n    a = s/(1 + sum(p*q, over=model)²)\n    d' = d + a*p\n    r' = r - a*q\n"
        "    s' = sum((r')², over=model)\n    p' = r' + (s'/s)*p\nx' = x - η*d\n"
    )
    agree(HEAD + text, tmp_path, tolerance=1e-8)


STATES = {
    "one value kept twice": "m' = 0.5*m + g\nu = m'\nv' = u\nx' = x - η*v'\n",
    "one value computed once and kept twice": "c = 0.5*m + g\nm' = c\nv' = c\nx' = x - η*c\n",
    "a value of another state": "m' = v\nv' = 0.5*v + g\nx' = x - η*m'\n",
    "a stopped value read twice": "d = stop(x)\nm' = d\nv' = m\nx' = d - η*(g + d)\n",
    "a stopped state": "d = stop(m)\nm' = 0.9*m + g\nv' = d\nx' = x - η*(m' + d)\n",
    "states that change places": "m' = v + 0*g\nv' = m\nx' = x - η*(m' + g)\n",
    "states that take each other's value": "m' = v\nv' = m\nx' = x - η*(v' + g)\n",
}


@pytest.mark.parametrize("name", STATES)
def test_states_that_share_values(name: str, tmp_path: Path) -> None:
    agree(HEAD + "state m : like x = 1\nstate v : like x = 2\ng = ∇f(x)\n" + STATES[name], tmp_path)


def test_transposed_states_are_read_before_they_are_overwritten(tmp_path: Path) -> None:
    text = (
        "rule A\nobjective f\nparam x : real[n, n]\nhyper η as lr >= 0 = 0.1\nstate a : real[n, n] = 1\n"
        "state b : real[n, n] = 0\ng = ∇f(x)\nb' = 0.5*b + g\na' = bᵀ\nx' = x - η*(a' + b' @ bᵀ)\n"
    )
    agree(text, tmp_path, shapes=((3, 3), (4, 4)))


# ---- sizes of text --------------------------------------------------------------------------------------------------

LONG = {
    "factors": lambda n: "*".join(["x"] * n),
    "factors of sums": lambda n: "*".join(f"(g + {k})" for k in range(1, n)),
    "products of functions": lambda n: "*".join(f"tanh(g + {k})" for k in range(1, n)),
    "Horner's form": lambda n: "".join(f"{k} + g*(" for k in range(n)) + "1" + ")" * n,
    "comparisons": lambda n: " == ".join(["x"] * n),
    "inner products": lambda n: "⟨x, " * n + "x" + "⟩" * n,
    "functions in functions": lambda n: "tanh(x + " * n + "x" + ")" * n,
    "choices": lambda n: "".join(f"{k}*g if x > {k} else (" for k in range(n)) + "g" + ")" * n,
}


@pytest.mark.parametrize("name", LONG)
def test_long_and_deep_expressions_compile_in_linear_time(name: str, tmp_path: Path) -> None:
    """Of four times the text, few times the calls: they doubled with each factor."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    spent = []
    for size in (16, 64):
        calls = 0
        sys.setprofile(count)
        try:
            text = emitted(HEAD + f"g = ∇f(x)\nx' = x - η*({LONG[name](size)})\n", tmp_path)
        finally:
            sys.setprofile(None)
        spent.append(calls)
        compile(text, "a.py", "exec")
        assert len(text) < 200 * (20 + size)
    assert spent[1] < 12 * spent[0]


def test_long_and_deep_expressions_are_right(tmp_path: Path) -> None:
    for name in ("factors of sums", "Horner's form", "functions in functions", "choices"):
        agree(HEAD + f"g = ∇f(x)\nx' = x - 0.01*tanh({LONG[name](40)})\n", tmp_path, shapes=((2, 2),), tolerance=1e-7)


def test_shared_numbers_are_written_once(tmp_path: Path) -> None:
    chain = "".join(f"a{k + 1} = a{k}*a{k} + a{k}\n" for k in range(40))
    text = emitted(HEAD + f"a0 = η\n{chain}g = ∇f(x)\nx' = x - tanh(a40)*g\n", tmp_path)
    assert len(text) < 12_000
    calls = "F(a) = a*a + a\n" + f"x' = x - η*{'F(' * 8}g{')' * 8} - {'F(' * 8}η{')' * 8}*g\n"
    assert len(emitted(HEAD + "g = ∇f(x)\n" + calls, tmp_path)) < 12_000


def test_many_equations_one_after_the_other(tmp_path: Path) -> None:
    chain = "".join(f"b{k + 1} = tanh(b{k}) + x\n" for k in range(300))
    cls = compiled(HEAD + f"b0 = ∇f(x)\n{chain}x' = x - η*b300\n", tmp_path)
    p = torch.ones(2, requires_grad=True)
    p.grad = torch.ones(2)
    cls([p], backend="torch").step()
    assert bool(p.isfinite().all())


# ---- names and texts ------------------------------------------------------------------------------------------------


def test_absolute_values_of_numbers(tmp_path: Path) -> None:
    """`abs` is a word of lists in emitted modules, and must not hide Python's."""
    text = (
        "hyper a = -0.5\nstate s : real = 0\ng = ∇f(x)\ns' = 0.5*s - sum(g, over=model)\n"
        "x' = x - η*(|g| + |a| + |s|*g)\n"
    )
    agree(HEAD + text, tmp_path)


NAMES = (
    "step", "evaluate", "t2", "shape", "random", "scalars", "math", "range", "int", "abs", "lerp_", "sums", "yield",
    "ModelSum", "m_next", "m_next_2", "total", "part", "theta", "len", "Optimizer", "self", "copies", "print",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_may_stand_in_a_rule(name: str, tmp_path: Path) -> None:
    text = (
        f"hyper β in [0, 1) = 0.5\nstate m : like x = 0\nstate {name} : like x = first g\ng = ∇f(x)\n"
        f"m' = β*m + (1 - β)*g\n{name}' = 0.9*{name} + |m'|*norm(g, over=model)\n"
        f"x' = x - η*(sign(m') + {name}')\n"
    )
    agree(HEAD + text, tmp_path)


@pytest.mark.parametrize("name", ["Gradient", "add_", "sums", "scalars"])
def test_a_class_is_not_called_like_a_word_of_its_code(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptError, match=f"no class can be called `{name}`"):
        emitted(HEAD.replace("rule A", f"rule {name}") + "x' = x - η*∇f(x)\n", tmp_path)


@pytest.mark.parametrize("name", ["State", "Rule", "Optimizer", "Step", "step", "random", "STEP"])
def test_other_words_are_free(name: str, tmp_path: Path) -> None:
    path = tmp_path / "free.opt"
    path.write_text(HEAD.replace("rule A", f"rule {name}") + "state m : like x = 0\nm' = m + ∇f(x)\nx' = x - η*m'\n")
    p = torch.ones(2, requires_grad=True)
    p.grad = torch.ones(2)
    getattr(dotopt.load(path), name)([p], lr=0.5, backend="torch").step()
    assert p.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", ["softplus", "add", "units", "sign"])
def test_formulas_may_be_called_like_words_of_optimizers(name: str, tmp_path: Path) -> None:
    path = tmp_path / "free.opt"
    path.write_text(f"formula {name}(x : real[d]) = 2*x + 1\n")
    assert getattr(dotopt.load(path), name)(torch.ones(2)).tolist() == [3, 3]


def test_keywords_that_mean_something_to_the_runtime(tmp_path: Path) -> None:
    knobs = ("t", "shape", "state", "random", "hyper")
    text = "".join(f"hyper c{k} as {name} = {k + 1}\n" for k, name in enumerate(knobs))
    total = " + ".join(f"c{k}*g^{k + 1}" for k in range(len(knobs)))
    agree(HEAD + text + f"g = ∇f(x)\nx' = x - 0.01*η*tanh({total} + t)\n", tmp_path)


def test_a_window_beside_states_of_its_name(tmp_path: Path) -> None:
    text = (
        "state window1 : like x = 1\nstate s : like x = 0\ng = ∇f(x)\nwindow1' = 0.5*window1 + g\n"
        "s' = s + 0.1*sum(g over last 3) every 3\nx' = x - η*(g + window1' + s')\n"
    )
    agree(HEAD + text, tmp_path, steps=7)


DECODER = Path(__file__).parent.parent / "stdlib" / "sequence" / "momentum_decoding.opt"
DOCSTRINGS = (
    'Also known as "heavy ball" ', "ends in a backslash \\", "a\u2028b",
    r"\nabla, \N{x}, \x1, \u12", "three \'\'\' quotes",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["optimizer", "sequence", "call", "formula", "decoding"])
@pytest.mark.parametrize("text", DOCSTRINGS)
def test_docstrings_are_what_was_written(kind: str, text: str, tmp_path: Path) -> None:
    bodies = {
        "optimizer": HEAD + "x' = x - η*∇f(x)\n",
        "sequence": "rule A\ninput x : real[d]\nstate s : real[d] = 0\noutput y : like x\ns' = 0.5*s + x\ny = s'\n",
        "call": "rule A\ninput x : real[d]\noutput y : like x\ny = 2*x\n",
        "formula": "formula A(x : real[d]) = 2*x\n",
        "decoding": DECODER.read_text().split("\n", 1)[1].replace("MomentumDecoding", "A"),
    }
    found = compiled(f'"""{text}"""\n{bodies[kind]}', tmp_path)
    assert (found.__doc__ or "").strip() == text.strip()


def test_nothing_in_a_file_or_its_folder_runs_when_it_is_loaded(tmp_path: Path) -> None:
    """A docstring that ends in a backslash, in a folder whose name closes it."""
    folder = tmp_path / 'q"""; import sys; sys.dotopt_was_here = True #'
    folder.mkdir()
    cls = compiled('"""A rule\\"""\n' + HEAD + "x' = x - η*∇f(x)  # \r\n", folder)
    assert cls.__doc__ == "A rule\\" and not hasattr(sys, "dotopt_was_here")


def test_hundreds_of_equations_over_a_sequence(tmp_path: Path) -> None:
    chain = "".join(f"b{k + 1} = tanh(b{k}) + x\n" for k in range(300))
    head = "rule A\ninput x : real[d]\nstate s : real[d] = 0\noutput y : like x\ns' = 0.5*s + x\nb0 = s'\n"
    cls = compiled(f"{head}{chain}y = b300\n", tmp_path)
    assert bool(cls()(torch.ones(1, 3, 2)).isfinite().all())
