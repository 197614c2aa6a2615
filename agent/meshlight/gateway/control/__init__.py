"""`/mesh` and the page: state, events, settings, backends, peers, metrics."""
