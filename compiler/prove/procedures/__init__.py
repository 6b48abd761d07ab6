"""The procedures: `goals` chooses by the form of a claim, `decide` takes one sentence through them in their order."""
