"""The client of the local API: the tray, the window and the command line speak to the service by it."""
