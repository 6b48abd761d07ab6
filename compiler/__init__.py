"""From the text of a `.opt` file to a typed intermediate form, and from there to code, claims and text.

    read        path -> Source                     bytes, encoding, size
    parse       Source -> syntax.File              the tree as written, every node with its span
    resolve     File -> Symbols                    names, time, scopes: E2xx, E4xx, E5xx
    lower       File + Static -> ir.Program        inlining, static choices, types: E3xx
    evaluate    Program -> numbers                 NumPy float64, the judge of everything below
    schedule    Program -> passes                  the fewest passes over memory
    emit        Program -> text                    torch, C, Triton, LaTeX, formatted source
    prove       claims -> proved, refuted, open    normal forms, certificates

Each stage reads the one before and nothing else. `errors` and `messages` hold every sentence a user can see.
"""
