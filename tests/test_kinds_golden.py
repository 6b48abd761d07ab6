"""Rules of tasks, attacks, preferences, physics, energies and theory against golden data, through compiled code."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dotopt import stdlib
from dotopt.runtime.functions.draws import Draws
from dotopt.runtime.optimizer import draws as optimizer_draws
from dotopt.stdlib import SGD, DecoupledDecay
from tests.test_function_rules import DOUBLE, close, double, golden

TESTS = Path(__file__).parent


def test_every_golden_file_of_these_kinds_is_replayed() -> None:
    names = {path.name.removesuffix(".json.gz") for path in (TESTS / "golden").glob("[CD]-*.json.gz")}
    text = "".join((TESTS / f"{name}.py").read_text("utf-8") for name in ("test_function_rules", "test_kinds_golden"))
    assert not {name for name in names if f'golden("{name}")' not in text}


# ---- tasks, attacks


@pytest.mark.parametrize(("rescaled", "setting"), [(False, "cagrad_norescale"), (True, "cagrad_rescale1")])
def test_conflict_averse(rescaled: bool, setting: str) -> None:
    data = golden("C-mtl-surgery")["two_tasks"]
    rule = stdlib.CAGrad(c=data["cagrad_c"], rescaled=rescaled)
    close(rule(double(data["matrix"])), data[setting], rtol=data["tol_cagrad"])


@pytest.mark.parametrize("tasks", [2, 3, 6])
def test_projections_and_conflicts(tasks: int) -> None:
    J = torch.randn(tasks, 9, dtype=DOUBLE, generator=torch.Generator().manual_seed(tasks))
    J[0] = -J[1] + 0.3 * J[0]  # two tasks that fight
    for matrix in (J, torch.diag(torch.logspace(-2, 2, tasks, dtype=DOUBLE)) @ J):
        projections = matrix @ stdlib.IMTLG()(matrix) / matrix.norm(dim=1)
        close(projections, projections.mean().expand(tasks), rtol=1e-8)
    assert float((J @ stdlib.UPGrad(reg=0)(J)).min()) > -1e-10
    assert float((J @ stdlib.CAGrad(c=0.0)(J) - J @ J.mean(0)).abs().max()) < 1e-12


def test_gramians_are_products_of_matrices() -> None:
    """Nothing of the size [tasks, tasks, n] is made: 40 tasks with 1e6 entries would be 6 GB."""
    for name in ("MGDA", "CAGrad", "IMTLG", "UPGrad"):
        _, step = next(iter(getattr(stdlib, name).rule.functions.values()))
        text = inspect.getsource(step)
        assert 'torch.einsum("ab,cb->ac"' in text


def classifier(data: dict[str, Any]) -> Callable[[Tensor, Tensor], Tensor]:
    W1, b1, W2, b2 = (double(data[name]) for name in ("W1", "b1", "W2", "b2"))

    def loss(u: Tensor, labels: Tensor) -> Tensor:
        logits = torch.tanh(u.reshape(len(u), -1) @ W1.T + b1) @ W2.T + b2
        return torch.nn.functional.cross_entropy(logits, labels)

    return loss


def test_sign_attacks() -> None:
    data = golden("C-attacks")
    h, x, y = data["hyper"], double(data["x"]), torch.tensor(data["y"])
    close(stdlib.FGSM(eps=h["eps"])(classifier(data), x, y), data["runs"]["FGSM"])
    pgd = stdlib.PGD(eps=h["eps"], alpha=h["alpha"], steps=h["steps"], random_start=False)
    close(pgd(classifier(data), x, y), data["runs"]["PGD_no_random_start"][-1]["adv"])


def test_attack_on_what_an_image_is_generated_from() -> None:
    data = golden("C-attacks")
    toy, loss = data["sd_miae_toy"], classifier(data)
    Wg, bg, e0, label = double(toy["Wg"]), double(toy["bg"]), double(toy["e0"]), torch.tensor(toy["label"])
    first, second = toy["phase1"], toy["phase2"]

    def image(e: Tensor) -> Tensor:
        return torch.sigmoid(Wg @ e + bg).reshape(1, 1, 2, 2)

    def attacked(adam_steps: int, steps: int, keep: bool = True) -> Tensor:
        rule = stdlib.SDMIAE(
            lr=0.05, lam=0.5, adam_steps=adam_steps, keep_meaning=keep,
            steps=steps, decay=second["mu"], alpha=second["alpha"], eps=second["eps"],
        )  # fmt: skip
        found: Tensor = rule(image, loss, e0, label)
        return found

    close(attacked(4, 0), first["trace_paper_sign_minus_cos"][-1]["e"])
    close(attacked(4, 0, keep=False), first["trace_code_sign_plus_cos"][-1]["e"])
    for k, wanted in enumerate(second["trace_target_embedding"], start=1):
        close(attacked(4, k), wanted["e"])
    on_image = stdlib.MIFGSM(eps=second["eps"], alpha=second["alpha"], decay=second["mu"], steps=4)
    found = on_image(loss, image(attacked(4, 0)), label)
    close(found.reshape(-1), np.ravel(second["trace_target_image"][-1]["adv"]))


# ---- preferences


@pytest.mark.parametrize(
    ("setting", "alpha", "reward"),
    [("iterative_dpo_alpha0", 0, True), ("apo_dpo", 0.3, True), ("sppo_alpha0", 0, False), ("apo_sppo", 0.3, False)],
)
def test_rounds_on_a_table(setting: str, alpha: float, reward: bool) -> None:
    data = golden("C-apo")
    problem = data["problem"]
    for x, reference in enumerate(data["init"]["log_pi_ref"]):
        r = double(problem["reward"][x])
        P = r[:, None].expand(4, 4) if reward else double(problem["preference_P"][x])
        for rounds, wanted in enumerate(data["runs"][setting], start=1):
            rule = stdlib.PreferenceRounds(alpha=alpha, beta=data["hyper"]["beta"], rounds=rounds)
            q, p = rule(double(reference), P)
            close(q, wanted["log_pi_hat"][x])
            close(p, wanted["log_pi"][x])


@pytest.mark.parametrize(("loss", "slopes"), [("dpo", ("dloss_dlogp_w", "dloss_dlogp_l")), ("sppo", None)])
def test_losses_of_a_round(loss: str, slopes: tuple[str, str] | None) -> None:
    """Parameters that are the log-probabilities themselves: a step of gradient descent shows the loss's derivative."""
    data = golden("C-apo")["dpo_loss"]
    w, lost, ref_w, ref_l = (double(data[name]) for name in ("logp_w", "logp_l", "ref_w", "ref_l"))
    theta = torch.nn.Parameter(torch.stack([ref_w, ref_l]))
    rule = stdlib.APO(SGD)([theta], lambda x, y: theta[y], lr=1.0, alpha=0.0, beta=data["beta"], round=100, loss=loss)
    rule.step(None, 0, 1)  # the reference is what the first step finds
    with torch.no_grad():
        theta.copy_(torch.stack([w, lost]))
    rule.step(None, 0, 1)
    found = (torch.stack([w, lost]) - theta.detach()) * len(w)
    if slopes is not None:
        wanted = double([data[name] for name in slopes])
    else:
        half = 0.5 / data["beta"]
        wanted = torch.stack([2 * (w - ref_w - half), 2 * (lost - ref_l + half)])
        values = (w - ref_w - half) ** 2 + (lost - ref_l + half) ** 2
        close(values, data["sppo_hard_loss_per_pair"])
    close(found, wanted, rtol=1e-10)


# ---- physics, samplers, energies


@pytest.mark.parametrize(
    ("options", "setting"),
    [({}, "final_shared"), ({"unbiased": True}, "final_unbiased"), ({"full_forward": True}, "final_alg1")],
)
def test_sampled_dimensions(options: dict[str, bool], setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = golden("D-sdgd")
    given = data["inputs"]
    params = [torch.nn.Parameter(double(given[name])) for name in ("a", "W", "b")]
    a, W, b = params
    x, f = double(given["x"]), double(given["f"])

    def piece(i: int) -> Callable[[Tensor], Tensor]:
        return lambda x: -(torch.sin(x @ W.T + b) * a * W[:, i] ** 2).sum(-1)

    def rest(x: Tensor) -> Tensor:
        u = torch.sin(x @ W.T + b) @ a
        return u - u**3 - f

    rule = stdlib.SDGD(SGD)(params, [piece(i) for i in range(4)], rest, lr=given["lr"], sampled=given["m"], **options)
    drawn: dict[tuple[int, int], tuple[int, ...]] = {}

    def choose(self: Draws, position: int, *rest: Any, **more: Any) -> tuple[int, ...]:
        key = (self.step, position)
        sequence = "I_seq" if position == min(p for s, p in [*drawn, key] if s == self.step) else "J_seq"
        drawn[key] = tuple(i + 1 for i in given[sequence][self.step - 1])
        return drawn[key]

    monkeypatch.setattr(Draws, "choose", choose)
    for _ in given["I_seq"]:
        rule.step(x)
    close(torch.cat([p.detach().reshape(-1) for p in params]), data["expected"][setting], rtol=1e-10)


@pytest.mark.parametrize("N", [1, 2, 4, 6])
def test_response_of_the_activities(N: int) -> None:
    data = golden("D-ep")
    given, wanted = data["inputs"], data["expected"]
    start, b, y = (double(given[name]) for name in ("W", "b", "y"))
    W = torch.nn.Parameter(start.clone())

    def act(u: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(2 - 4 * u))

    def step(beta: float, phases: int) -> Tensor:
        with torch.no_grad():
            W.copy_(start)
        rule = stdlib.EqProp(
            [W], lambda r, x: W.to(r.dtype) @ r + b, lambda r, y: 0.5 * ((r[-2:] - y) ** 2).sum(), act,
            lr=1.0, beta=beta, N=phases, T=300, K=150, tol=1e-13, sizes={"units": 5},
        )  # fmt: skip
        rule.step(None, y)
        return start - W.detach()

    estimate = double(wanted["estimates"][given["N"].index(N)])
    close(step(given["beta"], N), torch.outer(estimate, double(wanted["r0"])), rtol=1e-9)
    if N == 6:
        error = (step(0.05, 6) - double(wanted["grad_W_true"])).abs().max()
        assert float(error) < 3e-7 * float(double(wanted["grad_W_true"]).abs().max())


def test_homeostasis_pulls_towards_symmetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean over draws of the extra term is the gradient of twice the squared asymmetric part."""
    start = torch.randn(4, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(1)) / 4
    W = torch.nn.Parameter(start.clone())
    b, y = double([0.1, -0.2, 0.3, 0.0]), double([0.0, 0.1, 0.2, 0.3])
    total = torch.zeros_like(start)
    for j in range(4):  # 2 e_j, each as likely as the others, have the second moments of the draws
        monkeypatch.setattr(Draws, "normal", lambda *a, j=j, **b: 2 * torch.eye(4, dtype=DOUBLE)[j])
        for weight in (1.0, 0.0):
            with torch.no_grad():
                W.copy_(start)
            rule = stdlib.EqProp(
                [W], lambda r, x: W @ r + b, lambda r, y: ((r - y) ** 2).sum(), torch.sigmoid,
                lr=1.0, N=1, T=5, K=1, sizes={"units": 4}, homeostatic=True, homeostasis=weight,
            )  # fmt: skip
            rule.step(None, y)
            total += (start - W.detach()) * (1 if weight else -1) / 4
    close(total, 2 * (start - start.T) / 4, rtol=1e-8)


@pytest.mark.parametrize("layer", [1, 2])
def test_layers_that_lower_their_own_entropy(layer: int) -> None:
    data = golden("D-ska")
    given, wanted = data["inputs"], data["expected"]

    def run(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Any]:
        rule = stdlib.SKA(lr=given["lr"])
        state = rule.initial_state(like=weights, n=weights.shape[0], units=weights.shape[1], samples=3)
        (d, entropy), state = rule(x, state=state | {"W": weights}, return_state=True)
        return d, entropy, state

    x = double(given["X"]).expand(given["K"], 3, 4)
    d, entropy, state = run(x, double(given["W1"]))
    if layer == 2:
        _, entropy, state = run(d, double(given["W2"]))
    close(state["W"], wanted[f"W{layer}"])
    close(state["b"], wanted[f"b{layer}"])
    close(entropy[1:], [step[layer - 1] for step in wanted["entropy"]], rtol=1e-11)


# ---- theory


def test_descent_in_closed_form() -> None:
    data = golden("D-double-descent")
    given, wanted = data["inputs"], data["expected"]
    Z, f, w, y = (double(given[name]) for name in ("Z", "F_diag", "w", "y"))
    for k, steps in enumerate(given["ts"]):
        E, R, Q, r, q = stdlib.DoubleDescent()(Z, f, w, y, double(float(steps)))
        for found, name in ((E, "EG"), (R, "R"), (Q, "Q"), (r, "R_teacher_avg"), (q, "Q_teacher_avg_noiseless")):
            close(found, wanted[name][k], rtol=1e-11)


def test_stability_in_mean_square() -> None:
    data = golden("D-sgd-stability")
    X, B, wanted = double(data["inputs"]["X"]), data["inputs"]["B"], data["expected"]
    settings = {"B1": {}, "B_replacement": {"batch": B}, "B_no_replacement": {"batch": B, "replacement": False}}
    for name, options in settings.items():
        found, bound = stdlib.MeanSquareStability(steps=300, **options)(X)
        close(found, wanted["eta_star"][name], rtol=1e-9)
        close(bound, wanted["gd_threshold"])


def test_flow_of_gaussians() -> None:
    data = golden("D-wgf")
    m, S, x = (double(data["inputs"][name]) for name in ("m0", "S0", "x0"))
    for k, time in enumerate(data["inputs"]["t"]):
        found = stdlib.GaussianFlow(time=time)(m, S, x)
        for value, name in zip(found, ("x_t", "mean", "cov", "kl", "fisher"), strict=False):
            close(value, data["expected"][name][k])


def test_infinitely_wide_networks() -> None:
    data = golden("D-ntk")
    given, wanted = data["inputs"], data["expected"]
    X = double(given["X"])
    for name in ("ntk", "nngp"):
        kernel = getattr(stdlib, name)
        found = kernel(X[:, None], X[None], depth=given["L"], w=given["sigma_w"], b=given["sigma_b"])
        close(found, wanted[name], rtol=1e-11)
    flow, _ = stdlib.KernelFlow(time=given["t"])(double(wanted["ntk"]), double(given["y"]), torch.zeros(4).double())
    close(flow, wanted["f_t"], rtol=1e-11)


def test_features_emerge_on_the_sphere() -> None:
    data = golden("D-li2")
    given, wanted, M = data["inputs"], data["expected"], data["inputs"]["M"]
    pairs = [(a, b) for a in range(M) for b in range(M)]
    one = torch.eye(M, dtype=DOUBLE)
    X = torch.stack([torch.cat([one[a], one[b]]) for a, b in pairs])
    Y = torch.stack([one[(a + b) % M] for a, b in pairs])
    for steps in (0, 1, given["steps"]):
        w, energy = stdlib.Li2Ascent(lr=given["lr"], steps=steps)(X, Y, double(given["w0"]))
        close(energy, wanted["E_traj"][steps], rtol=1e-11)
    close(w, wanted["w_final"], rtol=1e-11)
    F = (X @ double(given["W"])) ** 2
    close(stdlib.Li2Backprop(weight_decay=given["eta"])(F, Y), wanted["GF"], rtol=1e-10)


def test_least_energy() -> None:
    data = golden("D-ko-path")
    for k in (1, 3):
        rule = stdlib.KineticPath(angles=200, nodes=101)
        a, m, b = rule(double(data["inputs"]["points"]), double(data["inputs"]["ts"][k]))
        for found, wanted in ((a, data["expected"]["a"][k]), (m, data["expected"]["m"][k]), (b, data["expected"]["b"])):
            close(found, wanted, rtol=data["rtol"])


def test_projection_and_the_derivative_of_a_fit() -> None:
    data = golden("D-hard-constraint")
    given, wanted = data["inputs"], data["expected"]
    u, mu = stdlib.EqualityProjection()(double(given["A"]), double(given["b"]), double(given["uhat"]))
    close(u, wanted["u"])
    close(mu, wanted["lagrange"])
    B, f, y = (double(given[name]) for name in ("B", "f", "y"))
    B.requires_grad_()
    (fitted,) = stdlib.HardConstraint([lambda u: u + given["c"] * u**3 - f], ridge=given["ridge"], tol=1e-12)([B])
    (0.5 * ((fitted - y) ** 2).sum()).backward()
    close(B.grad, wanted["grad_B"], rtol=1e-6)


def test_drift_of_steps_and_of_games() -> None:
    data = golden("D-drift")
    given, wanted = data["inputs"], data["expected"]
    velocity, oscillation = stdlib.PrincipalFlow(lr=given["h"])(double(wanted["hess"]), double(wanted["grad"]))
    close(velocity, wanted["field_pf"])
    assert not bool(oscillation.any())
    game = given["game"]
    for order, name in (("simultaneous", "game_sim_field"), ("alternating", "game_alt_field")):
        rule = stdlib.GameDrift(lr=game["h"], first_rate=game["up"], second_rate=game["ut"], order=order)
        found = rule(
            lambda z: z[0] * z[1] + 0.1 * z[0] ** 4, lambda z: -z[0] * z[1] + 0.2 * z[1] ** 2,
            double(game["z0"]), double([1.0, 0.0]),
        )  # fmt: skip
        close(found, wanted[name])


STABLE: dict[str, Callable[[list[Tensor], float, dict[str, float]], torch.optim.Optimizer]] = {
    "gd": lambda p, h, i: stdlib.SGD(p, lr=h),
    "heavy_ball": lambda p, h, i: stdlib.HeavyBall(p, lr=h, momentum=i["beta"]),
    "nesterov": lambda p, h, i: stdlib.SGD(p, lr=h, momentum=i["beta"], nesterov=True),
    "ema_momentum": lambda p, h, i: stdlib.QHM(p, lr=h, momentum=i["beta"], nu=1.0),
    "qhm": lambda p, h, i: stdlib.QHM(p, lr=h, momentum=i["beta"], nu=i["nu"]),
    "gd_decoupled_wd": lambda p, h, i: DecoupledDecay(SGD)(p, lr=h, decay=i["wd"]),
}


@pytest.mark.parametrize("name", STABLE)
def test_largest_stable_step(name: str) -> None:
    data = golden("D-stability")
    given, limit = data["inputs"], data["expected"]["h_max"][name]
    for factor, grows in ((0.99, False), (1.01, True)):
        x = torch.nn.Parameter(double([1.0]))
        opt = STABLE[name]([x], factor * limit, given)
        for _ in range(600):
            x.grad = given["lam"] * x.detach()
            opt.step()
        assert bool(x.detach().abs() > 1) is grows


@pytest.mark.parametrize("parity", ["odd", "even"])
def test_averages_on_the_sphere(parity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = golden("D-langevin-swa")
    given, wanted = data["inputs"], data["expected"]
    x = double(given["x"])
    y = _hermite3(x @ double(given["theta_star"]))
    start = double(given["theta0_unnormalised"])
    theta = torch.nn.Parameter(start / start.norm())
    opt = stdlib.SphericalLangevin([theta], lr=given["h"], inverse_temperature=given["eps"], parity=parity)
    drawn = iter(given["xi"])
    monkeypatch.setattr(optimizer_draws.Draws, "normal", lambda *a, **b: [double(next(drawn))])
    for place in wanted["theta"]:
        opt.zero_grad()
        (-(y * _hermite3(x @ theta)).mean()).backward()
        opt.step()
        close(theta.detach(), place, rtol=1e-11)
    opt.eval()
    if parity == "odd":
        mean = double(wanted["mean_theta"])
        close(theta.detach(), mean / mean.norm(), rtol=1e-11)
    else:
        top = torch.linalg.eigh(double(wanted["mean_outer"]))[1][:, -1]
        close((theta.detach() @ top).abs(), 1.0, rtol=1e-11)


def _hermite3(x: Tensor) -> Tensor:
    return (x**3 - 3 * x) / 6**0.5
