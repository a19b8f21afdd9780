"""The kernel layer: one file per system, and the choice between them."""
