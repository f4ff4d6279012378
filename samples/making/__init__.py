"""Parts of samples/make.py: who is who (world), pages (paper), office files (office), scans and pictures (pictures)."""
