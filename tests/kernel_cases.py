"""Runs that the tests of the kernel backends share: every rule of the library against the judge, on generic values."""

from __future__ import annotations

import numpy as np
import torch

import dotopt.stdlib as stdlib
from dotopt.compiler.evaluate import Simulation
from dotopt.grammar.files import catalogue
from dotopt.runtime.loading.load import program

# odd sizes, one entry, a convolution filter, nothing at all, and one that is several pieces in the tests
SHAPES = ((5, 7), (13,), (1, 1), (3, 2, 3, 3), (0, 4), (40, 23))

# what differs from the defaults: ("rule", options); every number is moved off its default besides
OPTIONS = [
    ("SGD", {"momentum": 0.83, "dampening": 0.21}), ("SGD", {"momentum": 0.77, "nesterov": True}), ("SGD", {}),
    ("Adam", {}), ("Adam", {"amsgrad": True}), ("AdamW", {}), ("AdamW", {"amsgrad": True}), ("NAdam", {}),
    ("RAdam", {}),
    ("Adagrad", {"initial_accumulator_value": 0.2}), ("Adadelta", {}), ("Adamax", {}), ("ASGD", {}), ("Rprop", {}),
    ("RMSprop", {"momentum": 0.4, "centered": True}), ("RMSprop", {}),
    ("Lion", {}), ("LionK", {}), ("CautiousLion", {}), ("CautiousAdamW", {}), ("Signum", {}), ("SignSGD", {}),
    ("QHM", {}), ("HeavyBall", {}), ("NesterovDifferences", {}),
    ("Adan", {}), ("Adan", {"max_grad_norm": 0.9}), ("AdaBelief", {}),
    ("AdaBelief", {"rectify": False, "amsgrad": True}),
    ("ADOPT", {}), ("ADOPT", {"weight_decouple": True}), ("ScheduleFreeAdamW", {"warmup_steps": 3}),
    ("AdamP", {"delta": 0.3}), ("AdamP", {"nesterov": True}), ("SGDP", {"momentum": 0.8}), ("LAMB", {}),
    ("LAMB", {"variant": "po"}),
    ("SGDSaI", {}), ("AuON", {}), ("AuON", {"normalize": False}), ("AMAdamW", {}), ("AMSGD", {}), ("Prodigy", {}),
    ("Prodigy", {"safeguard_warmup": True, "use_bias_correction": True}), ("MARS", {}), ("MARS", {"mars_type": "lion"}),
    ("Muon", {}), ("Muon", {"nesterov": False, "adjust_lr_fn": "match_rms_adamw"}), ("HybridAuON", {}),
    ("QHM", {"nu": 0.6}), ("QHM", {"weight_decouple": True}), ("Adafactor", {"d": 1.5}), ("Shampoo", {}),
    ("Shampoo", {"preconditioning_compute_steps": 2, "matrix_eps": 0.1}),
    ("SOAP", {"precondition_frequency": 2}),
]  # fmt: skip

MOVED = {"lr": 0.013, "weight_decay": 0.07, "eps": 1e-5, "betas": (0.83, 0.93, 0.89)}


def keywords(name, options):
    """Legal values for every hyperparameter of a rule, none of them its default where there is a choice."""
    rule = getattr(stdlib, name).rule
    given = dict(options)
    for hyper in rule.hypers:
        if hyper.keyword in given:
            continue
        if hyper.position is not None:
            given[hyper.keyword] = tuple(
                MOVED["betas"][h.position] if h.keyword == "betas" else h.default
                for h in rule.hypers
                if h.keyword == hyper.keyword
            )
        elif hyper.keyword in MOVED:
            given[hyper.keyword] = MOVED[hyper.keyword]
    return given


def ranks(name, shapes=SHAPES):
    """Only tensors that the rule accepts; for SOAP square ones, since what has no rank has no one basis."""
    pattern = getattr(stdlib, name).rule.pattern
    if name == "SOAP":
        sizes = {min(shape) for shape in shapes if len(shape) == 2}
        shapes = [(n, n) for n in sorted(sizes) if 0 < n < 100]
    return [shape for shape in shapes if pattern.misfit(len(shape)) is None and (0 not in shape or not pattern.merged)]


def laid(tensor, begin):
    """A copy of `tensor` that begins so many entries into its storage."""
    storage = torch.empty(tensor.numel() + begin, dtype=tensor.dtype, device=tensor.device)
    return storage[begin:].view(tensor.shape).copy_(tensor)


def compared(name, options, dtype, backend, steps=5, shapes=None, seed=0, spoil=None, device="cpu"):
    """The parameters after some steps on `backend` and in the judge, with the optimizer for further questions.

    Every second parameter and gradient is a view that does not begin on 16 bytes. `spoil` may change the gradients in
    place.
    """
    cls = getattr(stdlib, name)
    generator = np.random.default_rng(seed)
    shapes = shapes or ranks(name)
    starts = [torch.tensor(generator.normal(size=shape)).to(device, dtype) for shape in shapes]
    params = [torch.nn.Parameter(laid(start, place % 2)) for place, start in enumerate(starts)]
    given = keywords(name, options)
    optimizer = cls(params, **given, backend=backend)
    values = tuple(optimizer.param_groups[0][option.keyword] for option in cls.rule.options)
    judge = Simulation(
        lambda rank: program(cls.origin, values, rank),
        dict(enumerate(start.double().cpu().numpy() for start in starts)),
        {hyper.name: hyper.of(optimizer.param_groups[0]) for hyper in cls.rule.hypers},
    )
    for _ in range(steps):
        gradients = [torch.tensor(generator.normal(size=shape) * 0.3).to(device, dtype) for shape in shapes]
        if spoil is not None:
            spoil(gradients)
        for place, (p, gradient) in enumerate(zip(params, gradients, strict=True)):
            p.grad = laid(gradient, place % 2)
        optimizer.step()
        judge.step(dict(enumerate(gradient.double().cpu().numpy() for gradient in gradients)))
    return params, [torch.tensor(judge.params[k]) for k in range(len(shapes))], optimizer


def library_rules():
    """The names of all rules of stdlib/optimizers."""
    names = []
    for path in catalogue().values():
        if path.parent.name == "optimizers":
            names += [line.split()[1] for line in path.read_text().splitlines() if line.startswith("rule ")]
    return sorted(names)
