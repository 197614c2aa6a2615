"""What the command line prints: tables, reports and colours that fit the terminal; imports domain and rich only."""
