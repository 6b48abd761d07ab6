"""From the text of a `.opt` file to a typed intermediate form, and from there to code, claims and text.

    text        path -> Source                     bytes, places, the tree's node types, every message
    parse       Source -> syntax.File              the tree as written, every node with its span
    resolve     File -> Symbols                    names, time, scopes: E2xx, E4xx, E5xx
    lower       File + Static -> ir.Program        inlining, static choices, types: E3xx
    rewrite     Program -> Program                 laws that keep the value, exactly or in real numbers
    calculus    graph -> graph                     derivatives
    analysis    Program -> facts                   ranges, signs, units, recurrences, minimisers: nothing is run
    evaluate    Program -> numbers                 NumPy float64, the reference interpreter of everything below
    schedule    Program -> passes                  the fewest passes over memory
    emit        Program -> text                    torch, C, Triton, LaTeX, formatted source
    prove       claims -> proved, refuted, open    normal forms, certificates

Each folder is one of these stages.
"""
