"""What the deferrable sensors wait with, in the triggerer."""
