"""Context variables: named large inputs, kept outside every window and read by reference."""
