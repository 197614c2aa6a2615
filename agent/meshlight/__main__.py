"""`python -m meshlight` does the same as the `meshlight` command."""

from meshlight.cli.app import main

if __name__ == "__main__":
    main()
