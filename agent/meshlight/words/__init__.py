"""The words a person types: each file holds a few that belong together; `cli` puts them in order."""
