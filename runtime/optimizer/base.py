"""The optimizer that a rule becomes: a `torch.optim.Optimizer` whose step is the compiled one.

collect     which tensors have a gradient, in buckets; everything is checked before anything moves
prepare     the tensors as the rule sees them
run         the compiled step, on the backend that fits
finish      copies written back, clocks advanced
"""

from __future__ import annotations

import copyreg
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch.optim import optimizer as hooks

from dotopt.runtime import oracles
from dotopt.runtime.backends import choice as backends
from dotopt.runtime.optimizer import capture, checkpoint, groups, precision, replay, sharded, signature
from dotopt.runtime.optimizer.functional import Functional, functional, move
from dotopt.runtime.optimizer.groups import Bucket, Call, Group
from dotopt.runtime.optimizer.layers import Layers
from dotopt.runtime.rule import Rule

Closure = Callable[[], Any]

# what an optimizer keeps on itself that is copied in another way, or belongs to one process: schedulers replace `step`
KEPT = ("defaults", "state", "param_groups", "backend", "training", "layers", "step", "grad_scale", "found_inf")

# unlike `torch.compiler.disable`, this one does not load dynamo before it is needed
untraced: Callable[[Any], Any] = getattr(torch, "_disable_dynamo", None) or torch.compiler.disable


def seen(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step` with torch's hooks around it and its name in profiles, where somebody looks.

    `torch.optim.Optimizer` wraps every `step` so that is not marked as `hooked`; for many small tensors that costs as
    much as the arithmetic.
    """
    watched = torch.optim.Optimizer.profile_hook_step(step)

    @functools.wraps(step)
    def stepped(self: Any, closure: Closure | None = None) -> Any:
        if (
            torch.compiler.is_compiling()
            or self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or hooks._global_optimizer_pre_hooks
            or hooks._global_optimizer_post_hooks
            or torch._C._autograd._profiler_enabled()
        ):
            return watched(self, closure)
        return step(self, closure)

    stepped.hooked = True  # type: ignore[attr-defined]
    return stepped


@dataclass(eq=False)
class Work:
    """One step: calls of compiled functions, calls that ask for more on their way, and buckets of other backends."""

    plain: list[Call] = field(default_factory=list)
    asking: list[Call] = field(default_factory=list)
    kernels: dict[Any, list[Bucket]] = field(default_factory=dict)
    spread: list[Any] = field(default_factory=list)  # `shards.step.Part`: what needs messages
    parts: list[Bucket] = field(default_factory=list)  # of DTensors


class Optimizer(torch.optim.Optimizer):
    """The base of every compiled optimizer; a subclass adds nothing but its `rule`.

    `foreach=False` steps the tensors one by one. `backend` is `auto`, `torch`, `cpu` or `triton`. With `capturable` a
    step on the Triton backend never waits for the device, so that CUDA graphs can hold it. Raises TypeError for options
    that the rule does not have, ValueError for values out of range and for tensors of the wrong shape.
    """

    rule: ClassVar[Rule]
    __signature__: ClassVar[inspect.Signature]
    origin: ClassVar[tuple[str, Any, str] | None] = None  # how another process finds the class; None: by import

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "rule" in vars(cls):
            cls.__signature__ = signature.signature(cls.rule)

    def __init__(self, params: Iterable[Any], *args: Any, backend: str = "auto", **keywords: Any) -> None:
        values = self._values(args, keywords)
        backends.check(backend)
        self.backend = backend
        self.training = True
        self._captures = capture.possible(self.rule)
        self._checked: dict[int, tuple[Any, ...]] = {}
        self._buckets: dict[tuple[int, ...], Bucket] = {}
        self._parts: dict[Any, Any] = {}  # of DTensors, in this process
        self._last: replay.Replay | None = None
        self.layers: Layers | None = None  # set by `attach`
        super().__init__(params, values)

    @classmethod
    def functional(cls, **options: Any) -> Functional:
        """The rule as a pure function, `step(params, grads, state) -> (params, state)`, with `step.init(params)`.

        `options` are the keywords of the rule, and `maximize`; they are checked as in the optimizer. Nothing is written
        into; `torch.func.vmap` and autograd go through. Raises TypeError for a rule that asks for more than gradients.

        >>> from dotopt.stdlib import SGD
        >>> step = SGD.functional(lr=0.5)
        >>> params, grads = {"w": torch.ones(2)}, {"w": torch.ones(2)}
        >>> params, state = step(params, grads, step.init(params))
        >>> params["w"], state["step"]
        (tensor([0.5000, 0.5000]), tensor(1.))
        """
        signature.refuse_unknown(cls.rule, options, (*signature.defaults(cls.rule), "maximize"))
        group = {**signature.defaults(cls.rule), **signature.COMMON, **options}
        signature.complete(cls.rule, group)
        signature.check(cls.rule, group)
        return functional(cls.rule, group)

    def _values(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        """The defaults of the groups: what the user gave, and the rest from the file."""
        known = signature.defaults(self.rule)
        legal = (*known, *signature.COMMON)
        if len(args) > len(known):
            raise TypeError(f"{self.rule.name} takes {len(known)} positional values after `params`: {', '.join(known)}")
        positional = dict(zip(known, args, strict=False))
        signature.refuse_unknown(self.rule, keywords, (*legal, "backend"))
        if twice := positional.keys() & keywords.keys():
            raise TypeError(f"{self.rule.name} got {', '.join(sorted(twice))} twice")
        values = {**known, **signature.COMMON, **positional, **keywords}
        signature.complete(self.rule, values)
        signature.check(self.rule, values)
        signature.check_flags(self.rule, values)
        precision.check(self.rule, values)
        return values

    def rule_of(self, group: Group) -> Rule:
        """The rule that moves the parameters of a group."""
        return self.rule

    # ---- groups ----

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, with hyperparameters of its own if it names some; nothing is added if anything is wrong."""
        if isinstance(param_group, dict) and "params" in param_group:
            rule = self.rule_of(param_group)
            signature.refuse_slips(rule, param_group, (*signature.EXTRA, *self.defaults))
            whole = {**self.defaults, **param_group}
            signature.complete(rule, whole)
            signature.check(rule, whole)
            signature.check_flags(rule, whole)
            self._captures = self._captures and capture.fits(whole)
            if whole["differentiable"]:
                functional(rule, whole)  # raises where no gradient goes through
            precision.check(rule, whole)
            param_group.update({name: whole[name] for name in self.defaults})
        super().add_param_group(param_group)
        try:
            self._check_tensors(self.param_groups[-1])
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    def _check_tensors(self, group: Group) -> None:
        rule = self.rule_of(group)
        if group["fused"] and self.backend == "torch":
            raise RuntimeError(f"{rule.name}: fused=True asks for kernels, backend='torch' for none; drop one")
        names = group.get("param_names") or [f"parameter {i}" for i in range(len(group["params"]))]
        for name, p in zip(names, group["params"], strict=True):
            sharded.check(self.origin, rule, group, name, p)
            if not (p.is_floating_point() or p.is_complex()):
                raise TypeError(f"{rule.name} moves real tensors; `{name}` is {p.dtype}")
            needed = rule.pattern.misfit(p.ndim)
            if needed is not None:
                raise ValueError(
                    f"{rule.name} needs {needed} (`{rule.pattern}`); `{name}` has shape {tuple(p.shape)}: "
                    "give it to another optimizer, for example with `dotopt.route`"
                )
            seen = rule.step(groups.options_of(rule, group), p.ndim).pattern
            if p.is_complex() and (rule.pattern.viewed or seen.viewed):
                raise ValueError(f"{rule.name} sees `{seen}`, which a complex tensor such as `{name}` is not")

    # ---- the step ----

    @seen
    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """One step; returns what `closure` returns. Raises before anything has moved if anything is wrong."""
        if closure is None and not torch.compiler.is_compiling() and self._again():
            return None
        loss = None
        if torch.compiler.is_compiling() and closure is None and self._captures and capture.ready(self):
            capture.step(self)
            return None
        asks = self._check_call(closure)
        if closure is not None and asks:
            loss = oracles.evaluate(closure, [p for group in self.param_groups for p in group["params"]])
            if loss is None and self.rule.reads_value:
                raise TypeError(f"{self.rule.name} reads the value of the objective: let the closure return the loss")
        elif closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._settled():
            return loss
        work = self._work(torch.compiler.is_compiling())
        results = [call.bucket.step.run(*call.lists, **call.scalars) for call in work.plain]
        self._finish(work, results, closure, loss)
        return loss

    def _again(self) -> bool:
        """Take a step like the last one, if that ran on kernels; otherwise False, and nothing has moved."""
        if self._last is None or not self.training or self.scaling[1] is not None:
            return False
        return self._last.step(self)

    @untraced
    def _check_call(self, closure: Closure | None) -> bool:
        """Whether a rule asks for more than gradients; raises if it does and there is no closure to ask."""
        if not self.training:
            raise RuntimeError("the parameters are at their evaluation point: call `train()` before `step()`")
        if self.rule.reasons and closure is None:
            raise TypeError(
                f"{self.rule.name} asks for more than the gradient at the parameters: {'; '.join(self.rule.reasons)}. "
                "Call `step(closure)` with a function that computes the loss, calls `backward()` and returns it"
            )
        return bool(self.rule.reasons)

    # ---- mixed precision ----

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Whether the kernels divide by the loss scale: then `torch.amp.GradScaler` leaves the gradients alone."""
        return self._last is not None and self._last.on_device

    @property
    def scaling(self) -> tuple[Any, Any]:
        """What `torch.amp.GradScaler` leaves here for a step: the loss scale, and whether a gradient is not finite."""
        return getattr(self, "grad_scale", None), getattr(self, "found_inf", None)

    @untraced
    def _settled(self) -> bool:
        """Whether the step is done: left out for a gradient that is not finite, or taken where autograd sees it.

        Where all clocks live on the device, kernels see to the first. Groups are not read in traced code: a schedule
        would have it compiled again.
        """
        found = self.scaling[1]
        if found is not None and sharded.some(self.param_groups):
            from dotopt.runtime.shards import step

            found = step.anywhere(found, [p for group in self.param_groups for p in group["params"]])
        if found is not None and not all(group.get("capturable") for group in self.param_groups) and bool(found):
            return True
        if any(group["differentiable"] for group in self.param_groups):
            self._differentiable()
            return True
        return False

    @torch.enable_grad()
    def _differentiable(self) -> None:
        """A step that autograd sees: parameters, gradients and states keep their history."""
        self.check_step()
        moving = [(g, p) for g in self.param_groups for p in g["params"] if p.grad is not None and p.numel()]
        buckets = []
        for group, p in moving:
            buckets += groups.collect([(group, [p])], self.state, lambda g: self.rule_of(g).pure)
        grads = [-p.grad if group["maximize"] else p.grad for group, p in moving]
        for bucket, (p, states, numbers) in zip(buckets, move(buckets, grads), strict=True):
            (own,) = bucket.params
            own.copy_(p)
            self.state[own].update(states)
            names = {s.key: s.name for s in bucket.step.states}
            bucket.shared |= {names[key]: value for key, value in numbers.items()}
            groups.advance(bucket, self.state)
        groups.agree(buckets)

    @untraced
    def _work(self, traced: bool) -> Work:
        """What is to be done in this step; under `torch.compile` all of it is torch code, which can be traced."""
        work = Work()
        if not traced and self._last is not None and self._last.step(self):
            return work
        self._last = None
        self.check_step()
        stepped = [
            (group, [p for p in group["params"] if p.grad is not None and p.numel()]) for group in self.param_groups
        ]
        turns = self.backend != "torch" and not traced
        buckets = groups.collect(stepped, self.state, self.rule_of, turns)
        if sharded.some(self.param_groups):
            buckets = self._spread(work, buckets)
        kernels = backends.alike(
            [
                None if traced or not bucket.params[0].numel() else backends.kernel(self.backend, self.origin, bucket)
                for bucket in buckets  # a part of a DTensor may be empty
            ],
            buckets,
        )
        for bucket, kernel in zip(buckets, kernels, strict=True):
            bucket.scale, bucket.skip = self.scaling
            self._complete(bucket)
            if not getattr(kernel, "on_device", False):
                groups.unscale(bucket)
                if bucket.group.get("capturable"):
                    where = f"{bucket.rule.name} on {bucket.params[0].device}"
                    raise RuntimeError(f"capturable=True needs Triton kernels, and {where} does not run on them")
            if kernel is not None:
                work.kernels.setdefault(kernel, []).append(self._kept(bucket))
            elif bucket.step.generator:
                work.asking.append(groups.prepare(bucket))
            else:
                work.plain.append(groups.prepare(bucket, traced=traced))
        return work

    def _spread(self, work: Work, buckets: list[Bucket]) -> list[Bucket]:
        """Take the buckets that need messages to `work`; the others, of parts in this process, are what is left."""
        from dotopt.runtime.shards import local, step

        left, sending = local.sorted_out(self, buckets)
        work.parts = [bucket for bucket in (*left, *sending) if bucket.given]
        if sending:
            step.agreed([p for group in self.param_groups for p in group["params"] if sharded.is_spread(p)])
            for bucket in sending:
                bucket.scale, bucket.skip = self.scaling
                self._complete(bucket)
                groups.unscale(bucket)
            work.spread = step.prepared(sending)
        return left

    def _complete(self, bucket: Bucket) -> None:
        """Give a bucket what its rule draws with, and what the layers of its parameters have seen."""
        if "random" in bucket.step.sources:
            from dotopt.compiler.evaluate.random import place

            params = [p for group in self.param_groups for p in group["params"]]
            names = [name for group in self.param_groups for name in group.get("param_names", ())]
            names = names if len(names) == len(params) else list(map(str, range(len(params))))
            words = dict(zip(params, map(place, names), strict=True))
            bucket.places = [words[p] for p in bucket.given or bucket.params]
        if bucket.step.layer:
            if self.layers is None:
                raise RuntimeError(
                    f"{bucket.rule.name} needs what linear layers see, so hooks on a model: "
                    f"`dotopt.attach(model, {bucket.rule.name}, …)`"
                )
            bucket.layer = self.layers.seen(bucket)

    def _kept(self, bucket: Bucket) -> Bucket:
        """The bucket of an earlier step with the very same tensors, since a backend keeps its tables there."""
        key = tuple(map(id, bucket.params))
        old = self._buckets.get(key)
        if old is not None and old.like(bucket):
            old.hypers, old.shared, old.t, old.group = bucket.hypers, bucket.shared, bucket.t, bucket.group
            old.clocks, old.scale, old.skip, old.turn = bucket.clocks, bucket.scale, bucket.skip, bucket.turn
            return old
        self._buckets[key] = bucket
        return bucket

    @untraced
    def _finish(self, work: Work, results: Sequence[Any], closure: Closure | None, loss: Any) -> None:
        """Keep the results of the plain calls, and do the rest."""
        for call, result in zip(work.plain, results, strict=True):
            groups.finish(call, result, call.bucket.home or self.state)
        stepped = [call.bucket for call in (*work.plain, *work.asking)]
        if work.spread:
            from dotopt.runtime.shards import step

            step.run(work.spread, self.state)
            stepped += [part.bucket for part in work.spread]
        if self.layers is not None:
            self.layers.forget([p for call in (*work.plain, *work.asking) for p in call.bucket.params])
        every = [p for group in self.param_groups for p in group["params"]]
        sign = -1.0 if self.param_groups[0]["maximize"] else 1.0
        objective = oracles.Objective(closure, every, sign, loss)
        if work.kernels:
            backends.step(work.kernels, objective)
            for buckets in work.kernels.values():
                stepped += buckets
                for bucket in buckets:
                    groups.advance(bucket, bucket.home or self.state)
            alone = not (work.plain or work.asking or work.parts or self.rule.reasons)
            self._last = replay.kept(self, work.kernels) if alone else None
        if work.asking:
            generators = [call.bucket.step.run(*call.lists, **call.scalars) for call in work.asking]
            params = [call.bucket.params for call in work.asking]
            answers = oracles.drive(generators, params, objective)
            for call, result in zip(work.asking, answers, strict=True):
                groups.finish(call, result, self.state)
        groups.agree(stepped)
        for bucket in work.parts:
            for p in bucket.params:
                p.grad = None  # it was lent

    def check_step(self) -> None:
        """Hyperparameters and gradients."""
        self.check_numbers()
        for group in self.param_groups:
            rule = self.rule_of(group)
            for place, p in enumerate(group["params"]):
                if p.grad is not None and p.grad.layout is not torch.strided:
                    name = group["param_names"][place] if "param_names" in group else f"parameter {place}"
                    raise RuntimeError(f"{rule.name} does not take sparse gradients; `{name}` has one")

    def check_numbers(self) -> None:
        """Raises ValueError for hyperparameters out of range, which a scheduler may have changed."""
        for index, group in enumerate(self.param_groups):
            rule = self.rule_of(group)
            now = tuple(group[keyword] for keyword in signature.defaults(rule))
            if self._checked.get(index) != now:
                signature.check(rule, group)
                self._checked[index] = now

    # ---- evaluation ----

    @torch.no_grad()
    def eval(self) -> None:
        """Put the evaluation point of the rule into the parameters (`eval θ = …`); nothing if the rule has none."""
        if not self.training:
            return
        stepped = [(group, [p for p in group["params"] if self.state.get(p)]) for group in self.param_groups]
        for bucket in groups.collect(stepped, self.state, self.rule_of):
            evaluate = bucket.step.evaluate
            if evaluate is None:
                continue
            if sharded.is_spread(bucket.params[0]):
                from dotopt.runtime.shards import local

                bucket = local.parts(bucket, self.state, self._parts)
            bucket.t -= 1
            call = groups.prepare(bucket, gradient=False)
            points = evaluate(*call.lists, **call.scalars)
            for own, p, point in zip(bucket.given or bucket.params, bucket.params, points, strict=True):
                self.state[own][checkpoint.TRAINING_POINT] = own.detach().clone()
                p.copy_(torch.view_as_complex(point.contiguous()) if p.is_complex() else point.reshape(p.shape))
        self.training = False

    @torch.no_grad()
    def train(self, mode: bool = True) -> None:
        """Put the training point back."""
        if not mode:
            self.eval()
            return
        for p, kept in self.state.items():
            if checkpoint.TRAINING_POINT in kept:
                p.copy_(kept.pop(checkpoint.TRAINING_POINT))
        self.training = True

    # ---- checkpoints, copies, display ----

    def state_dict(self) -> dict[str, Any]:
        """The state of torch's optimizers, and the name of the rule; safe in both modes."""
        return checkpoint.save(self, super().state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint: of this rule on any backend, or of the torch optimizer of the same name."""
        checkpoint.load(self, state_dict)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"backend": self.backend, "training": self.training} | self._own()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._checked, self._buckets, self._parts, self._last = {}, {}, {}, None
        self._captures = capture.possible(self.rule) and all(map(capture.fits, state.get("param_groups", ())))
        self.layers = getattr(self, "layers", None)
        super().__setstate__(state)
        for group in self.param_groups:  # of an older version
            for flag, value in signature.COMMON.items():
                group.setdefault(flag, value)

    def _own(self) -> dict[str, Any]:
        """What a subclass that a user wrote keeps on itself: a copy goes on with it."""
        if self._compiled:
            return {}
        return {name: value for name, value in vars(self).items() if not name.startswith("_") and name not in KEPT}

    @property
    def _compiled(self) -> bool:
        """Whether this is the class of a rule itself, which other processes find by its origin."""
        return "rule" in vars(type(self))

    def __reduce__(self) -> tuple[Any, ...]:
        from dotopt.runtime.loading.load import unpickled

        if self.origin is None or not self._compiled:
            return copyreg.__newobj__, (type(self),), self.__getstate__()  # type: ignore[attr-defined]
        return unpickled, (*self.origin, self.__getstate__())

    def __repr__(self) -> str:
        equations = "\n".join(f"    {line}" for line in self.rule.text.splitlines())
        return f"{super().__repr__()}\n{equations}" if equations else super().__repr__()

    def _repr_latex_(self) -> str | None:
        """What a notebook shows: the equations."""
        from dotopt.runtime.report.notebook import equations

        return equations(self.origin)
