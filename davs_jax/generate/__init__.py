"""One photo and a driver → a talking face in a file."""
