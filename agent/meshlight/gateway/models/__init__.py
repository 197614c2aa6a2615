"""The lists of models in every protocol's shape."""
