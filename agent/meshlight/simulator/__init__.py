"""Small HTTP servers that imitate engines, clouds and clusters, for `meshlight demo` and for the tests."""
