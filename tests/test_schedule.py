"""The passes of real rules against numbers worked out by hand, and the freedom that the schedule has."""

from __future__ import annotations

import pytest

from dotopt.compiler.lower import Static, lower
from dotopt.compiler.schedule.passes import schedule
from dotopt.compiler.schedule.places import Unsupported
from dotopt.compiler.schedule.variants import FIRST_STEP, conditions, specialise
from dotopt.compiler.text.library import Library


def program(name, rank=2, **options):
    """The rule of the library, with defaults for the options that are not given by their symbol."""
    library = Library()
    file = library.file(name)
    values = {option.name: option.default for option in lower(file, Static({}, rank), library).options}
    return lower(file, Static(values | options, rank), library)


def usual(name, true=(), **options):
    """The schedule of the steps after the first; conditions whose text is in `true` hold."""
    rule = program(name, **options)
    return schedule(specialise(rule, {c: repr(c) in true for c in conditions(rule)}))


def names(one):
    return sorted(buffer.name for buffer in one.loads), sorted(buffer.name for buffer, _ in one.stores)


# fp32 bytes read and written per entry, and passes: by hand, from the equations
#   θ, g and the states are read (4 each); θ and the states are written (4 each)
ELEMENTWISE = {
    "SignSGD": (8, 4),  # θ g | θ
    "SGD": (12, 8),  # θ g b | θ b
    "Lion": (12, 8),
    "Signum": (12, 8),
    "Adagrad": (12, 8),
    "Adam": (16, 12),  # θ g m v | θ m v
    "AdamW": (16, 12),
    "NAdam": (16, 12),  # the product of the momenta is one number a group
    "RAdam": (16, 12),
    "AdaBelief": (16, 12),
    "ADOPT": (16, 12),
    "Adamax": (16, 12),
    "Adadelta": (16, 12),
    "RMSprop": (16, 12),
    "Rprop": (16, 12),
    "ScheduleFreeAdamW": (16, 12),  # y g z v | y z v
    "Adan": (24, 20),  # x g m v n p | x m v n p
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_elementwise_rule_is_one_pass_at_the_floor(name: str) -> None:
    plan = usual(name)
    assert len(plan.passes) == 1 and plan.launches == 1
    assert plan.bytes() == plan.floor() == ELEMENTWISE[name]


# rule: what each pass reads, what it writes
REDUCTIONS = {
    # trust ratio ‖x‖/‖u‖; the second pass makes u again from the new m and v, and needs no g
    "LAMB": [(["grad", "m", "v", "x"], ["m", "v"]), (["m", "v", "x"], ["x"])],
    # row and tensor cosines and projections, all sums of products of the first pass
    "AdamP": [(["grad", "m", "v", "w"], ["m", "v"]), (["m", "v", "w"], ["w"])],
    "SGDP": [(["grad", "m", "w"], ["m"]), (["m", "w"], ["w"])],
    # mean of the mask m'*g > 0: writing m in the first pass or in the second costs the same
    "CautiousAdamW": [(["grad", "m"], ["m"]), (["grad", "m", "v", "θ"], ["v", "θ"])],
    # three sums over the model; d is needed again, so nothing can be written early
    "AMSGD": [(["d", "grad", "x"], []), (["d", "grad", "x"], ["d", "x"])],
    # four sums a tensor; v' is written early, since the second pass reads v' as well as v
    "AMAdamW": [(["d", "grad", "v", "x"], ["v"]), (["d", "grad", "v", "x"], ["d", "x"])],
    "MARS": [(["grad", "p"], []), (["grad", "m", "p", "v", "x"], ["m", "p", "v", "x"])],
    "Prodigy": [(["a", "grad", "s", "x"], ["s"]), (["grad", "m", "v", "x"], ["m", "v", "x"])],
    # a norm, a sum of what was divided by it, the step: one more than two, since cosh(γ*N) cannot be taken apart
    "AuON": [(["grad", "m"], ["m"]), (["grad", "m"], []), (["grad", "m", "x"], ["x"])],
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_ends_a_pass(name: str) -> None:
    plan = usual(name)
    assert [names(one) for one in plan.passes] == REDUCTIONS[name]
    assert plan.bytes() == (
        4 * sum(len(read) for read, _ in REDUCTIONS[name]), 4 * sum(len(written) for _, written in REDUCTIONS[name])
    )
    assert plan.launches == 2 * len(plan.passes) - 1  # a finish between two passes


def test_no_elementwise_or_reducing_rule_of_the_library_needs_more_than_two_passes_but_one() -> None:
    for name in [*ELEMENTWISE, *REDUCTIONS]:
        assert len(usual(name).passes) <= 2 or name == "AuON"


def test_clipping_costs_a_pass_only_when_it_is_on() -> None:
    assert len(usual("Adan").passes) == 1
    clipped = usual("Adan", true=("G > 0",))
    assert [names(one) for one in clipped.passes] == [
        (["grad"], []), (["grad", "m", "n", "p", "v", "x"], ["m", "n", "p", "v", "x"])]


def test_a_state_with_a_first_value_is_not_read_at_the_first_step() -> None:
    adan = program("Adan")
    first = schedule(specialise(adan, {c: c is FIRST_STEP for c in conditions(adan)}))
    assert names(first.passes[0]) == (["grad", "m", "n", "v", "x"], ["m", "n", "p", "v", "x"])
    scale = program("SGDSaI")
    begun = schedule(specialise(scale, dict.fromkeys(conditions(scale), True)))
    # its mean, the deviations from it, and the step
    assert len(begun.passes) == 3, "the scale of a tensor is measured once, on its first gradient"
    assert usual("SGDSaI").bytes() == (12, 8)


def test_what_no_option_reads_is_not_loaded() -> None:
    assert usual("Adam", amsgrad=True).bytes() == (20, 16)
    assert usual("RMSprop", centered=True).bytes() == (20, 16)


def test_matrix_rules_are_one_pass_before_the_library_and_one_after() -> None:
    plan = usual("Muon")
    assert [names(one) for one in plan.passes] == [(["M", "grad"], ["M", "scratch0"]), (["W", "scratch1"], ["W"])]
    (routine,) = plan.routines
    assert routine.after == 0 and [buffer.name for buffer in routine.inputs.values()] == ["scratch0"]
    assert [buffer.name for buffer, _ in routine.results] == ["scratch1"]


def test_storage_counts() -> None:
    lion = usual("Lion")
    assert lion.bytes({"x": 2, "grad": 2}) == (8, 6)
    assert usual("AdamW").bytes({"m": 1, "v": 1}) == (10, 6)


MATRICES = {
    # what each pass reads and writes, and after it: what the library is given, what it makes, what states it replaces
    "Shampoo": [(["W", "grad"], ["scratch0"]), "scratch0 -> scratch1, L R", (["W", "scratch1"], ["W"])],
    "SOAP": [
        (["grad", "m"], ["m"]), "grad -> scratch1, L R",  # the gradient in the eigenbasis
        (["scratch1", "v"], ["v"]), "m v -> scratch4, ",  # and the step back out of it
        (["W", "scratch4"], ["W"]),
    ],
    "Adafactor": [
        (["grad", "x"], ["scratch0"]), "scratch0 -> scratch1, C R",  # the second moment from its rows and columns
        (["grad", "scratch1"], []), (["grad", "scratch1", "x"], ["x"]),
    ],
    "SAM": [(["grad"], []), (["grad", "θ"], ["scratch0"]), "scratch0 -> scratch1, ", (["scratch1", "θ"], ["θ"])],
}


@pytest.mark.parametrize("name", MATRICES)
def test_what_lies_between_two_passes(name: str) -> None:
    """Products, factorisations, sums over columns, and a gradient elsewhere, which the closure is asked for."""
    plan = usual(name)
    found = []
    for place, one in enumerate(plan.passes):
        found.append(names(one))
        for work in plan.routines:
            if work.after == place:
                given, made = (" ".join(sorted(b.name for b in some)) for some in (
                    work.inputs.values(), [buffer for buffer, _ in work.results]))
                found.append(f"{given} -> {made}, {' '.join(sorted(name for name, _ in work.kept))}")
    assert found == MATRICES[name]


def test_roots_that_are_taken_now_and_then_are_programs_of_their_own() -> None:
    rule = program("Shampoo")
    assert [repr(c) for c in conditions(rule)] == ["t == 1", "(every k from k)"]
    for fires in (False, True):
        plan = schedule(specialise(rule, {c: c is not FIRST_STEP and fires for c in conditions(rule)}))
        roots = [here for root in plan.program.roots for here in root.walk() if here.op == "matrix_power"]
        assert bool(roots) == fires


def test_what_no_pass_can_do_is_said() -> None:
    with pytest.raises(Unsupported, match="which only the torch backend handles"):
        usual("APO")
