"""What is found out about a rule without a claim: `dotopt derive` and the unasked lines of `dotopt explain`."""
