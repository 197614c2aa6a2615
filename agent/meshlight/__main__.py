"""`python -m meshlight` does the same as the `meshlight` command."""

from meshlight.cli.entry import main

if __name__ == "__main__":
    main()
