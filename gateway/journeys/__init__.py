"""Sessions and journeys: the pure fold over one user's events."""
