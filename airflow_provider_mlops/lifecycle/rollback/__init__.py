"""Step 7, rollback: make the previous champion the champion again."""
