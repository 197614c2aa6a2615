"""Who may ask: the guard before everything, the page's sessions, other origins."""
