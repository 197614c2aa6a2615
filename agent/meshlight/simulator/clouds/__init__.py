"""Servers that imitate OpenAI, Anthropic and Gemini."""
