"""The site beside the pages of docs/: parts written from code, files from elsewhere."""
