"""The wording of every code: one sentence, a standard help, and an explanation for the manual.

`python -m dotopt.compiler.text.messages > docs/errors.md` writes the manual.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class Message(NamedTuple):
    """`text` and `help` have blanks in braces; `why` explains the code in `docs/errors.md`."""

    text: str
    help: str = ""
    why: str = ""


SYNTAX: dict[str, Message] = {
    "E100": Message(
        "{found} cannot stand here", "",
        "The sentence is not one of the language, and none of the more specific messages applies. "
        "The help says what could stand in this place.",
    ),
    "E101": Message(
        "two factors with nothing between them", "write `{left}*{right}`",
        "There is no implicit multiplication: `β m` could be a product, a call, or a missing comma.",
    ),
    "E102": Message(
        "`==` compares; an equation is defined with `=`", "write `{left} = …`; use `==` only in `given` and `show`",
        "`x = e` says what x is. `x == e` is a sentence that is true or false, which is what claims are made of.",
    ),
    "E103": Message(
        "this bracket is never closed", "add `{closer}`",
        "Inside brackets a line goes on over line ends, so the parser notices a forgotten bracket only much later. "
        "The message points at the bracket that was opened.",
    ),
    "E104": Message(
        "there is no assignment; a prime means the next value", "write `{name}' = …`",
        "A file holds equations that are all true at once. `m` is the value before the step, `m'` the value after it, "
        "and inside `iterate` the same for one pass.",
    ),
    "E105": Message(
        "the function after `grad` stands without parentheses", "write `{right}`",
        "The gradient of f at x has one ASCII spelling, `grad f(x)`, which is the same token as `∇f(x)`.",
    ),
    "E106": Message(
        "this line needs a colon at its end", "add `:`",
        "Lines that open a block (`claim`, `when`, `otherwise`, `iterate`, `role`) end with a colon.",
    ),
    "E107": Message(
        "`**` is not a power", "write `^`",
        "Powers are written as in mathematics: `x^2` or `x²`. They act on each entry; `matrix_power` is the other one.",
    ),
    "E108": Message(
        "the indentation fits no open block", "indent like the lines of the block it belongs to",
        "Blocks are marked by indentation, as in Python: a line goes back to the column of a block that is still open.",
    ),
    "E109": Message(
        "`{word}` is not a declaration word", "did you mean `{suggestion}`?",
        "Lines start with a word of the language (`param`, `objective`, `input`, `output`, `hyper`, `option`, `const`, "
        "`state`, `function`, `operator`, `base`, `use`, …) or define a name with `=`.",
    ),
    "E110": Message(
        "LaTeX command `{command}`", "write `{replacement}`",
        "Symbols are typed as unicode (`β`) or as their name without the backslash (`beta`); both are the same name.",
    ),
    "E111": Message(
        "`{operator}` changes in place; a file holds equations", "write `{name}' = {name} {plain} …`",
        "Nothing is changed in place: the value after the step is defined from the values before it.",
    ),
    "E112": Message(
        "the first line after the docstring names what the file defines",
        "start with `rule NAME`, `formula NAME(…) = …`, `transform NAME` or `theorem NAME`",
        "Every file defines one thing, and its head line says what it is and how it is called.",
    ),
    "E113": Message(
        "the expression is nested more than {limit} deep", "give an inner part its own name",
        "A limit keeps every later pass safe; no formula that people read comes near it.",
    ),
    "E114": Message(
        "the character {character} is not part of the language", "",
        "Names are made of letters, digits, `_` and accents; the operators are listed in the language reference.",
    ),
    "E115": Message(
        "the text ends in the middle of {what}", "", "The file stops before the sentence does: perhaps it was cut off."
    ),
    "E116": Message(
        "this is not a whole number", "write a whole number without a point",
        "Positions and fixed sizes count something, so they are whole.",
    ),
    "E117": Message(
        "this cannot stand on the left of `=`", "a left side is a name, `x'`, `x[i]`, `F(a)` or `∇K(x)`",
        "An equation defines a name. To state that two expressions are equal, write a claim.",
    ),
    "E118": Message(
        "this bracket was never opened", "remove it", "Every closing bracket needs an opening one before it."
    ),
    "E119": Message(
        "`=` defines; a comparison is written `==`", "write `==`",
        "Inside an expression, and after `given`, `show` and `if`, only a comparison makes sense.",
    ),
    "E120": Message(
        "the line ends where {expected} is needed", "",
        "A line is one sentence. It may go on in the next line only inside brackets.",
    ),
    "E121": Message(
        "the block under `{line}` is empty", "indent the lines that belong to it",
        "A line that ends with a colon opens a block, and the lines of the block are indented.",
    ),
    "E122": Message(
        "this line is indented, and no block is open here", "start it in the column of the line above",
        "Indentation opens a block, and only a line that ends with a colon, `cases`, or an equation has one.",
    ),
    "E123": Message(
        "`{word}` is a word of the language, so it cannot be a name here", "choose another name",
        "Most words may be names where nothing else could be meant; where both could be meant, the word wins.",
    ),
    "E124": Message(
        "a condition stands between the two values", "write `{then} if {condition} else {otherwise}`",
        "As in Python: the value, the condition, the other value. Longer choices are written with `cases`.",
    ),
    "E125": Message(
        "a comment starts with `#`", "write `#`", "`//` and `%` start no comment."
    ),
    "E126": Message(
        "the range of `{name}` stands before its default", "write the range, then `= default`",
        "`hyper a = 1 > 0` would make the default a comparison. The order is name, range, default.",
    ),
    "E127": Message(
        "the declaration of `{name}` says no type", "write `{word} {name} : real[...]`",
        "The type of a parameter says which axes the equations see: `real[...]` for any shape, "
        "`real[rows, cols]` for a matrix.",
    ),
    "E128": Message(
        "`if` without `else`", "write `{value} if … else …`",
        "Every expression has a value in every case. If nothing should be added, the other value is 0.",
    ),
    "E129": Message(
        "a docstring stands between `\"\"\"` and `\"\"\"`", "write `\"\"\"`",
        "The first line of a file may say in one sentence what it defines.",
    ),
    "E130": Message(
        "`{missing}` is missing here", "write `{missing}`",
        "Only this sign is needed for the line to be a sentence of the language.",
    ),
    "E131": Message(
        "this quotation is never closed", "add `{closer}`", "A quotation ends on the line on which it starts."
    ),
    "E132": Message(
        "`{word}` belongs in a claim", "start one with `claim NAME:` and indent its lines",
        "Outside claims a file says what the rule does; what is true of it is said in claims.",
    ),
    "E133": Message(
        "a file defines one thing, and its head stands first", "put the second one into a file of its own",
        "Names are found by file name, so every rule has its own file.",
    ),
    "E134": Message(
        "there are no anonymous functions", "define `F(x) = …` on a line of its own, and use `F`",
        "A local function is a definition like any other, and has a name.",
    ),
    "E135": Message("`{sign}` is not needed here", "remove it", "Lines end by themselves."),
    "E136": Message(
        "an inner product is written `⟨a, b⟩` or `dot(a, b)`", "write `⟨a, b⟩`",
        "`<` and `>` only compare: `<a, b>` would begin with a comparison of nothing."
    ),
    "E137": Message(
        "this number is larger or smaller than any float64", "write it as a product, or use `∞`",
        "Numbers are exact until code is generated, and then they must fit into 64 bits.",
    ),
    "E138": Message(
        "this line is longer than {limit} characters", "give the parts of the expression their own names",
        "A limit keeps every later pass safe and fast; no formula that people read comes near it.",
    ),
    "E139": Message(
        "a character that is not seen: U+{point} ({name})", "delete it",
        "Control characters can command a terminal, and marks of direction let a text read otherwise than it is; "
        "neither may stand in a file, not even in a docstring or a comment.",
    ),
}  # fmt: skip

NAMES: dict[str, Message] = {
    "E201": Message(
        "unknown name `{name}`", "",
        "Every name is declared, defined, imported by `use`, or built in. "
        "`beta1`, `β1` and `β₁` are one name; letters that only look alike are not.",
    ),
    "E202": Message(
        "the output `{name}` has no equation", "add an equation `{name} = …`",
        "An output is what the rule gives back, so the file must say what it is.",
    ),
    "E203": Message(
        "`{name}` is {kind}, so it has no next value `{name}'`", "",
        "A prime means “after this step”. Only parameters, states and, inside a loop, its variables have such a value.",
    ),
    "E204": Message(
        "`{name}` is defined twice", "give the second one its own name",
        "A file holds equations, in any order; two for one name would contradict each other or say the same twice.",
    ),
    "E205": Message(
        "state `{name}` never changes", "add an equation `{name}' = …`, or declare `const {name}`",
        "A state is what is kept from step to step. Only a state that starts with `first` may stay as it is.",
    ),
    "E206": Message(
        "these definitions need each other: {cycle}", "read one of them without a prime, or make it a state",
        "All equations of a step hold at once, and each must be computable from the values before the step.",
    ),
    "E207": Message(
        "two readings of time in one file", "write all left sides with `[t]`, or use primes",
        "`m[t] = … m[t-1]` and `x[t+1] = … x[t]` mean the same, but not in one file: `m[t]` would have two meanings.",
    ),
    "E208": Message(
        "the parameter `{name}` never moves", "add an equation `{name}' = …`",
        "A rule moves its parameter, or gives back an `output`.",
    ),
    "E209": Message(
        "input `{name}` is never read", "remove it, or use it",
        "Whoever uses the rule would have to give a value at every step, for nothing.",
    ),
    "E210": Message(
        "`{name}` is not a state, so it has no earlier value",
        "say what it is before the first step: `state p : like {name} = first {name}`",
        "An earlier value must be kept, and must be something at the first step: that is what a state declares.",
    ),
    "E211": Message(
        "a theorem has no step, so `{name}'` cannot be defined", "state it in a claim, or make the file a `rule`",
        "Theorem files hold claims and experiments. Sequences in them are defined by recurrences: `w[t] = … w[t - 1]`.",
    ),
    "E212": Message(
        "`{name}` is a parameter of the formula, so it has no next value", "read it without the prime",
        "A formula is a pure function; nothing in it moves, except inside `iterate`.",
    ),
    "E213": Message(
        "`^T` is ambiguous, since the file declares `T`", "write `ᵀ` for the transpose and `^(T)` for the power",
        "With a T in the file, `X^T` could be a power.",
    ),
    "E214": Message(
        "`use` goes in a circle: {cycle}", "break the circle: move what both need to a third file",
        "Rules and formulas are put in place of their names, which never ends in a circle.",
    ),
    "E215": Message(
        "`{value}` is not a value of the option `{option}`", "its values are {values}",
        "An option has the values that its declaration lists, and they are known only beside the option.",
    ),
    "E216": Message(
        "`eval` is read between steps, so it has no primes", "read `{name}` without the prime",
        "Evaluation may happen at any time, also before the first step.",
    ),
    "E217": Message(
        "`for all` binds `{name}`, which is a name of the rule", "choose another name, or leave the line out",
        "Claims about a rule hold for all values of its states anyway; a second meaning of the name would mislead.",
    ),
    "E218": Message(
        "`{name}` calls itself", "a local function is not recursive; use `iterate`",
        "Local functions are put in place of their calls, so a call of itself would never end.",
    ),
    "E219": Message(
        "the index `{name}` is free", "bind it on the left, or reduce over it: `sum(… for {name})`",
        "`x[i]` means one value for each i, so an equation that reads it must say for which i it holds.",
    ),
    "E220": Message(
        "only a next value can be held between firings", "write `{name}' = … every …`",
        "`every C` says when a state takes a new value; in between it keeps the old one. A definition keeps nothing.",
    ),
    "E221": Message(
        "a draw inside a local function", "draw it outside, with `x ~ {name}(…)`, and pass it",
        "Functions are pure: two calls with the same arguments give the same value.",
    ),
    "E222": Message(
        "no rule, formula or transform named `{name}`", "",
        "`use` looks in the folder of the file, then in the library; the file is called like its head in snake case.",
    ),
    "E223": Message(
        "`{name}` is reserved", "choose another name",
        "`t` is the number of the step, from 1; `inf` is infinity.",
    ),
    "E224": Message(
        "`{name}'` is defined, but `{name}` is not declared", "declare it: `state {name} : …`",
        "A value after the step needs a value before it: a state says how it starts, a parameter is given by the user.",
    ),
    "E225": Message(
        "`{name}` is {kind}, so it cannot be called", "for a product write `{name}*(…)`",
        "`η (x)` is a call. There is no implicit multiplication.",
    ),
    "E226": Message(
        "`{name}` is a law: a value is drawn from it with `~`",
        "write `x ~ {name}(…)` on a line of its own, and read `x`",
        "A draw has a name, so that everybody who reads it reads the same number.",
    ),
    "E227": Message(
        "`{name}` is not a law to draw from", "",
        "After `~` stands one of the laws of the language.",
    ),
    "E228": Message(
        "`{name}` is {kind}, and has no `.{member}`", "only a base rule has parts: `B.lr`",
        "The point reads a hyperparameter or an output of the wrapped rule.",
    ),
    "E229": Message(
        "`{name}` is the second {kind} called `{alias}` in Python", "give it another name after `as`",
        "Users set hyperparameters by their Python names, and find states by them, so these must differ.",
    ),
    "E230": Message(
        "no property `{name}`", "",
        "Properties are claims that the checker tries, so only those are allowed that it knows.",
    ),
    "E231": Message(
        "`{name}` has no argument `{argument}`", "",
        "`∇_x f` is the gradient in the argument that the declaration of f calls x.",
    ),
    "E232": Message(
        "`{name}` is {kind}, and `∇` needs a function", "write the function after `∇`, and where it is taken: `∇f(x)`",
        "A gradient belongs to a function, at a point.",
    ),
    "E233": Message(
        "the option `{name}` has named values", "compare it with one of them: `{name} == {value}`",
        "Only an option that is `true` or `false` can stand as a condition.",
    ),
    "E234": Message(
        "`{name}` is {kind}, and `eval` shows something in the place of a parameter", "name the parameter after `eval`",
        "`eval θ = a` says what evaluation mode puts into the model.",
    ),
    "E235": Message(
        "the loop variable `{name}` never changes", "add an equation `{name}' = …` to the loop",
        "A value that stays the same in all passes is defined outside the loop.",
    ),
    "E236": Message(
        "`{written}` goes back more than one step",
        "declare `state p : like {name} = first {name}` with `p' = {name}`, and read `p`",
        "A state is kept for one step; an older value is a state of its own, which says what it is at first.",
    ),
    "E237": Message(
        "`{name}` is {kind}, and has no value without arguments", "write `{name}(…)`",
        "A function is not a number. Only claims compute with functions: `f -> c*f`.",
    ),
    "E238": Message(
        "no {kind} can be called `{alias}` in Python: {reason}", "give it another name after `as`",
        "Users set hyperparameters by keyword arguments, beside those that every compiled class has, and find states "
        "beside what the optimizer keeps for itself.",
    ),
    "E239": Message(
        "no class can be called `{name}` in Python", "give the file another name in its head",
        "What a file defines is imported under the name in its head, beside the words that its code is written in.",
    ),
}  # fmt: skip

TYPES: dict[str, Message] = {
    "E301": Message(
        "shapes do not fit: {left} meets {right}", "",
        "Axes meet by their names. Entrywise, the axes of one side must be among those of the other; "
        "`A @ B` contracts the last axis of A with the first of B.",
    ),
    "E302": Message(
        "units do not agree: {left} meets {right}", "",
        "Sums, comparisons and functions such as `exp` need terms of one unit, or of one degree of homogeneity.",
    ),
    "E303": Message(
        "the default of `{name}` is outside its range", "it must be {range}",
        "Hyperparameters are checked against their range whenever they are set, the default included.",
    ),
    "E304": Message(
        "`@` and an entrywise `{operator}` in one product",
        "add parentheses: nobody should have to remember which goes first",
        "`*`, `/` and `@` bind equally, from the left, so `A*B @ C` is `(A*B) @ C`; with two tensors beside the `*` "
        "that is rarely what a reader sees.",
    ),
    "E305": Message(
        "`{name}` gets a complex argument and is not declared `holomorphic`", "declare it `holomorphic`",
        "Only for holomorphic functions does the value at a complex point follow from the real ones.",
    ),
    "E306": Message(
        "{rule} needs {needed}; `{name}` has {found}", "give it to another optimizer",
        "The type of the parameter in the file says which tensors the rule takes.",
    ),
    "E307": Message(
        "`when` chooses by what is known before the first step", "use `if … else`",
        "Shapes, options and whole hyperparameters are known at construction; values of tensors are not.",
    ),
    "E308": Message(
        "these cases do not cover everything", "end with a line `… otherwise`",
        "The first case that holds is taken, so one must hold always.",
    ),
    "E309": Message(
        "`argmin` of something that is not quadratic needs a method",
        "write `argmin(E, from=…, tol=…, most=…, by=newton)`",
        "A quadratic is minimised in closed form; everything else by a named method from a starting point.",
    ),
    "E310": Message(
        "the passes of this loop depend on their order, and `{name}` has none", "draw a `permutation`",
        "A set has no first element, so the result would not be defined.",
    ),
    "E311": Message(
        "`{name}` is not linear in its argument", "",
        "Linear solvers take a matrix or a linear local function; linearity is checked.",
    ),
    "E312": Message(
        "`{name}` works on lists, and this rule runs on tensors", "",
        "Rules over lists run on the host, rules over tensors as kernels; one rule is one of the two.",
    ),
    "E313": Message(
        "`{name}` takes {expected} argument{plural}, not {found}", "",
        "Built-in and declared functions have a fixed number of arguments; samples stand behind a semicolon.",
    ),
    "E314": Message(
        "no axis `{axis}` here", "",
        "`over=` and `per=` name an axis of a type in the file, `tensor` (all of one tensor) or `model` (all tensors).",
    ),
    "E315": Message(
        "`{name}` has no argument `{keyword}`", "", "Keywords are checked, so that a misspelt one is never ignored."
    ),
    "E316": Message(
        "{found} where {expected} is needed", "", "The kind of a value (number, condition, tensor) must fit."
    ),
    "E317": Message(
        "no derivative: {why}", "",
        "Gradients of local functions and formulas are derived by reverse mode; this operation has none.",
    ),
    "E318": Message(
        "`{name}` is {kind}, and has no declared type", "name a parameter, state, input or output after `like`",
        "`like x` takes the axes, the number format and the device of something that the file declares.",
    ),
    "E319": Message(
        "`{name}` is {found}, and {what} needs a number", "write `sum({name}(…))` or a norm, such as `½*‖…‖²`",
        "A gradient says how one number changes, and what is minimised is one number: an objective sums its entries.",
    ),
    "E320": Message(
        "`{name}` is `{found}`, and an entry is taken of a vector, by one index",
        "reduce it (`sum(x, over=rows)`), or take it as a whole",
        "An index names one entry of a vector, or one member of a list; tensors of other shapes are used as a whole.",
    ),
    "E321": Message(
        "`{name}` has {size} entr{plural}, counted from 0 to {last}", "",
        "Entries are counted from 0, and from -1 backwards, as in Python; sizes that the file states are checked.",
    ),
}  # fmt: skip

CLAIMS: dict[str, Message] = {
    "E401": Message(
        "unknown name `{name}` in the claim", "",
        "A claim may use the names of the rule, those of its own `for all` lines, definitions and draws, and `derive`.",
    ),
    "E402": Message(
        "`{left}` and `{right}` are not of one type", "",
        "`given f == g` puts one function in the place of another, so both must take and give the same.",
    ),
    "E403": Message(
        "the map moves `{name}`, which is computed from something else", "map objectives, inputs, parameters or states",
        "The checker finds how computed values move; saying it again could contradict the equations.",
    ),
    "E404": Message(
        "`{name}` cannot go to 0 in its range", "", "`O(h^3)` speaks of small h, so 0 must be a limit of its range."
    ),
    "E405": Message(
        "the step is not linear under these assumptions", "fix the objective as a quadratic with `given`",
        "Stability is decided by the eigenvalues of the step, which only a linear step has.",
    ),
    "E406": Message(
        "`{rule}` has no `{name}`", "",
        "`with` names hyperparameters, options and functions of the other rule, by its symbols or as in Python; "
        "`matching` names its states.",
    ),
    "E407": Message(
        "time is continuous in this claim, so there is no next value", "write `ddt({name})`",
        "After `flow`, `ddt(x)` is the derivative and `x(h)` the value after time h.",
    ),
    "E408": Message(
        "`{name}` is derived but not used", "use it in a `show` line, or remove it",
        "`derive` names unknown constants for which values are wanted such that the claim holds.",
    ),
    "E409": Message(
        "no method `{name}`", "", "`by` fixes how a claim is decided; without it the checker chooses."
    ),
    "E410": Message(
        "claim `{name}` shows nothing", "add a line `show …` or `refute …`", "A claim without a goal says nothing."
    ),
    "E411": Message(
        "no number format `{name}`", "the formats are {formats}",
        "`in bf16` makes the claim one about the compiled arithmetic.",
    ),
    "E412": Message(
        "`ddt` belongs in a claim with continuous time", "add a line `flow` to the claim",
        "Without `flow`, a claim is about one step.",
    ),
    "E413": Message(
        "a claim does not define the step of `{name}`",
        "state it: `show {name}' == …`, or assume it: `given {name}' == …`",
        "The equations of the rule say what happens; a claim only speaks about it.",
    ),
}  # fmt: skip

PARTIES: dict[str, Message] = {
    "E501": Message(
        "`∇{name}` does not say in which argument", "write `∇_{argument} {name}(…)`",
        "A function of several arguments has one gradient for each.",
    ),
    "E502": Message(
        "the operator `{name}` has no potential, so `∇{name}` means nothing", "write `{name}(…)`",
        "An operator is a vector field already; it need not be the gradient of anything.",
    ),
    "E503": Message(
        "`{name}` is not proved {property}", "",
        "A rule that asks for a property takes only functions for which it was proved or is stated with a source.",
    ),
    "E504": Message(
        "a bare Hessian", "multiply it by a vector: `∇²{name}(x) @ v`",
        "A Hessian has as many entries as the square of the parameter; its product with a vector costs two gradients.",
    ),
    "E505": Message(
        "`base` belongs in a transform", "start the file with `transform NAME`",
        "Only a transform wraps another rule.",
    ),
    "E506": Message(
        "the base rule is applied {times}; it must be once", "define `y = {name}(…)` once, and read `y`",
        "One application is one step of the base rule, which advances its states once.",
    ),
    "E507": Message(
        "`{name}` asks for more than the gradient at the parameter, so it cannot take another gradient", "",
        "`B(θ, g)` puts g in the place of `∇f(θ)`; a rule that also reads gradients elsewhere has no such place.",
    ),
    "E508": Message(
        "`{base}` has no `{name}`", "put another rule inside, or give it that hyperparameter",
        "The transform reads or overrides a hyperparameter or an output of the rule inside it, by its Python name.",
    ),
    "E509": Message(
        "`{name}` belongs to the role `{role}` and was not sent", "add `send {name} = …` in that role",
        "What stands outside the roles is known to everybody, so it may depend only on what was sent.",
    ),
    "E510": Message(
        "the transform `{name}` has no base", "add a line `base B`, and apply it: `y = B(θ)`",
        "A transform is a rule around another one; without one it is a `rule`.",
    ),
    "E511": Message(
        "two parts of the composition are called `{name}`: {first} and {second}", "rename one of them, file and head",
        "A composition names its parts, and takes each name for one file.",
    ),
}  # fmt: skip

OTHER: dict[str, Message] = {
    "E601": Message(
        "{construct} is not compiled yet", "`dotopt check` and `dotopt explain` read it",
        "The language is larger than what the backends can run so far.",
    ),
    "E602": Message(
        "{rule} has no state `{name}`", "its states are {names}",
        "`state_dtype` names states by their symbol in the file, or by their key in `state_dict`.",
    ),
    "E603": Message(
        "{word!r} is no storage for a state", "there are {choices}",
        "A state is kept in one of these formats, and computed in float32 all the same.",
    ),
    "E604": Message(
        "the state `{name}` cannot be kept as {word!r}: {reason}", "{choices}",
        "Only tensors like the parameter are kept in fewer bits, and roots and logarithms of what is never negative.",
    ),
    "E605": Message(
        "{word!r} is no way to round a parameter", "{choices}",
        "Parameters of 16 bits can carry what rounding takes from them, or round up or down by chance.",
    ),
    "E606": Message(
        "`{name}` is a theorem: claims, and no step that could run", "`dotopt check {name}` decides its claims",
        "A theorem states what is true of formulas and rules; these become Python, and it does not.",
    ),
    "E901": Message(
        "no such file: {path}", "", "The name was misspelt, or the command runs in another folder than you think."
    ),
    "E902": Message("{path} is a directory", "name a file in it", "A directory was given where a file is needed."),
    "E903": Message(
        "{path} is not UTF-8 text", "save it as UTF-8", "`.opt` files are UTF-8; a byte-order mark is accepted."
    ),
    "E904": Message(
        "{path} has {size} bytes; an `.opt` file has at most {limit}", "",
        "A rule is a page of text; a larger file is something else.",
    ),
    "E905": Message("{path} cannot be read: {reason}", "", "The system refused to read it."),
    "E906": Message("the text holds a NUL character", "this is a binary file", "Text has no such character."),
}  # fmt: skip

WARNINGS: dict[str, Message] = {
    "W110": Message(
        "`√{operand}` is the square of the root here", "for the root of the power write `√({power})`",
        "The root binds tighter than powers: `√v²` is `(√v)²`.",
    ),
    "W111": Message(
        "the condition reaches over the whole sum", "put parentheses around the part that depends on it",
        "`x - a if c else 0` is `(x - a) if c else 0`, as in Python. It is only reported where the other value is 0, "
        "which is also what a term is that does not count.",
    ),
    "W201": Message(
        "`{name}` hides the built-in `{name}`", "choose another name",
        "Own names come first, so the built-in cannot be used in this file.",
    ),
    "W205": Message(
        "`{name}` is never used", "remove it, or use it",
        "No state, parameter, output, sent value or claim depends on it.",
    ),
    "W301": Message("this condition can never hold", "", "The ranges of the names in it exclude it."),
    "W302": Message(
        "this window keeps {count} copies ({bytes} bytes per parameter)", "",
        "Outside `every C`, a sum over the last C steps needs all of them in memory.",
    ),
    "W303": Message(
        "this family could be an axis", "", "Numbers that are stored together are faster as one tensor with an axis."
    ),
    "W402": Message(
        "claim `{name}` is open: neither proved nor refuted", "",
        "Open is not false: no proof and no counterexample was found."
    ),
    "W403": Message(
        "no rule named `{name}` is known, so the claim stays open", "",
        "A claim may name any rule in the folder of the file or in the library.",
    ),
}  # fmt: skip

MESSAGES: dict[str, Message] = {**SYNTAX, **NAMES, **TYPES, **CLAIMS, **PARTIES, **OTHER, **WARNINGS}

SECTIONS = (
    ("E1", "Syntax"),
    ("E2", "Names and time"),
    ("E3", "Types and shapes"),
    ("E4", "Claims"),
    ("E5", "Composition, roles and oracles"),
    ("E6", "Compilation"),
    ("E9", "Files"),
    ("W", "Warnings"),
)


def manual(examples: Path | None = None) -> str:
    """The text of `docs/errors.md`; with a folder of examples, the first transcript of each code."""
    lines = ["# Messages", "", "Every code, with its explanation and an example. Generated; do not edit."]
    for prefix, title in SECTIONS:
        lines += ["", f"## {title}"]
        for code, message in MESSAGES.items():
            if code.startswith(prefix):
                lines += ["", f"### {code}: {_blank(message.text)}", "", message.why]
                if message.help:
                    lines += ["", f"Help: {_blank(message.help)}."]
                transcript = next(iter(sorted(examples.glob(f"{code}*.txt"))), None) if examples else None
                if transcript is not None:
                    lines += ["", "```", transcript.read_text(encoding="utf-8").rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _blank(text: str) -> str:
    """The wording with its blanks shown as dots."""
    return re.sub(r"\{\w+\}", "…", text)


if __name__ == "__main__":
    print(manual(Path("tests/errors")), end="")
