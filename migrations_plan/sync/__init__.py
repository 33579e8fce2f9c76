"""What keeps two applications equal: capture, relay, apply, backfill, verify, repair; and integration events."""
