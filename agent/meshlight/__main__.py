"""`python -m meshlight`: the same words as the `meshlight` command."""

from meshlight.cli import main

if __name__ == "__main__":
    main()
