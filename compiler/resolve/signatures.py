"""What is called with what: the number of arguments, and the keywords, of built-in and declared functions."""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.resolve.builtins import Signature
from dotopt.compiler.resolve.declare import target
from dotopt.compiler.resolve.names import Binding, name_span
from dotopt.compiler.resolve.suggest import closest
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Diagnostic, Edit, Label, diagnostic

COUNTS = ("no", "one", "two", "three", "four", "five")
NORMS = "write `‖x‖[1]`, `‖x‖[∞]`, `‖x‖[1.5]`; for an order that is a hyperparameter `norm_p(x, p)`, with `use norm_p`"


def wrong_call(node: s.Call, name: str, signature: Signature) -> Iterator[Diagnostic]:
    """What is wrong with a call of a built-in: E313 and E315."""
    found = len(node.arguments)
    if found < signature.least:
        least = "" if signature.most == signature.least else "at least "
        yield _wrong_count(node, name, signature.least, least=least)
    elif signature.most is not None and found > signature.most:
        yield _wrong_count(node, name, signature.most)
    for keyword in node.keywords:
        if keyword.name not in signature.keywords:
            yield _no_keyword(keyword, name, sorted(signature.keywords))


def wrong_arguments(node: s.Call, binding: Binding) -> Iterator[Diagnostic]:
    """E313 for a call of a local or declared function; samples may stand before the semicolon too."""
    parameters = parameters_of(binding)
    if parameters is None or any(isinstance(argument, s.Comprehension) for argument in node.arguments):
        return
    found, expected = len(node.arguments), len(parameters)
    with_samples = expected + len(sample_names(binding))
    if found != expected and not (found == with_samples and not node.samples):
        yield _wrong_count(node, binding.name, expected, (Label(binding.span, "declared here"),))


def _wrong_count(
    node: s.Call, name: str, expected: int, labels: tuple[Label, ...] = (), least: str = ""
) -> Diagnostic:
    plural = "" if expected == 1 else "s"
    found, takes = _counted(len(node.arguments)), least + _counted(expected)
    help = NORMS if name == "norm" else None
    return diagnostic(
        "E313", node.span, labels=labels, help=help, name=name, expected=takes, plural=plural, found=found
    )


def _counted(number: int) -> str:
    return COUNTS[number] if number < len(COUNTS) else str(number)


def _no_keyword(keyword: s.Keyword, name: str, known: list[str]) -> Diagnostic:
    place = name_span(keyword.span, keyword.name)
    meant = closest(keyword.name, known) or ("over" if keyword.name in ("axis", "dim") and "over" in known else None)
    help = f"did you mean `{meant}`?" if meant else None
    if help is None and known:
        help = "it takes " + ", ".join(f"`{word}`" for word in known)
    edit = Edit(place, meant) if meant else None
    return diagnostic("E315", place, name=name, keyword=keyword.name, help=help, edit=edit)


def parameters_of(binding: Binding) -> tuple[str, ...] | None:
    """The names of the arguments, before the semicolon; `None` if they are not declared."""
    match binding.node:
        case s.Declaration(word="objective" | "operator" | "function", arguments=arguments):
            return arguments or None
        case s.Definition(targets=targets) if binding.kind == "local function":
            for left in targets:
                found = target(left)
                if found is not None and found.name == binding.name and isinstance(left, s.Call):
                    return tuple(a.name for a in left.arguments if isinstance(a, s.Name))
    return None


def sample_names(binding: Binding) -> tuple[str, ...]:
    """The names of the samples, after the semicolon."""
    match binding.node:
        case s.Declaration(samples=samples):
            return samples
        case s.Definition(targets=targets):
            for left in targets:
                if isinstance(left, s.Call):
                    return tuple(a.name for a in left.samples if isinstance(a, s.Name))
    return ()
