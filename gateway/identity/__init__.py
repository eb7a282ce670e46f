"""Who is it: which identities belong to one user. Pure; what it decides is stored by the pipeline."""
