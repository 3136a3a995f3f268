"""The HTML reports of steps, and their building blocks."""
