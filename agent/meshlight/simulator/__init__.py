"""Real little servers that play engines, clouds and clusters, for `meshlight demo` and for the tests."""
