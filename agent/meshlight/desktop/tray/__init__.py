"""The tray icon: its state, menu, pictures and notifications, and the ways to put it on the screen."""
