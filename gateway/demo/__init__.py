"""`gateway demo`: a conversation on all four channels that never leaves the machine."""
