"""The HTTP face of the node: what clients, the page, the tray and peers may ask."""
