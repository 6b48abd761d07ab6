"""Guards against division by 0 are known by their place in the equations, not by their names."""

from pathlib import Path

import pytest

from dotopt.compiler.ir import Program
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.prove.derivations.guards import decays, guards
from dotopt.compiler.prove.derivations.update_bound import bound
from dotopt.compiler.prove.derivations.weight_norm import weight_norms
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library, load


def usual(file: s.File) -> Program:
    """The program of a file with the defaults of its options."""
    return lower(file, Static(options={o.name: o.default for o in lower(file).options}))


@pytest.mark.parametrize(
    ("rule", "names"),
    [("AdamW", ["ε"]), ("Prodigy", ["ε"]), ("SGD", []), ("CautiousLion", ["ξ"]), ("QHM", [])],
)
def test_guards_of_the_library(rule: str, names: list[str]) -> None:
    assert [h.name for h in guards(lower(Library().file(rule)))] == names


def test_a_decay_is_what_multiplies_the_parameter_beside_an_answer() -> None:
    assert [h.keyword for h in decays(lower(Library().file("Adam")))] == ["weight_decay"]


@pytest.mark.parametrize("keyword", ["eps", "delta", "floor"])
def test_the_update_bound_does_not_hang_on_a_keyword(keyword: str, tmp_path: Path) -> None:
    path = tmp_path / "renamed.opt"
    text = Library().find("adam").read_text(encoding="utf-8")
    assert "ε  as eps" in text
    path.write_text(text.replace("ε  as eps", f"ε  as {keyword}"), encoding="utf-8")
    program = usual(load(path))
    found, here = (bound(p, lambda claim: True) for p in (usual(load(Library().find("adam"))), program))
    assert here is not None and found is not None and here.text == found.text


@pytest.mark.parametrize("keyword", ["eps", "delta"])
def test_the_norm_of_weights_does_not_hang_on_a_keyword(keyword: str, tmp_path: Path) -> None:
    path = tmp_path / "renamed.opt"
    text = Library().find("sgdp").read_text(encoding="utf-8")
    path.write_text(text.replace("as eps ", f"as {keyword} "), encoding="utf-8")
    assert [n.text for n in weight_norms(lower(load(path)))] == [
        n.text for n in weight_norms(lower(Library().file("SGDP")))
    ]
