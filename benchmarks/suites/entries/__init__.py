"""The environments that routers are compared on."""
