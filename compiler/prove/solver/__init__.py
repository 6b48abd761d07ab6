"""z3 as a process of its own: questions are text, answers are numbers, and what it may do is counted, not timed.

    logic     terms and formulas, written as SMT-LIB 2
    client    asks: one process is kept alive between questions, and begun again after a crash
    server    the process: a script that knows z3 and nothing of dotopt
"""
