"""Real little servers that play engines, for `meshlight demo` and for the tests."""
