"""The wording of every code: one sentence, a standard help, and an explanation for the manual."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """`text` and `help` have blanks in braces; `why` explains the code in `docs/errors.md`."""

    text: str
    help: str = ""
    why: str = ""


MESSAGES: dict[str, Message] = {
    # ---- syntax ----
    "E100": Message("{found} cannot stand here", "", "The sentence is not one of the language."),
    "E101": Message("two factors with nothing between them", "write `{left}*{right}`", "There is no implicit multiplication."),
    "E102": Message("`==` compares; an equation is defined with `=`", "write `{left} = …`; use `==` only in `given` and `show`"),
    "E103": Message("this bracket is never closed", "add `{closer}`"),
    "E104": Message("there is no assignment; a prime means the next value", "write `{name}' = …`"),
    "E105": Message("`grad({function})(…)` is written without the first parentheses", "write `grad {function}(…)` or `∇{function}(…)`"),
    "E106": Message("this line needs a colon at its end", "add `:`"),
    "E107": Message("`**` is not a power", "write `^`"),
    "E108": Message("the indentation fits no open block", "indent like the lines of the block it belongs to"),
    "E109": Message("`{word}` is not a declaration word", "did you mean `{suggestion}`?"),
    "E110": Message("LaTeX command `{command}`", "write `{replacement}`"),
    "E111": Message("`{operator}` changes in place; a file holds equations", "write `{name}' = {name} {plain} …`"),
    "E112": Message("the first line after the docstring names what the file defines", "start with `rule NAME`, `formula NAME(…) = …`, `transform NAME` or `theorem NAME`"),
    "E113": Message("the expression is nested more than {limit} deep", "give an inner part its own name"),
    "E114": Message("the character {character} is not part of the language", ""),
    "E115": Message("the text ends in the middle of {what}", ""),
    "E116": Message("this is not a whole number", ""),
    "E117": Message("this cannot stand on the left of `=`", "a left side is a name, `x'`, `x[i]`, `F(a)` or `∇K(x)`"),
    # ---- names and time ----
    "E201": Message("unknown name `{name}`", ""),
    "E203": Message("`{name}` is {kind}, so it has no next value `{name}'`", ""),
    "E204": Message("`{name}` is defined twice", "give the second one its own name"),
    "E205": Message("state `{name}` never changes", "add an equation `{name}' = …`, or declare `const {name}`"),
    "E206": Message("these definitions need each other: {cycle}", "read one of them without a prime, or make it a state"),
    "E207": Message("two readings of time in one file", "write all left sides with `[t]`, or use primes"),
    "E208": Message("the parameter `{name}` never moves", "add an equation `{name}' = …`"),
    "E209": Message("input `{name}` is never read", "remove it, or use it"),
    "E210": Message("`{name}` is not a state, so it has no earlier value", "say what it is before the first step: `state p : like {name} = first {name}`"),
    "E211": Message("a theorem has no step, so `{name}'` cannot be defined", "state it in a claim, or make the file a `rule`"),
    "E212": Message("`{name}` is a parameter of the formula, so it has no next value", ""),
    "E213": Message("`^T` is ambiguous, since the file declares `T`", "write `ᵀ` for the transpose and `^(T)` for the power"),
    "E214": Message("`use` goes in a circle: {cycle}", ""),
    "E215": Message("`{value}` is not a value of the option `{option}`", "its values are {values}"),
    "E216": Message("`eval` is read between steps, so it has no primes", "read `{name}` without the prime"),
    "E217": Message("`for all` binds `{name}`, which is a state of the rule", ""),
    "E218": Message("`{name}` calls itself", "a local function is not recursive; use `iterate`"),
    "E219": Message("the index `{name}` is free", "bind it on the left, or reduce over it: `sum(… for {name})`"),
    "E220": Message("only a next value can be held between firings", "write `{name}' = … every …`"),
    "E221": Message("a draw inside a local function", "draw it outside and pass it"),
    "E222": Message("no rule, formula or transform named `{name}`", ""),
    "E223": Message("`{name}` is reserved", "choose another name"),
    # ---- types and shapes ----
    "E301": Message("shapes do not fit: {left} meets {right}", ""),
    "E302": Message("units do not agree: {left} meets {right}", ""),
    "E303": Message("the default of `{name}` is outside its range", "it must be {range}"),
    "E304": Message("`@` and an entrywise `{operator}` in one product", "add parentheses: nobody should have to remember which goes first"),
    "E305": Message("`{name}` gets a complex argument and is not declared `holomorphic`", ""),
    "E306": Message("{rule} needs {needed}; `{name}` has {found}", "give it to another optimizer"),
    "E307": Message("`when` chooses by what is known before the first step", "use `if … else`"),
    "E308": Message("these cases do not cover everything", "end with a line `… otherwise`"),
    "E309": Message("`argmin` of something that is not quadratic needs a method", "write `argmin(E, from=…, tol=…, most=…, by=newton)`"),
    "E310": Message("the passes of this loop depend on their order, and `{name}` has none", "draw a `permutation`"),
    "E311": Message("`{name}` is not linear in its argument", ""),
    "E312": Message("`{name}` works on lists, and this rule runs on tensors", ""),
    "E313": Message("`{name}` takes {expected} argument{plural}, and {found} were given", ""),
    "E314": Message("no axis `{axis}` here", ""),
    "E315": Message("`{name}` has no argument `{keyword}`", ""),
    "E316": Message("{found} where {expected} is needed", ""),
    # ---- claims ----
    "E401": Message("unknown name `{name}` in the claim", ""),
    "E402": Message("`{left}` and `{right}` are not of one type", ""),
    "E403": Message("the map moves `{name}`, which is computed from something else", "map objectives, inputs, parameters or states"),
    "E404": Message("`{name}` cannot go to 0 in its range", ""),
    "E405": Message("the step is not linear under these assumptions", ""),
    "E406": Message("`{rule}` has no `{name}`", ""),
    "E407": Message("time is continuous in this claim, so there is no next value", "write `ddt({name})`"),
    "E408": Message("`{name}` is derived but not used", ""),
    "E409": Message("no method `{name}`", ""),
    "E410": Message("claim `{name}` shows nothing", "add a line `show …` or `refute …`"),
    # ---- composition, roles, oracles ----
    "E501": Message("`∇{name}` does not say in which argument", "write `∇_{argument} {name}(…)`"),
    "E502": Message("the operator `{name}` has no potential, so `∇{name}` means nothing", ""),
    "E503": Message("`{name}` is not proved {property}", ""),
    "E504": Message("a bare Hessian", "multiply it by a vector: `∇²{name}(x) @ v`"),
    "E505": Message("`base` belongs in a transform", "start the file with `transform NAME`"),
    "E506": Message("the base rule is applied {times}; it must be once", ""),
    "E507": Message("`{name}` asks for more than the gradient at the parameter, so it cannot take another gradient", ""),
    "E508": Message("`{base}` has no `{name}`", ""),
    "E509": Message("`{name}` belongs to the role `{role}` and was not sent", "add `send {name} = …` in that role"),
    # ---- compilation ----
    "E601": Message("{construct} is not compiled yet", "`dotopt check` and `dotopt explain` read it"),
    # ---- files ----
    "E901": Message("no such file: {path}", ""),
    "E902": Message("{path} is a directory", "name a file in it"),
    "E903": Message("{path} is not UTF-8 text", "save it as UTF-8"),
    "E904": Message("{path} has {size} bytes; an `.opt` file has at most {limit}", ""),
    "E905": Message("{path} cannot be read: {reason}", ""),
    "E906": Message("the text holds a NUL character", "this is a binary file"),
    # ---- warnings ----
    "W110": Message("`√{operand}` is the square of the root here", "write `√({operand})`"),
    "W111": Message("the condition reaches over the whole sum", "put parentheses around the part that depends on it"),
    "W201": Message("`{name}` hides the built-in `{name}`", ""),
    "W205": Message("`{name}` is never used", ""),
    "W301": Message("this condition can never hold", ""),
    "W302": Message("this window keeps {count} copies ({bytes} bytes per parameter)", ""),
    "W303": Message("this family could be an axis", ""),
    "W402": Message("claim `{name}` is open: neither proved nor refuted", ""),
}
