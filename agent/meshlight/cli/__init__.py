"""The `meshlight` command: each file holds commands that belong together; `app` puts them in order."""
