"""Files of messages: where they are kept, what they are, how they are linked to."""
