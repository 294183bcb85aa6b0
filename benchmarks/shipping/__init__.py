"""What is made once and kept with the package: shipped routers, tuned settings, a table."""
