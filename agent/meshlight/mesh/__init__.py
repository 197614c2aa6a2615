"""What is alive now: registry, prober, discovery, traffic."""
