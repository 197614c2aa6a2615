"""OpenAI's Responses API by way of chat completions."""
