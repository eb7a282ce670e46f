"""The doors for events: the HTTP calls that SDKs make, tokens for browsers, and files."""
