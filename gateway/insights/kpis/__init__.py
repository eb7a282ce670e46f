"""The KPIs of the contract: one definition, one number, one way to it for whoever asks."""
