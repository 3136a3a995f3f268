"""The admin API and what guards it."""
