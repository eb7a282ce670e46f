"""The GraphQL API: one schema over HTTP and WebSocket, split by noun."""
