"""Our own small HTTP/1.1 client: addresses, names, connections and answers, on the inference path and the probes."""
