"""Rules around rules, from Python and from `.opt`, and one optimizer out of several rules."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

import dotopt
import dotopt.stdlib as stdlib
from dotopt.stdlib import (
    EMA,
    SAM,
    SGD,
    SWA,
    AdamW,
    Adan,
    Cautious,
    CautiousLion,
    Centralised,
    ClipNorm,
    ClipValue,
    DecoupledDecay,
    Lion,
    Lookahead,
    Muon,
    WarmUp,
)


def tensors(*shapes):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]


def train(optimizer, params, count=7, first=0, before=lambda params: None):
    for step in range(first, first + count):
        for i, p in enumerate(params):
            p.grad = torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(100 * step + i))
        before(params)
        optimizer.step()
    return [p.detach().clone() for p in params]


def test_lookahead_cautious_adan() -> None:
    cls = Lookahead(Cautious(Adan))
    params, parts = tensors((4, 3), (5,)), tensors((4, 3), (5,))
    got = train(cls(params, lr=0.01, k=3, weight_decay=0.1), params, 6)
    inner = Cautious(Adan)(parts, lr=0.01, weight_decay=0.1)
    slow = [p.detach().clone() for p in parts]
    for step in range(6):
        train(inner, parts, 1, step)
        if step % 3 == 2:
            with torch.no_grad():
                for s, p in zip(slow, parts, strict=True):
                    s.add_(0.5 * (p - s))
                    p.copy_(s)
    torch.testing.assert_close(got, [p.detach() for p in parts], rtol=1e-12, atol=1e-14)


def test_a_composed_class_is_one_class_with_the_options_of_both() -> None:
    cls = Lookahead(AdamW)
    assert Lookahead(AdamW) is cls and issubclass(cls, torch.optim.Optimizer) and cls.__name__ == "LookaheadAdamW"
    group = cls(tensors((3,)), k=7, betas=(0.8, 0.9), amsgrad=True).param_groups[0]
    assert (group["k"], group["alpha"], group["betas"], group["amsgrad"]) == (7, 0.5, (0.8, 0.9), True)
    assert Lookahead(AdamW, k=9)(tensors((3,))).param_groups[0]["k"] == 9
    with pytest.raises(TypeError, match="has no option `kk`"):
        cls(tensors((3,)), kk=1)


def test_a_keyword_of_both_goes_to_the_base_rule_and_the_outer_one_gets_a_prefix() -> None:
    (p,) = tensors((3,))
    group = EMA(DecoupledDecay(Lookahead(Lookahead(SGD))))(
        [p], decay=0.3, ema_decay=0.9, k=2, lookahead_k=3
    ).param_groups[0]
    assert (group["decay"], group["ema_decay"], group["k"], group["lookahead_k"]) == (0.3, 0.9, 2, 3)


def test_composition_in_a_file_is_composition_in_python() -> None:
    one, two = tensors((4, 3)), tensors((4, 3))
    torch.testing.assert_close(
        train(CautiousLion(one, lr=0.1, weight_decay=0.2), one),
        train(Cautious(Lion)(two, lr=0.1, weight_decay=0.2), two),
    )


def test_a_composed_optimizer_saves_loads_copies_and_pickles() -> None:
    params = tensors((4, 3), (5,))
    optimizer = Lookahead(Cautious(Adan))(params, lr=0.01, k=3)
    train(optimizer, params, 4)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    others = [p.detach().clone().requires_grad_() for p in params]
    loaded = Lookahead(Cautious(Adan))(others, lr=1.0)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    copies = [loaded, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    wanted = train(optimizer, params, 4, 4)
    for other in copies:
        assert train(other, other.param_groups[0]["params"], 4, 4)[0].equal(wanted[0])


def test_clipping_is_clipping() -> None:
    for transform, clip in (
        (ClipNorm(SGD), lambda params: torch.nn.utils.clip_grad_norm_(params, 0.7)),
        (ClipValue(SGD), lambda params: torch.nn.utils.clip_grad_value_(params, 0.7)),
    ):
        one, two = tensors((4, 3), (5,)), tensors((4, 3), (5,))
        keyword = "max_norm" if transform.__name__ == "ClipNormSGD" else "clip_value"
        got = train(transform(one, lr=0.1, momentum=0.9, **{keyword: 0.7}), one)
        wanted = train(torch.optim.SGD(two, lr=0.1, momentum=0.9), two, before=clip)
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-7)  # torch adds 1e-6 to the norm


def test_centralisation_warm_up_and_decay() -> None:
    one, two = tensors((4, 3), (5,)), tensors((4, 3), (5,))

    def centre(params):
        params[0].grad -= params[0].grad.mean(1, keepdim=True)

    got = train(Centralised(SGD)(one, lr=0.1), one)
    torch.testing.assert_close(got, train(torch.optim.SGD(two, lr=0.1), two, before=centre))

    one, two = tensors((5,)), tensors((5,))
    got = train(WarmUp(SGD)(one, lr=0.1, warmup_steps=4), one)
    plain = torch.optim.SGD(two, lr=0.1)
    ramp = torch.optim.lr_scheduler.LambdaLR(plain, lambda step: min(1, (step + 1) / 4))
    for step in range(7):
        train(plain, two, 1, step)
        ramp.step()
    torch.testing.assert_close(got, [p.detach() for p in two])

    one, two = tensors((5,)), tensors((5,))
    got = train(DecoupledDecay(stdlib.Adam)(one, lr=0.1, decay=0.3), one)
    torch.testing.assert_close(got, train(torch.optim.AdamW(two, lr=0.1, weight_decay=0.3), two))


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_means_of_weights(backend) -> None:
    params, plain = tensors((5,)), tensors((5,))
    optimizer, other = SWA(SGD)(params, lr=0.1, start=2, period=2, backend=backend), torch.optim.SGD(plain, lr=0.1)
    ema_params, ema_plain = tensors((5,)), tensors((5,))
    ema = EMA(SGD)(ema_params, lr=0.1, decay=0.7, backend=backend)
    ema_other, mean = torch.optim.SGD(ema_plain, lr=0.1), ema_plain[0].detach().clone()
    kept = []
    for step in range(6):
        train(optimizer, params, 1, step)
        train(other, plain, 1, step)
        train(ema, ema_params, 1, step)
        train(ema_other, ema_plain, 1, step)
        mean = 0.7 * mean + 0.3 * ema_plain[0].detach()
        if step + 1 in (2, 4, 6):
            kept.append(plain[0].detach().clone())
    optimizer.eval()
    ema.eval()
    torch.testing.assert_close(params[0].detach(), torch.stack(kept).mean(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ema_params[0].detach(), mean, rtol=1e-9, atol=1e-12)


def test_what_cannot_be_composed_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Lookahead takes an optimizer class compiled from a `.opt` file"):
        Lookahead(torch.optim.Adam)
    with pytest.raises(dotopt.OptError, match=r"E507.*gradient"):
        Cautious(SAM)


# ---- routing
# ---------------------------------------------------------------------------------------------------------------


class Language(torch.nn.Module):
    """Embedding, two matrices, a norm, and a head that is tied to the embedding."""

    def __init__(self, tied=True):
        super().__init__()
        self.table = torch.nn.Embedding(11, 6)
        self.mix = torch.nn.Linear(6, 6)
        self.norm = torch.nn.LayerNorm(6)
        self.head = torch.nn.Linear(6, 11, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(self.norm(self.mix(self.table(x))))


def fit(model, optimizer, count=3, schedule=None):
    for step in range(count):
        optimizer.zero_grad()
        x = torch.arange(step, step + 5) % 11
        torch.nn.functional.cross_entropy(model(x), (x + 1) % 11).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()


@pytest.mark.parametrize("tied", [True, False])
def test_matrices_go_to_one_rule_and_ends_and_vectors_to_the_other(tied) -> None:
    model = Language(tied)
    optimizer = dotopt.route(model, {Muon: "matrices", AdamW: "rest"})
    muon, adamw = optimizer.param_groups
    assert muon["rule"] == "Muon" and muon["param_names"] == ["mix.weight"]
    assert "table.weight" in adamw["param_names"] and ("head.weight" in adamw["param_names"]) != tied


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_routed_optimizer_is_two_optimizers(backend) -> None:
    torch.manual_seed(0)
    model = Language()
    other = copy.deepcopy(model)
    optimizer = dotopt.route(
        model,
        {Muon: "matrices", AdamW: "rest"},
        Muon={"lr": 0.02},
        AdamW={"lr": 0.01},
        weight_decay=0.1,
        backend=backend,
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    fit(model, optimizer, 3, schedule)
    apart = [
        Muon([other.mix.weight], lr=0.02, weight_decay=0.1, backend=backend),
        AdamW(
            [p for n, p in other.named_parameters() if n != "mix.weight"], lr=0.01, weight_decay=0.1, backend=backend
        ),
    ]
    schedules = [torch.optim.lr_scheduler.StepLR(o, 1, 0.5) for o in apart]
    for step in range(3):
        for o in apart:
            o.zero_grad()
        x = torch.arange(step, step + 5) % 11
        torch.nn.functional.cross_entropy(other(x), (x + 1) % 11).backward()
        for o, s in zip(apart, schedules, strict=True):
            o.step()
            s.step()
    torch.testing.assert_close(list(model.parameters()), list(other.parameters()), rtol=0, atol=0)


def test_a_routed_optimizer_saves_loads_copies_and_pickles() -> None:
    torch.manual_seed(0)
    model = Language()
    optimizer = dotopt.route(model, {Muon: "matrices", AdamW: "rest"}, lr=0.01, backend="torch")
    fit(model, optimizer)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    second = copy.deepcopy(model)
    loaded = dotopt.route(second, {Muon: "matrices", AdamW: "rest"}, backend="torch")
    loaded.load_state_dict(torch.load(file, weights_only=True))
    third, copied = copy.deepcopy((model, optimizer))
    fourth, unpickled = pickle.loads(pickle.dumps((model, optimizer)))
    fit(model, optimizer)
    for other, its in ((second, loaded), (third, copied), (fourth, unpickled)):
        fit(other, its)
        torch.testing.assert_close(list(other.parameters()), list(model.parameters()), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"a checkpoint of Muon \+ AdamW, not of AdamW"):
        AdamW(model.parameters()).load_state_dict(optimizer.state_dict())


def test_a_group_without_a_rule_is_shared_out_by_the_table() -> None:
    optimizer = dotopt.route(Language(), {Muon: "matrices", AdamW: "rest"})
    before = len(optimizer.param_groups)
    head = torch.nn.Linear(3, 2)
    optimizer.add_param_group({"params": list(head.named_parameters(prefix="head")), "lr": 0.5, "tag": "head"})
    added = optimizer.param_groups[before:]
    assert [(g["rule"], g["param_names"], g["lr"], g["tag"]) for g in added] == [
        ("Muon", ["head.weight"], 0.5, "head"),
        ("AdamW", ["head.bias"], 0.5, "head"),
    ]
    again = pickle.loads(pickle.dumps(optimizer))
    again.add_param_group({"params": [("more", torch.nn.Parameter(torch.ones(3)))]})
    assert again.param_groups[-1]["rule"] == "AdamW"
    lonely = dotopt.route([("a", torch.nn.Parameter(torch.ones(3)))], {Muon: lambda name, p: p.ndim > 1, AdamW: "rest"})
    with pytest.raises(ValueError, match="a group needs `rule`, one of Muon, AdamW; found None"):
        pickle.loads(pickle.dumps(lonely)).add_param_group({"params": [("b", torch.nn.Parameter(torch.ones(3)))]})


def test_routing_by_predicate_and_what_is_refused() -> None:
    model = Language()
    optimizer = dotopt.route(model, {Lion: lambda name, p: name.startswith("norm"), SGD: "rest"}, lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["norm.weight", "norm.bias"]
    extra = torch.nn.Parameter(torch.ones(3))
    optimizer.add_param_group({"params": [("extra", extra)], "rule": "Lion", "lr": 0.5})
    assert optimizer.param_groups[2]["lr"] == 0.5
    with pytest.raises(ValueError, match="a group needs `rule`, one of Lion, SGD; found 'Adam'"):
        optimizer.add_param_group({"params": [("more", torch.nn.Parameter(torch.ones(3)))], "rule": "Adam"})
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": [("norm.bias", model.norm.bias)], "rule": "SGD"})
    with pytest.raises(ValueError, match="no rule takes the parameter `table.weight`"):
        dotopt.route(model, {Muon: "matrices"})
    with pytest.raises(TypeError, match="none of Muon, AdamW has an option `lrr`"):
        dotopt.route(model, {Muon: "matrices", AdamW: "rest"}, lrr=0.1)
    with pytest.raises(TypeError, match="SAM needs a closure of its own"):
        dotopt.route(model, {SAM: "rest"})
    with pytest.raises(ValueError, match="'biases' is no way to choose parameters"):
        dotopt.route(model, {SGD: "biases"})


def test_evaluation_points_of_a_routed_optimizer() -> None:
    model = Language()
    optimizer = dotopt.route(model, {Muon: "matrices", EMA(AdamW): "rest"})
    fit(model, optimizer)
    matrix, bias = model.mix.weight.detach().clone(), model.mix.bias.detach().clone()
    optimizer.eval()
    assert model.mix.weight.equal(matrix) and not model.mix.bias.equal(bias) and not optimizer.training
    optimizer.train()
    assert model.mix.bias.equal(bias) and optimizer.training
