"""The lists of models, as the clients of OpenAI, Anthropic, Gemini and Ollama read them."""
