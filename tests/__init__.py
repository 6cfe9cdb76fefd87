"""The tests, as a package: one of our test dependencies installs a package named `tests`, which would be found in its place."""
