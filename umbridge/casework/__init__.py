"""What a message does to its stay, worked in processes of their own."""
