"""The Python side of a rule's hyperparameters: signature, defaults, and the checks of what a user gives."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

from torch import Tensor

from dotopt.runtime.rule import Hyper, Signed

# what every group has besides
COMMON = {
    "foreach": None,
    "maximize": False,
    "capturable": False,
    "differentiable": False,
    "fused": None,
    "state_dtype": None,
    "param_rounding": None,
}
FLAGS = {"foreach": (None, False, True), "fused": (None, False, True)} | dict.fromkeys(
    ("maximize", "capturable", "differentiable"), (False, True)
)
Options = tuple[bool | str, ...]
EXTRA = ("params", "param_names", "name", "initial_lr", "shared")  # what else a group may hold when it is given
TYPO = 0.8  # how like a keyword of the rule an unknown key of a group must be, to be taken for a slip of the pen


def defaults(rule: Signed) -> dict[str, Any]:
    """The values of all keywords that a user may leave out; None where a default follows from other values."""
    found: dict[str, Any] = {}
    for hyper in rule.hypers:
        default = None if callable(hyper.default) else hyper.default
        if hyper.position is None:
            found[hyper.keyword] = int(default) if hyper.integer and default is not None else default
        else:
            found[hyper.keyword] = (*found.get(hyper.keyword, ()), default)
    return found | {option.keyword: option.default for option in rule.options}


def signature(rule: Signed) -> inspect.Signature:
    """What `help` shows, and how positional arguments are read."""
    kinds = inspect.Parameter
    own = [kinds(name, kinds.POSITIONAL_OR_KEYWORD, default=value) for name, value in defaults(rule).items()]
    more = [kinds(name, kinds.KEYWORD_ONLY, default=value) for name, value in (COMMON | {"backend": "auto"}).items()]
    return inspect.Signature([kinds("params", kinds.POSITIONAL_OR_KEYWORD), *own, *more])


def refuse_unknown(rule: Signed, given: Mapping[str, Any], legal: tuple[str, ...]) -> None:
    """Raises TypeError for a keyword that the rule does not have, naming those that it has."""
    for keyword in given:
        if keyword not in legal:
            close = get_close_matches(keyword, legal, 1)
            hint = f"; did you mean `{close[0]}`?" if close else "."
            raise TypeError(f"{rule.name} has no option `{keyword}`{hint} It takes {', '.join(legal)}")


def refuse_slips(rule: Signed, group: Mapping[str, Any], legal: tuple[str, ...]) -> None:
    """Raises TypeError for a key of a group that is nearly a keyword of the rule.

    Any other key is the user's own (`lr_scale`, the name of a layer) or of another optimizer, and is kept, as in torch.
    """
    for keyword in group:
        if keyword not in legal and (close := get_close_matches(str(keyword), legal, 1, TYPO)):
            raise TypeError(f"{rule.name} has no option `{keyword}`; did you mean `{close[0]}`?")


def check_flags(rule: Signed, group: Mapping[str, Any]) -> None:
    """Raises ValueError for flags of torch with values that they do not have, RuntimeError for flags at odds."""
    for flag, legal in FLAGS.items():
        if not any(group[flag] is value for value in legal):
            raise ValueError(f"{rule.name}: {flag}={group[flag]!r}; it takes {', '.join(map(str, legal))}")
    for first, second in (("fused", "foreach"), ("fused", "differentiable")):
        if group[first] and group[second]:
            raise RuntimeError(f"{rule.name}: {first}=True and {second}=True exclude each other; drop one of them")


def complete(rule: Signed, group: dict[str, Any]) -> None:
    """Turn lists into tuples, and work out the defaults that follow from other values."""
    for keyword in defaults(rule):
        if isinstance(group[keyword], list):
            group[keyword] = tuple(group[keyword])
    check_shapes(rule, group)
    for hyper in rule.hypers:
        if callable(hyper.default) and hyper.of(group) is None:
            given = {other.name: other.of(group) for other in rule.hypers if other.of(group) is not None}
            _set(hyper, group, hyper.default(given))


def settings(rule: Signed, given: Mapping[str, Any], also: tuple[str, ...] = ()) -> tuple[dict[str, Any], Options]:
    """The values of the hyperparameters, by their names in the file, and of the options, for the keywords of a user.

    `also` are keywords that the caller reads itself. Raises TypeError and ValueError for what does not fit.
    """
    known = defaults(rule)
    refuse_unknown(rule, given, (*known, *also))
    group = known | {keyword: value for keyword, value in given.items() if keyword in known}
    complete(rule, group)
    for hyper in rule.hypers:
        if hyper.of(group) is None:
            raise TypeError(f"{rule.name} needs `{hyper.place}`: the file states no default")
    check(rule, group)
    return {hyper.name: hyper.of(group) for hyper in rule.hypers}, tuple(group[o.keyword] for o in rule.options)


def _set(hyper: Hyper, group: dict[str, Any], value: Any) -> None:
    if hyper.position is None:
        group[hyper.keyword] = value
    else:
        whole = list(group[hyper.keyword])
        whole[hyper.position] = value
        group[hyper.keyword] = tuple(whole)


def check_shapes(rule: Signed, group: Mapping[str, Any]) -> None:
    """Raises ValueError if `betas` and the like are not tuples of the right length."""
    for keyword in {hyper.keyword for hyper in rule.hypers if hyper.position is not None}:
        count = sum(hyper.keyword == keyword for hyper in rule.hypers)
        value = group[keyword]
        if not isinstance(value, tuple) or len(value) != count:
            raise ValueError(f"{rule.name}: {keyword}={value!r} must be a tuple of {count} numbers")


def check(rule: Signed, group: Mapping[str, Any]) -> None:
    """Raises ValueError or TypeError for a value outside the range that the file states."""
    check_shapes(rule, group)
    values = {hyper.name: hyper.of(group) for hyper in rule.hypers}
    for hyper in rule.hypers:
        check_hyper(rule.name, hyper, values)
    for option in rule.options:
        value = group[option.keyword]
        if value not in option.values or isinstance(value, bool) != isinstance(option.values[0], bool):
            legal = ", ".join(map(repr, option.values))
            raise ValueError(f"{rule.name}: {option.keyword}={value!r} is not a value of this option; it takes {legal}")


def check_hyper(rule: str, hyper: Hyper, values: Mapping[str, Any]) -> None:
    """Raises TypeError for what is no number, ValueError for a number outside the range; `values` by their names."""
    value = values[hyper.name]
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"{rule}: {hyper.place} must be one number, and this tensor has {value.numel()}")
        if value.device.type != "cpu":
            return  # reading it would make the device wait
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):  # numbers of numpy are `Real` too
        raise TypeError(f"{rule}: {hyper.place}={value!r} is not a number")
    value = int(value) if isinstance(value, Integral) else float(value)
    if hyper.integer and value != int(value):
        raise ValueError(f"{rule}: {hyper.place}={value!r} must be a whole number")
    low, high = _end(hyper.low, values, -math.inf), _end(hyper.high, values, math.inf)
    above = value > low if hyper.open_low else value >= low
    below = value < high if hyper.open_high else value <= high
    if not (above and below):
        declared = f"hyper {hyper.name}" + (f" as {hyper.place}" if hyper.place != hyper.name else "")
        raise ValueError(f"{rule}: {hyper.place}={value!r} is out of range: `{declared} {hyper.range}`")


def _end(end: Any, values: Mapping[str, Any], without: float) -> float:
    if end is None:
        return without
    return float(end(values)) if callable(end) else float(end)
