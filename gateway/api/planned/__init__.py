"""The tracking plan in GraphQL: a type for each planned event, filters by its properties, inputs to send it."""
