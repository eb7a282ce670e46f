"""How good the data is: the catalogue of what comes in, and the audit of it against the plan."""
