"""Files of public trace formats, read into requests or into counts per minute."""
