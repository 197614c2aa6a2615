"""How the command line writes: tables, reports, colours that fit the terminal."""
