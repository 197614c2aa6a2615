"""Servers that play OpenAI, Anthropic and Gemini."""
