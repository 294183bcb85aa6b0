"""An independent reference for the simulator, closed forms, and the tests that compare them."""
