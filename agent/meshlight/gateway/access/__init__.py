"""Access control: the guard in front of everything, the page's sessions, other origins."""
