"""An episode as one looks at it: live, or as a video."""
