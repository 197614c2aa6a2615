"""What each operating system does its own way: autostart, clipboard, opening links, processes, signals."""
