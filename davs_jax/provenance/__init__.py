"""What a generated file says of its origin: C2PA credentials, certificates, the visible mark."""
