"""The public test kit: synthetic journeys, a sender for them, and contract suites for connectors.

`simulate` makes the messages of a made-up shop (pure, seeded), `load` plays them into a running gateway over HTTP.
"""
