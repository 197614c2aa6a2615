"""Meshlight: every language model you can reach, behind one local OpenAI-compatible address."""

__version__ = "0.1.0"
