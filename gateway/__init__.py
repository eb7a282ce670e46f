"""Journey Gateway: user-journey events in, journeys and numbers out, over one GraphQL API."""

__version__ = "0.1.0"
