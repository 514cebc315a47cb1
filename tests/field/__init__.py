"""What people meet with their scans: each circumstance built small, and what must happen."""
