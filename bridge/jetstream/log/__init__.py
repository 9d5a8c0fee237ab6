"""What the stream holds, read as it comes into memory: the tail, and the mirror that it fills."""
