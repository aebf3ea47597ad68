"""PATH 1: a frame to its answer, durable before it is answered."""
