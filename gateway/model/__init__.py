"""The nouns: what an event, an identity, a journey is. No I/O, no clock."""
