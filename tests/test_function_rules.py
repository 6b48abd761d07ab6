"""Rules that compile to pure functions against golden data: aggregators, minimisers, solvers, learners."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dotopt
from dotopt import stdlib
from dotopt.runtime.functions.draws import Draws
from dotopt.runtime.functions.solvers import NoConvergence
from dotopt.stdlib import CBO, MIFGSM, NHARPG, SAMGS, EqProp, HardConstraint, PCGrad, SinkhornNewtonSparse

GOLDEN = Path(__file__).parent / "golden"
DOUBLE = torch.float64


def golden(name: str) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress((GOLDEN / f"{name}.json.gz").read_bytes())))


def close(found: Any, wanted: Any, rtol: float = 1e-12) -> None:
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(np.asarray(wanted)), rtol=rtol, atol=rtol)


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


class Given(Draws):
    """Draws whose numbers the test knows, by their position in the file."""

    def __init__(self, numbers: Mapping[int, Any], samples: Mapping[str, Any] | None = None) -> None:
        super().__init__(0, 1, DOUBLE, samples=dict(samples or {}))
        object.__setattr__(self, "numbers", numbers)

    def normal(self, position: int, *rest: Any, path: Any = ()) -> Any:
        return self.numbers[position]

    uniform = bernoulli = choose = permutation = normal


@pytest.mark.parametrize("conflict", ["mean", "any"])
def test_similarity_of_tasks(conflict: str) -> None:
    data = golden("C-mtl-surgery")
    betas = (data["hyper"]["beta1"], data["hyper"]["beta2"])
    rule = SAMGS(betas=betas, gamma=data["hyper"]["gamma"], conflict=conflict)
    for gradients, wanted in zip(data["task_gradients"], data["runs"][f"SAM-GS_{conflict}"], strict=True):
        close(rule(double(gradients)), wanted["g"])


def test_projected_conflicts() -> None:
    data = golden("C-mtl-surgery")["two_tasks"]
    close(PCGrad()(double(data["matrix"])), data["pcgrad_sum"])


@pytest.mark.parametrize(("noise", "setting"), [("isotropic", "iso"), ("anisotropic", "aniso")])
def test_consensus(noise: str, setting: str) -> None:
    data = golden("D-cbo")
    given = data["inputs"]

    class Values:
        def values(self, v: Tensor) -> Tensor:
            return (v**2).sum(-1) + 2.5 * (1 - torch.cos(2 * torch.pi * v)).sum(-1)

    rule = CBO(particles=4, lam=given["lam"], sigma=given["sigma"], alpha=given["alpha"], dt=given["dt"], noise=noise)
    state, x = {"V": double(given["V0"])}, torch.zeros(2, dtype=DOUBLE)
    for t, xi in enumerate(given["xi"], start=1):
        _, state, moved = rule.step_function(
            x, Values(), state, t, t == 1, rule.hyper, {"d": 2, "N": 4}, Given({0: double(xi)})
        )
        x = moved["x"]
    close(state["V"], data["expected"][setting]["final"], rtol=1e-9)


def test_attack_on_an_image() -> None:
    data = golden("C-attacks")
    W1, b1, W2, b2 = (double(data[name]) for name in ("W1", "b1", "W2", "b2"))

    def loss(u: Tensor, labels: Tensor) -> Tensor:
        logits = torch.tanh(u.reshape(len(u), -1) @ W1.T + b1) @ W2.T + b2
        return torch.nn.functional.cross_entropy(logits, labels)

    h = data["hyper"]
    attack = MIFGSM(eps=h["eps"], alpha=h["alpha"], decay=h["mu"], steps=h["steps"])
    found = attack(loss, double(data["x"]), torch.tensor(data["y"]))
    close(found, data["runs"]["MI-FGSM_l1"][-1]["adv"], rtol=1e-10)


def test_sinkhorn_newton_sparse() -> None:
    data = golden("D-sns")
    given = data["inputs"]
    C, r, c = (double(given[name]) for name in ("C", "r", "c"))
    found = SinkhornNewtonSparse(eta=given["eta"], N=given["N1"], lam=given["lam"], tol=1e-13)(C, r, c)
    close(found, data["expected"]["P_star"], rtol=1e-9)
    close((found * C).sum(), data["expected"]["OT_cost"], rtol=1e-9)


def test_last_layer_fitted_to_an_equation() -> None:
    data = golden("D-hard-constraint")
    given, c = data["inputs"], data["inputs"]["c"]
    B, f, half = double(given["B"]), double(given["f"]), given["split"]
    parts, sides = [B[:half], B[half:]], [f[:half], f[half:]]
    residuals = [lambda u, side=side: u + c * u**3 - side for side in sides]
    found = HardConstraint(residuals, ridge=given["ridge"], tol=1e-11)(parts)
    for e in range(2):
        close(found[e], parts[e] @ double(data["expected"]["moe_w"][e]), rtol=1e-7)


@pytest.mark.parametrize(("normalised", "setting"), [(True, "N-HARPG"), (False, "HARPG")])
def test_policy_gradient_with_curvature(normalised: bool, setting: str) -> None:
    data = golden("C-policy-gradient")
    problem, reward = data["problem"], data["problem"]["reward"]
    theta = torch.nn.Parameter(double(data["init"]["theta"]))

    def returns(path: list[list[int]]) -> list[float]:
        steps = [problem["discount"] ** h * reward[s][a] for h, (s, a) in enumerate(path)]
        return [sum(steps[t:]) for t in range(len(steps))]

    def played(path: list[list[int]]) -> dict[str, Tensor]:
        logs = torch.stack([torch.log_softmax(theta, 1)[s, a] for s, a in path])
        return {"J": -(double(returns(path)) * logs).sum(), "ell": logs.sum()}

    opt = NHARPG([theta], lr=data["hyper"]["gamma0"], normalised=normalised)
    draws = problem["q"]
    for k, wanted in enumerate(data["runs"][setting]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Draws, "uniform", lambda *a, k=k, **b: draws[k])
            opt.step(lambda k=k: played(problem["traj_gradient"][k]), lambda k=k: played(problem["traj_hessian"][k]))
        close(theta.detach(), wanted["theta"], rtol=1e-10)


def test_equilibrium_propagation_is_the_gradient() -> None:
    start = double([[0.2, -0.3, 0.1], [-0.3, 0.1, 0.25], [0.1, 0.25, -0.2]])
    W = torch.nn.Parameter(start.clone())
    b, y = double([0.3, -0.7, 0.4]), double([0.1, 0.2, -0.3])

    def field(u: Tensor, x: Any) -> Tensor:
        return W.to(u.dtype) @ u + b

    opt = EqProp(
        [W], field, lambda u, y: 0.5 * ((u - y) ** 2).sum(), lambda u: u,
        lr=1.0, beta=0.05, N=8, T=500, K=200, sizes={"units": 3},
    )  # fmt: skip
    opt.step(None, y)
    u = torch.linalg.solve(torch.eye(3, dtype=DOUBLE) - start, b)
    slope = torch.linalg.solve(torch.eye(3, dtype=DOUBLE) - start.T, u - y)
    close(start - W.detach(), torch.outer(slope, u), rtol=1e-5)


# ---- protocols


ROUNDS = {
    "FedAvg": "FedAvg",
    "FedAvgM": "FedAvg-M",
    "FedAvgMVR": "FedAvg-M-VR",
    "Scaffold": "SCAFFOLD",
    "ScaffoldM": "SCAFFOLD-M",
    "ScaffoldMVR": "SCAFFOLD-M-VR",
}


@pytest.mark.parametrize(("name", "setting"), ROUNDS.items())
def test_federated_rounds(name: str, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = golden("C-fed-momentum")
    problem, chosen = data["problem"], data["runs"][setting]
    sampled = 2 if "SCAFFOLD" in setting else 4
    hypers = {
        "local_lr": data["hyper"]["eta_local"],
        "lr": chosen["gamma"],
        "K": data["hyper"]["K"],
        "sampled": sampled,
    }
    if "M" in setting.replace("SCAFFOLD-", "").replace("FedAvg-", "").split("-"):
        hypers["beta"] = chosen["beta"]

    def loss(client: int) -> Any:
        A, b = double(problem["A"][client]), double(problem["b"][client])

        def value(x: Tensor, sample: tuple[float, Tensor]) -> Tensor:
            z, s = sample
            return (1 + z) * 0.5 * (x - b) @ A @ (x - b) + s @ x

        return value

    def batch(i: int, r: int, k: int) -> tuple[float, Tensor]:
        return problem["z"][r - 1][i - 1][k - 1], double(problem["s"][r - 1][i - 1][k - 1])

    if sampled == 2:
        monkeypatch.setattr(
            Draws, "choose", lambda self, *a, **b: tuple(i + 1 for i in data["client_sets_scaffold"][self.step - 1])
        )
    cls = getattr(stdlib, name)
    start = data["init"]
    sim = cls.simulate(double(start["x"]), [loss(i) for i in range(4)], batches=batch, **hypers)
    controlled = "SCAFFOLD" in setting
    if controlled:
        sim.own = {i + 1: {"h": double(c)} for i, c in enumerate(start["c_i"])}
        sim.common = {"c": double(start["c_i"]).mean(0)}
    for wanted in chosen["trace"]:
        sim.round()
        close(sim.x, wanted["x"], rtol=1e-10)
        if controlled:
            close(torch.stack([sim.own[i]["h"] for i in (1, 2, 3, 4)]), wanted["c_i"], rtol=1e-10)


@pytest.mark.parametrize(("anchor", "setting"), [("old", "MASHA2_bi"), ("new", "MASHA2_bi_w_from_new_z")])
def test_compressed_extragradient(anchor: str, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = golden("C-masha")
    J, a = double(data["problem"]["J"]), double(data["problem"]["a"])
    monkeypatch.setattr(Draws, "bernoulli", lambda self, *a, **b: bool(data["random"]["bits"][self.step - 1]))
    sim = stdlib.MASHA2.simulate(
        double(data["init"]["z"]), [lambda z, m=m: J[m] @ z + a[m] for m in range(3)],
        lr=data["hyper"]["gamma"], tau=data["hyper"]["tau"], k=data["hyper"]["k"], anchor=anchor,
    )  # fmt: skip
    for wanted in data["runs"][setting]:
        sim.round()
        close(sim.x, wanted["z"], rtol=1e-10)
        assert sim.state is not None
        close(sim.state["w"], wanted["w"], rtol=1e-10)
        close(sim.state["e"], wanted["e_server"], rtol=1e-10)
        close(torch.stack([sim.own[m]["r"] for m in (1, 2, 3)]), wanted["e_workers"], rtol=1e-10)


@pytest.mark.parametrize(
    ("setting", "options"),
    [
        ("MASHA1_uni", {"down": "none"}),
        ("MASHA1_bi", {}),
        ("MASHA1_bi_w_from_new_z", {"anchor": "new"}),
        ("MASHA1_partial", {"sampled": 2}),
    ],
)
def test_unbiased_compression(setting: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    data = golden("C-masha")
    J, a, drawn = double(data["problem"]["J"]), double(data["problem"]["a"]), data["random"]

    def choose(self: Draws, position: int, elements: Any, count: Any, path: Any = ()) -> tuple[int, ...]:
        step = self.step - 1
        if path:
            return tuple(i + 1 for i in drawn["device_index_sets"][step][path[0] - 1])
        if len(elements) == 4:
            return tuple(i + 1 for i in drawn["server_index_sets"][step])
        return tuple(i + 1 for i in drawn["participants"][step]) if "sampled" in options else tuple(elements)

    monkeypatch.setattr(Draws, "choose", choose)
    monkeypatch.setattr(Draws, "bernoulli", lambda self, *a, **b: bool(drawn["bits"][self.step - 1]))
    hypers = {
        "lr": data["hyper"]["gamma"],
        "tau": data["hyper"]["tau"],
        "k": data["hyper"]["k"],
        "sampled": 3,
    } | options
    sim = stdlib.MASHA1.simulate(
        double(data["init"]["z"]), [lambda z, m=m: J[m] @ z + a[m] for m in range(3)], **hypers
    )
    for wanted in data["runs"][setting]:
        sim.round()
        close(sim.x, wanted["z"], rtol=1e-10)


def test_min_norm_point() -> None:
    data = golden("C-mtl-surgery")["two_tasks"]
    close(stdlib.MGDA()(double(data["matrix"])), data["mgda"], rtol=1e-10)


def test_policy_gradient_at_the_look_ahead() -> None:
    data = golden("C-policy-gradient")
    problem, reward = data["problem"], data["problem"]["reward"]
    theta = torch.nn.Parameter(double(data["init"]["theta"]))

    def played(path: list[list[int]]) -> Tensor:
        steps = [problem["discount"] ** h * reward[s][a] for h, (s, a) in enumerate(path)]
        weights = double([sum(steps[t:]) for t in range(len(steps))])
        return -(weights * torch.stack([torch.log_softmax(theta, 1)[s, a] for s, a in path])).sum()

    opt = stdlib.NPGIGT([theta], lr=data["hyper"]["gamma0"])
    for k, wanted in enumerate(data["runs"]["N-PG-IGT"]):
        opt.step(lambda k=k: {"J": played(problem["traj_gradient"][k])})
        close(theta.detach(), wanted["theta"], rtol=1e-10)


def test_consensus_hopping() -> None:
    data = golden("D-cbo")
    given = data["inputs"]

    class Values:
        def values(self, v: Tensor) -> Tensor:
            return (v**2).sum(-1) + 2.5 * (1 - torch.cos(2 * torch.pi * v)).sum(-1)

    rule = stdlib.ConsensusHopping(particles=4, sigma=given["ch_sigma"], alpha=given["alpha"])
    x = double(given["ch_x0"])
    for t, (xi, wanted) in enumerate(zip(given["xi"], data["expected"]["hopping"], strict=True), start=1):
        _, _, moved = rule.step_function(x, Values(), {}, t, t == 1, rule.hyper, {"d": 2}, Given({0: double(xi)}))
        x = moved["x"]
        close(x, wanted, rtol=1e-10)


# ---- what breaks first


@pytest.mark.parametrize("name", ["PCGrad", "SAMGS", "MGDA", "CAGrad", "IMTLG", "UPGrad"])
@pytest.mark.parametrize("scale", [0.0, 1e-15, 1.0, 1e15])
@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_aggregators_give_numbers(name: str, scale: float, tasks: int) -> None:
    generator = torch.Generator().manual_seed(tasks)
    matrix = torch.randn(tasks, 7, generator=generator) * scale
    if tasks > 2:
        matrix[1] = 0.0
    found = getattr(stdlib, name)()(matrix)
    assert found.shape == (7,)
    assert torch.isfinite(found).all()


def test_draws_of_formulas_are_their_own(tmp_path: Path) -> None:
    """Two calls of a formula that draws, and a draw of the rule with the same name: three draws, not one."""
    text = (
        '"""Two compressions."""\nrule Twice\nuse rand_k\nobjective f\nparam x : real[n]\nhyper η as lr >= 0 = 1\n'
        "S ~ uniform(0, 1)\ng = ∇f(x)\nx' = x - η*(rand_k(g, 3) + 100*rand_k(g, 3) + 0*S)\n"
    )
    path = tmp_path / "twice.opt"
    path.write_text(text, encoding="utf-8")
    from dotopt.compiler.evaluate import Simulation
    from dotopt.compiler.lower import lower
    from dotopt.compiler.text.library import Library, load

    program = lower(load(path), library=Library(tmp_path))
    assert len({random.name for random in program.randoms}) == len(program.randoms) == 3
    run = Simulation(program, np.zeros(12), {"lr": 1.0}, seed=4)
    run.step(np.ones(12))
    masks = -run.params / 4
    assert (masks % 100 > 0.5).sum() == 3
    assert (masks >= 100).sum() == 3
    assert ((masks % 100 > 0.5) != (masks >= 100)).any()


def test_families_of_loops_have_indices_of_their_own(tmp_path: Path) -> None:
    """`u[j]` stands beside a maximum over `i`, and members of a loop's family are read in another order."""
    path = tmp_path / "members.opt"
    path.write_text(
        '"""Members."""\nrule Members\nobjective f[i in tasks]\nparam θ : real[...]\noutput d : like θ\n'
        "g[i] = ∇f[i](θ)\na = max(norm(g[i], over=model) for i)\nu[i] = g[i]/a\n"
        "G[i, j] = dot(u[i], 2*u[j], over=model) + i\n"
        "iterate M[i, j, k] from G[j, k], q[i, j] from G[i, j] repeat 1:\n"
        "  M'[i, j, k] = M[i, j, k] + q[i, j]\n  q'[i, j] = q[i, j]\n"
        "w[i] = sum(q[k, i] + M[i, k, i] for k)\nd = sum(w[i]*g[i] for i)\n",
        encoding="utf-8",
    )
    J = torch.randn(3, 5, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    u = J / J.norm(dim=1).max()
    G = 2 * u @ u.T + torch.arange(1.0, 4.0)[:, None]
    M = G[None] + G[:, :, None]
    w = torch.stack([sum(G[k, i] + M[i, k, i] for k in range(3)) for i in range(3)])
    close(dotopt.load(path).Members()(J), w @ J)


def test_every_file_of_the_library_runs_but_theorems() -> None:
    for name in dotopt.names():
        try:
            getattr(stdlib, name)
        except dotopt.OptError as error:
            assert error.diagnostics[0].code == "E606", f"{name}: {error}"


def test_formulas_that_draw_take_a_seed() -> None:
    v = torch.arange(1.0, 7.0)
    found = stdlib.rand_k(v, 2, seed=3)
    assert torch.equal(found, stdlib.rand_k(v, 2, seed=3))
    assert int((found != 0).sum()) == 2
    assert any(not torch.equal(found, stdlib.rand_k(v, 2, seed=s)) for s in range(5))


def test_names_of_the_file_never_meet_those_of_the_functions(tmp_path: Path) -> None:
    path = tmp_path / "hostile.opt"
    path.write_text(
        '"""Names that clash with everything."""\nrule Hostile\nobjective f[i in tasks]\nparam theta : real[...]\n'
        "hyper random >= 0 = 2\nhyper sizes >= 0 = 3\nstate torch : real = 1\noutput d : like theta\n"
        "g[i] = ∇f[i](theta)\npart = random*sum(g[i] for i)\ntotal = part*sizes\ntorch' = torch + 1\nd = total*torch\n",
        encoding="utf-8",
    )
    rule = dotopt.load(path).Hostile()
    J = torch.ones(2, 3)
    assert rule(J).tolist() == [12.0] * 3
    assert rule(J).tolist() == [24.0] * 3


# ---- never NaN in silence


def test_solvers_say_when_they_leave_the_numbers() -> None:
    C = torch.rand(3, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    r, c = torch.full((3,), 1 / 3, dtype=DOUBLE), torch.full((4,), 0.25, dtype=DOUBLE)
    with pytest.raises(ValueError, match="left the numbers"):
        SinkhornNewtonSparse(eta=1e6)(C, r, c)
    with pytest.raises(ValueError, match="NaN at a point"):
        MIFGSM()(lambda x, y: (x * torch.nan).sum(), torch.rand(1, 3), torch.tensor([0]))


def test_loops_say_when_they_stop_before_their_end() -> None:
    J = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.5, 0.0], [-1.0, 0.0, 0.5]])
    with pytest.warns(NoConvergence, match="after 1 passes"):
        stdlib.UPGrad(pivots=1)(J)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoConvergence)
        stdlib.UPGrad()(J)
