"""Who is calling: write keys, API keys, one-time codes, tokens, and the Scope each of them opens."""
