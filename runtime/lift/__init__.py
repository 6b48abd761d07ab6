"""`dotopt lift`: from a torch optimizer in Python to a rule in the language, and whether the two are equal.

numbers   Python's numbers with the expression that they come from; choices between branches
tensors   torch's functions on tensors that carry an expression
trace     a class, run on these: one step from any state, the first step, along every branch
merge     one expression of all branches
recover   what is a clock, where states begin, which numbers are hyperparameters: a `Rule`, which the compiler writes
verify    the written rule beside the class: symbolically, and by replaying both
lift      all of it, with the answer
"""
