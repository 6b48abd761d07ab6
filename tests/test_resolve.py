"""What names stand for, and what a file may say: the cases that must not be complained of beside those that must."""

from __future__ import annotations

from pathlib import Path

import pytest

from dotopt.compiler.lower import builtins, inner
from dotopt.compiler.parse import parse
from dotopt.compiler.resolve import Symbols, resolve
from dotopt.compiler.resolve.builtins import FUNCTIONS
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.source import Source

HEAD = """rule A
objective f
param x : real[...]
hyper η as lr > 0 = 0.1
hyper β in [0, 1) = 0.9
"""
STEP = "x' = x - η*β*∇f(x)\n"


def names(text: str, path: str = "a.opt") -> Symbols:
    return resolve(parse(Source(path, text)))


def codes(text: str, path: str = "a.opt") -> list[str]:
    """The codes of the errors, or of the warnings if there are none."""
    try:
        return [found.code for found in names(text, path).warnings]
    except OptError as error:
        return [found.code for found in error.diagnostics]


def test_symbols() -> None:
    text = HEAD + "use newton_schulz as ns\nstate m : like x = 0\nm' = β*m + ∇f(x)\nd = ns(m')\nx' = x - η*d\n"
    found = names(text)
    assert set(found.declarations) == {"f", "x", "η", "β", "m"}
    assert set(found.definitions) == {"m'", "d", "x'"}
    assert found.imports == {"ns": "newton_schulz"}
    assert found.axes == frozenset()
    assert found.warnings == ()


def test_spellings_are_one_name() -> None:
    text = "rule A\nobjective f\nparam θ : real[...]\nhyper beta1 in [0, 1) = 0.9\nθ' = theta - β₁*∇f(θ)\n"
    assert set(names(text).declarations) == {"f", "θ", "β1"}


# ---- time indices -----------------------------------------------------------------------------------------------

MOMENTUM = HEAD + "state m : like x = 0\n"


@pytest.mark.parametrize(
    "indexed",
    [
        "g[t] = ∇f(x[t-1])\nm[t] = β*m[t-1] + g[t]\nx[t] = x[t-1] - η*m[t]\n",
        "g[t + 1] = ∇f(x[t])\nm[t + 1] = β*m[t] + g[t + 1]\nx[t + 1] = x[t] - η*m[t + 1]\n",
    ],
)
def test_time_indices_are_primes(indexed: str) -> None:
    primes = "g = ∇f(x)\nm' = β*m + g\nx' = x - η*m'\n"
    assert names(MOMENTUM + indexed).file.statements == names(MOMENTUM + primes).file.statements


def test_one_reading_of_time() -> None:
    assert codes(MOMENTUM + "m[t] = β*m[t-1] + ∇f(x[t-1])\nx' = x - η*m'\n") == ["E207"]
    assert codes(MOMENTUM + "m[t] = β*m[t-1] + ∇f(x[t])\nx[t+1] = x[t] - η*m[t]\n") == ["E207"]


def test_sequences_of_theorems_keep_their_indices() -> None:
    claim = "claim c:\n  for all w[t] : real[d], η > 0\n  w[t] = (1 - η)*w[t - 1]\n  show w[t] == (1 - η)*w[t - 1]\n"
    assert codes("theorem T\n" + claim) == []


# ---- scopes -------------------------------------------------------------------------------------------------------


def test_branches_of_when_may_define_the_same() -> None:
    text = "when x is real[rows, cols]:\n  d = mean(∇f(x), over=cols)\notherwise:\n  d = ∇f(x)\nx' = x - η*β*d\n"
    assert codes(HEAD + text) == []
    assert codes(HEAD + text.replace("x' =", "d = 1\nx' =")) == ["E204"]


def test_circles_are_looked_for_in_each_branch() -> None:
    text = "option o = true\nwhen o:\n  a = b\n  b = η\notherwise:\n  b = a\n  a = β\nx' = x - a*∇f(x)*η*β*b\n"
    assert codes(HEAD + text) == []


def test_the_first_step_has_no_circle_either() -> None:
    """`p` starts as `d`, which at the first step needs `p`."""
    text = "state p : like x = first d\ng = ∇f(x)\nd = g - p\np' = g\nx' = x - η*β*d\n"
    assert codes(HEAD + text) == ["E206"]
    assert codes(HEAD + text.replace("first d", "first g")) == []


def test_a_frozen_state_needs_no_equation() -> None:
    assert codes(HEAD + "state a : like x = first x\nx' = x - η*β*(x - a)*∇f(x)\n") == []
    assert codes(HEAD + "state a : like x = 0\nx' = x - η*β*(x - a)*∇f(x)\n") == ["E205"]


def test_parameters_of_functions_may_reuse_names() -> None:
    assert codes(HEAD + "L(x) = ½*‖x‖²\nx' = x - η*β*∇L(x) - ∇f(x)\n") == []


def test_loop_names_stay_inside_and_its_result_is_outside() -> None:
    text = "iterate y from x repeat 3:\n  d  = ∇f(y)\n  y' = y - η*d\n"
    assert codes(HEAD + text + "x' = β*y\n") == []
    assert codes(HEAD + text + "x' = β*y'\n") == ["E203"]
    assert codes(HEAD + text + "x' = β*y + d\n") == ["E201"]


def test_where_hides_nothing() -> None:
    assert codes(HEAD + "x' = x - η*d\n  where d = β*∇f(x)\n") == []
    assert codes(HEAD + "d = 1\nx' = x - η*d*β\n  where d = ∇f(x)\n") == ["E204"]


def test_own_names_hide_built_ins_with_a_warning() -> None:
    assert codes(HEAD + "trace = 2\nx' = x - η*β*trace*∇f(x)\n") == ["W201"]


def test_an_option_passed_on_is_no_condition() -> None:
    text = "option form in {a, b} = a\nuse cg\nF(v) = 2*v\ny = cg(F, ∇f(x), form=form)\nx' = x - η*β*y\n"
    assert "E233" not in codes(HEAD + text)


# ---- roles --------------------------------------------------------------------------------------------------------

ROLES = """rule Average
param x : real[...]
hyper η as lr > 0 = 0.1
role client[i in clients]:
  objective f
  state h : like x = 0
  d  = η*∇f(x)
  h' = d
  {sent}
x' = x - mean({read}[i] for i in clients)
"""


def test_what_is_sent_is_known_outside() -> None:
    assert codes(ROLES.format(sent="send e = d + h", read="e")) == []
    assert codes(ROLES.format(sent="send e = d + h", read="h"))[0] == "E509"


def test_claims_see_into_roles() -> None:
    claim = "claim c:\n  given h[i] == 0\n  show h'[i] == η*∇f[i](x)\n"
    assert codes(ROLES.format(sent="send e = d + h", read="e") + claim) == []


# ---- claims -------------------------------------------------------------------------------------------------------


def test_claims_have_names_of_their_own() -> None:
    claim = "claim one:\n  for all c > 0\n  d = c*x\n  show d == c*x\nclaim two:\n  d = 2*x\n  show d == x + x\n"
    assert codes(HEAD + "c = 1\n" + STEP.replace("η", "η*c") + claim) == []


def test_two_claims_of_one_name() -> None:
    claim = "claim one:\n  show x == x\n"
    assert codes(HEAD + STEP + claim + claim) == ["E204"]


def test_names_of_another_rule() -> None:
    claim = "claim one:\n  show reduces to SGD with {} when β == 1\n"
    assert codes(HEAD + STEP + claim.format("η = η")) == []
    assert codes(HEAD + STEP + claim.format("lr = η")) == []
    assert codes(HEAD + STEP + claim.format("ηη = η")) == ["E406"]


# ---- imports ------------------------------------------------------------------------------------------------------


def test_the_folder_of_the_file_comes_first(tmp_path: Path) -> None:
    (tmp_path / "own_part.opt").write_text("formula own_part(v : real[d]) = 2*v\n")
    text = HEAD + "use own_part\nx' = x - η*β*own_part(∇f(x))\n"
    assert codes(text, str(tmp_path / "a.opt")) == []
    assert codes(text) == ["E222"]


def test_look_up_is_an_argument(tmp_path: Path) -> None:
    path = tmp_path / "anything.opt"
    path.write_text("formula part(v : real[d]) = 2*v\n")
    file = parse(Source("a.opt", HEAD + "use part\nx' = x - η*β*part(∇f(x))\n"))
    assert resolve(file, {"part": path}.get).imports == {"part": "part"}


def test_composition_checks_what_its_transforms_ask_for() -> None:
    assert codes("rule C = WarmUp(Cautious(Lion))\nuse WarmUp, Cautious, Lion\n") == []
    assert codes("rule C = Lookahead(AdamW, k=3)\nuse Lookahead, AdamW\n") == []
    assert codes("rule C = Lookahead(AdamW, kk=3)\nuse Lookahead, AdamW\n") == ["E315"]


def test_claims_of_a_composition_use_the_names_of_its_parts() -> None:
    claim = "claim c:\n  for all c > 0\n  show θ' invariant under f -> c*f\n"
    text = "rule C = Lookahead(AdamW)\nuse Lookahead, AdamW\n" + claim
    assert codes(text) == []
    assert codes(text.replace("θ'", "θθ'")) == ["E401"]


def test_every_built_in_is_lowered_and_nothing_else() -> None:
    """`cg` is a formula of the library that the lowering knows by name."""
    assert set(FUNCTIONS) == (set(builtins.TABLE) | set(inner.INNER)) - {"cg"}


def test_a_state_that_reaches_nothing_is_said(tmp_path: Path) -> None:
    import dotopt

    path = tmp_path / "idle.opt"
    path.write_text(
        "rule Idle\nobjective f\nparam x : real[...]\nhyper η as lr > 0 = 0.1\nstate m : like x = 0\n"
        "m' = m + ∇f(x)\nx' = x - η*∇f(x)\n"
    )
    assert [(found.code, found.message) for found in dotopt.check(path).warnings] == [("W205", "`m` is never used")]


def test_the_library_has_no_idle_states() -> None:
    from dotopt.compiler.text.library import load
    from dotopt.grammar.files import catalogue
    from dotopt.runtime.report.checking import _infer

    for path in catalogue().values():
        assert _infer(load(path), path)[1] == (), path.name
