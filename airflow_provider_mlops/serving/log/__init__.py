"""The prediction log: what was predicted, from what, and what came of it; nothing acknowledged is lost."""
