"""Programs of others, each with libraries of its own: environments made for them, and their processes."""
