"""What the patient was, where and when: events in the order in which they took effect."""
