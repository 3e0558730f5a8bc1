"""One module per command of the command line; each imports what it runs only when it runs."""
