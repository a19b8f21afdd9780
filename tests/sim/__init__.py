"""A simulated model server on loopback: real HTTP, real protocols, scripted minds."""
