"""What runs plugged connectors: delivery to destinations, and the network as connectors see it."""
