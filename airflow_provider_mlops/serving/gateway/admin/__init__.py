"""The admin API, and the channel through which workers share changes."""
