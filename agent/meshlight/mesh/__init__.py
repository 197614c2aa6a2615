"""The live mesh: registry, prober, discovery, refresh, traffic, history and events."""
