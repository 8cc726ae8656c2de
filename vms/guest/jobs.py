"""Jobs that ask the guest agent."""
