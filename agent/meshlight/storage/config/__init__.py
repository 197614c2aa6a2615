"""The configuration file: read, checked, edited without losing a word of the user's, watched."""
