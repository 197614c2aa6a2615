"""The tray icon by pystray: macOS, Windows, and X11's old tray."""
