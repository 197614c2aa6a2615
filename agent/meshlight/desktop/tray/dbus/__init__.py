"""The tray icon over D-Bus alone: StatusNotifierItem and com.canonical.dbusmenu."""
