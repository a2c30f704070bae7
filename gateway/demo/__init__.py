"""`gateway demo`: a conversation on all four channels, and nothing leaves the machine."""
