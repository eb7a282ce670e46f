"""The order of things: from bytes to a receipt (`intake`), from stored events to journeys (`derive`, `owner`)."""
