"""What each line found, how photos are compared with controls, and the letter that follows."""
