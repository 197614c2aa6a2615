"""What the user sees on the desktop: a supervisor of the service, the tray, the window; clients of the local API."""
