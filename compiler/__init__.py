"""From the text of a `.opt` file to a typed intermediate form, and from there to code, claims and text.

    text        path -> Source                     bytes, places, the tree's node types, every message
    parse       Source -> syntax.File              the tree as written, every node with its span
    ops         -> Operation                       one row an operation, which every stage reads
    ir          -> Node, Program                   hash-consed nodes, and the program of a rule
    rewrite     Node -> Node                       laws that keep the value, exactly or in real numbers
    calculus    Node -> Node                       derivatives
    evaluate    Program -> numbers                 the reference interpreter, in NumPy float64
    analysis    Program -> facts                   ranges, signs, units, recurrences, minimisers: nothing is run
    resolve     File -> Symbols                    names, time, scopes: E2xx, E4xx, E5xx
    lower       File + Static -> Program           inlining, static choices, types: E3xx
    schedule    Program -> passes                  the fewest passes over memory
    emit        Program -> text                    torch, C, Triton, LaTeX, formatted source
    prove       claims -> proved, refuted, open    tactics, certificates, counterexamples

Each folder is a stage, and imports those above it in this list (`ARCHITECTURE.md`, held by a test).
"""
