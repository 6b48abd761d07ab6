"""Rules that choose the next token, as plain functions and as logits processors of `transformers`.

    MomentumDecoding(alpha=0.2).next(probabilities, tokens)                     a token
    MomentumDecoding(alpha=0.2).continued(model, prompt, steps=20)              a list of tokens
    model.generate(ids, logits_processor=[MomentumDecoding(alpha=0.2)])         transformers, which is not imported here
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from dotopt.runtime.optimizer.signature import settings
from dotopt.runtime.rule import Hyper, Option


@dataclass(frozen=True)
class DecodingRule:
    """A rule that chooses tokens: signature, and the compiled choice `choose(probabilities, tokens, hyper)`."""

    name: str
    doc: str
    source: str
    text: str
    hypers: tuple[Hyper, ...]
    choose: Callable[[Sequence[float], list[int], Mapping[str, Any]], int]
    options: tuple[Option, ...] = ()


class Decoder:
    """A compiled rule that chooses the next token; it keeps nothing, so one object serves any number of texts.

    >>> from dotopt.stdlib import MomentumDecoding
    >>> MomentumDecoding(alpha=0.5).next([0.1, 0.6, 0.3], [0, 1, 2])      # every token was there before: the likeliest
    1
    >>> MomentumDecoding(alpha=0.5).next([0.1, 0.6, 0.3], [1, 1])         # 1 would close a repeat of two
    2
    """

    rule: ClassVar[DecodingRule]
    origin: ClassVar[tuple[str, Any, str] | None] = None

    def __init__(self, *, pad_token_id: int | None = None, **given: Any) -> None:
        """`pad_token_id` is dropped from the left of the tokens, where `generate` pads prompts of several lengths.

        Raises TypeError for unknown keywords and ValueError for values outside the declared ranges.
        """
        self.hyper, _ = settings(self.rule, given, ("pad_token_id",))
        self.pad = pad_token_id

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self.origin is None:
            return super().__reduce__()
        from dotopt.runtime.loading.load import unpickled

        return unpickled, (*self.origin, dict(self.__dict__))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return f"{self.rule.name}({', '.join(f'{h.place}={self.hyper[h.name]!r}' for h in self.rule.hypers)})"

    def next(self, probabilities: Sequence[float] | Tensor, tokens: Sequence[int]) -> int:
        """The token after `tokens`, the prompt included, where the model gives these probabilities."""
        given = probabilities.tolist() if isinstance(probabilities, Tensor) else probabilities
        return int(self.rule.choose(given, list(tokens), self.hyper))

    def continued(
        self, model: Callable[[list[int]], Sequence[float] | Tensor], prompt: Sequence[int], steps: int,
        end: int | None = None,
    ) -> list[int]:
        """The prompt and `steps` more tokens, or fewer if `end` comes; `model` gives probabilities after tokens."""
        tokens = list(prompt)
        for _ in range(steps):
            tokens.append(self.next(model(tokens), tokens))
            if tokens[-1] == end:
                break
        return tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The logits `[batch, vocabulary]` with everything but the chosen token at -∞, so that any search takes it.

        input_ids: `[batch, length]`, all tokens so far; scores: logits of the next token, `[batch, vocabulary]`.
        """
        chosen = []
        for ids, row in zip(input_ids.tolist(), scores.float().softmax(-1), strict=True):
            begin = next((i for i, token in enumerate(ids) if token != self.pad), len(ids))
            chosen.append(self.next(row, ids[begin:]))
        places = torch.tensor(chosen, device=scores.device)[:, None]
        return torch.full_like(scores, -torch.inf).scatter(1, places, 0.0)


# ---- what the rules are made of --------------------------------------------------------------------------------------


def top(values: Sequence[float], count: int) -> list[int]:
    """The places of the `count` largest values, the largest first; of equal ones, the earlier first.

    >>> top([0.1, 0.5, 0.5], 2)
    [1, 2]
    """
    return sorted(range(len(values)), key=lambda place: -values[place])[: int(count)]


def suffix(tokens: list[int], length: int) -> list[int]:
    """The last `length` tokens; as many as there are, if there are fewer.

    >>> suffix([3, 1, 2], 2), suffix([3, 1, 2], 0)
    ([1, 2], [])
    """
    return tokens[max(0, len(tokens) - int(length)) :]


def occurs(part: list[int], tokens: list[int]) -> bool:
    """Whether `part` stands somewhere in `tokens`, in one piece.

    >>> occurs([1, 2], [3, 1, 2]), occurs([2, 1], [3, 1, 2])
    (True, False)
    """
    return any(tokens[i : i + len(part)] == part for i in range(len(tokens) - len(part) + 1))
