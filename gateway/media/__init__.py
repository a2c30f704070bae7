"""Files of messages: where they are stored, their types, and links to them."""
