"""Step 2, the rules as `.sql` files and the code that runs them in order. No clock, network or file; next: `write_back`."""
