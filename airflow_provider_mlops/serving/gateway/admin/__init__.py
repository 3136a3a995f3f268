"""The admin API, its token, and the channel through which workers share changes."""
