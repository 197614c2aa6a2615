"""Ollama's API by way of chat completions."""
