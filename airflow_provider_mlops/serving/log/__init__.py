"""The prediction log: every prediction with its inputs, and its label or reward. Nothing acknowledged is lost."""
